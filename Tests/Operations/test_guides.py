"""The guides: no link leads nowhere, and the commands of a first run do what they say."""
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import unittest

from servers import ROOT, until

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page, section):
    """The commands of a section, block by block."""
    text = re.split(rf"^## {re.escape(section)}$", page.read_text(), flags=re.M)[1]
    text = re.split(r"^## ", text, flags=re.M)[0]
    return re.findall(r"^```(?:sh)?\n(.*?)^```$", text, re.M | re.S)


def anchor(title):
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", title.lower().replace("`", "")).strip().replace(" ", "-")


class Links(unittest.TestCase):
    def test_no_link_leads_nowhere(self):
        for page in PAGES:
            text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
            for target in re.findall(r"\]\(([^)\s]+)\)", text):
                if re.match(r"[a-z]+:", target):
                    continue
                path, _, fragment = target.partition("#")
                file = (page.parent / path).resolve() if path else page
                with self.subTest(page=str(page.relative_to(ROOT)), link=target):
                    self.assertTrue(file.exists())
                    if fragment:
                        titles = re.findall(r"^#+ (.*)$", file.read_text(), re.M)
                        self.assertIn(fragment, [anchor(title) for title in titles])

    def test_every_page_is_reached_from_the_readme(self):
        reached, waiting = set(), [ROOT / "README.md"]
        while waiting:
            page = waiting.pop()
            if page in reached:
                continue
            reached.add(page)
            for target in re.findall(r"\]\(([^)\s#:]+)", page.read_text()):
                file = (page.parent / target).resolve()
                if file.is_dir():
                    waiting += file.glob("*.md")
                elif file.suffix == ".md" and file.exists():
                    waiting.append(file)
        self.assertEqual(set(PAGES) - reached - {ROOT / "CHANGELOG.md"}, set())


@unittest.skipUnless(os.getuid() == 0, "a network of its own needs root")
class FirstMinute(unittest.TestCase):
    """The README's first minute in a network of its own, so that port 8080 is free."""

    def setUp(self):
        self.logs = tempfile.TemporaryDirectory()
        self.addCleanup(self.logs.cleanup)
        self.children = []
        environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        self.holder = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", "ip link set lo up && echo up && exec sleep 600"], stdout=subprocess.PIPE,
            env=environment)
        self.assertEqual(self.holder.stdout.readline(), b"up\n")
        self.environment = environment
        self.addCleanup(self.stop)

    def stop(self):
        for child in reversed(self.children):
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
                child.wait(60)
        self.holder.terminate()
        self.holder.wait()
        self.holder.stdout.close()

    def start(self, name, command):
        """Runs a command in the checkout; gives a function that reads what it has printed."""
        path = pathlib.Path(self.logs.name, name)
        with open(path, "w") as file:
            self.children.append(subprocess.Popen(
                ["nsenter", "-n", "-t", str(self.holder.pid), "sh", "-c", f"exec {command}"], cwd=ROOT,
                stdout=file, stderr=subprocess.STDOUT, env=self.environment))
        return path.read_text

    def run_lines(self, text):
        subprocess.run(["nsenter", "-n", "-t", str(self.holder.pid), "sh", "-ec", text], cwd=ROOT, check=True,
                       env=self.environment, capture_output=True, timeout=60)

    def test_the_commands_of_the_readme_do_what_it_says(self):
        make, watch, change, _, back = blocks(ROOT / "README.md", "One minute")
        said = self.start("make", make.strip())
        until("make run is ready", lambda: re.search(r"^ready http://127\.0\.0\.1:8080$", said(), re.M), 300)
        stream = self.start("stream", watch.strip())
        until("the stream is live", lambda: "event: stream.live" in stream())
        self.run_lines(change)
        until("both changes come", lambda: re.search(r"event: task\.created.*event: task\.status-changed", stream(), re.S))
        last = re.findall(r"^id: (\S+)$", stream(), re.M)[-1]
        watching = self.children.pop()
        watching.terminate()
        watching.wait(10)
        update, resume = back.strip().split("\n")
        self.run_lines(update)
        resumed = self.start("resumed", re.sub(r"Last-Event-ID: \S+?'", f"Last-Event-ID: {last}'", resume))
        until("what was missed comes first", lambda: re.search(r'"progress":60.*event: stream\.live', resumed(), re.S))
        self.children[0].send_signal(signal.SIGTERM)
        self.children[0].wait(60)


if __name__ == "__main__":
    unittest.main()
