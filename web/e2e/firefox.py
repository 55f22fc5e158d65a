"""Firefox, driven by WebDriver BiDi over its own WebSocket: Debian has no geckodriver."""
import base64
import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import tempfile

import websocket

from support import SCREENSHOTS, until


class Firefox:
    """One browser with one window."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="firefox-")
        self.log = pathlib.Path(self.folder, "log")
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                ["firefox-esr", "--headless", "--no-remote", "--profile", self.folder, "--remote-debugging-port=0"],
                stdout=log, stderr=log, env={"HOME": self.folder, "PATH": "/usr/bin:/bin", "MOZ_CRASHREPORTER_DISABLE": "1"})
        address = until("Firefox listens", lambda: re.search(r"WebDriver BiDi listening on (\S+)", self.log.read_text()), 60)
        self.socket = websocket.create_connection(address[1] + "/session", timeout=60, suppress_origin=True)
        self.count = 0
        self.send("session.new", capabilities={})
        self.context = self.send("browsingContext.getTree")["contexts"][0]["context"]

    def send(self, method, **parameters):
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == self.count:
                assert answer["type"] == "success", answer
                return answer["result"]

    def goto(self, url):
        self.send("browsingContext.navigate", context=self.context, url=url, wait="complete")

    def evaluate(self, expression):
        """The value of an expression, by way of JSON."""
        result = self.send("script.evaluate", expression=f"Promise.resolve({expression}).then(JSON.stringify)",
                           target={"context": self.context}, awaitPromise=True)
        assert result["type"] == "success", result
        return json.loads(result["result"]["value"]) if "value" in result["result"] else None

    def picture(self, name):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        shot = self.send("browsingContext.captureScreenshot", context=self.context)
        (SCREENSHOTS / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        with contextlib.suppress(Exception):
            self.send("browser.close")
        with contextlib.suppress(Exception):
            self.socket.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
