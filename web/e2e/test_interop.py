"""Other people's clients against the real service: each must get every event, once, with its id."""
import asyncio
import json
import os
import subprocess
import threading
import unittest

import aiosseclient
import httpx
import httpx_sse
import ld_eventsource
import requests
import requests_sse
import sseclient

from support import ROOT, Database, Service, ServiceTest, until

TEXTS = ["plain", "ä € 😀", "line\nends\r\nof all\rkinds", "  blanks  ", "data: x\n\nid: 5", "x" * 40_000, "last"]


def publish_texts(database):
    """Publishes the texts; returns their ids."""
    rows = ", ".join(f"($t${text}$t$)" for text in TEXTS)
    database.sql(f"""SELECT count(event_service.publish('interop.text', to_jsonb(t), '{{*}}'))
                     FROM (VALUES {rows}) AS texts (t)""")
    return until("all positions", lambda: (ids := database.ids()) and len(ids) == len(TEXTS) and ids)


class InteropTest(ServiceTest):
    # Heartbeats come between all events: some clients make an empty message of a comment.
    settings = ("--heartbeat", "100ms")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.url = cls.service.stream
        cls.ids = publish_texts(cls.database)

    def expect_all(self, events, begin=0):
        """Events as (id, type, data), without what the service says of the stream itself."""
        events = [event for event in events if not event[1].startswith("stream.")]
        self.assertEqual([event[0] for event in events], self.ids[begin:])
        self.assertEqual({event[1] for event in events}, {"interop.text"})
        self.assertEqual([json.loads(event[2])["data"] for event in events], TEXTS[begin:])

    def take(self, events, count=len(TEXTS)):
        """The first events and what stands between them; then the heartbeats of a while."""
        found = []
        for event in events:
            self.assertTrue(event[1].startswith(("stream.", "interop.")), f"an empty message: {event}")
            found.append(event)
            if sum(not name.startswith("stream.") for _, name, _ in found) == count:
                return found
        self.fail(f"the stream has ended after {len(found)} events")

    def test_curl(self):
        run = subprocess.run(["curl", "-sN", "--max-time", "1", f"{self.url}?since=earliest"],
                             capture_output=True, text=True)
        events = []
        for block in run.stdout.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and line[0] != ":")
            if "event" in fields:
                events.append((fields.get("id"), fields["event"], fields["data"]))
        self.expect_all(events)
        self.assertIn("\n: hb\n", run.stdout)

    def test_httpx_sse(self):
        with httpx.Client(timeout=10) as client:
            for begin, headers in [(0, {}), (3, {"Last-Event-ID": self.ids[2]})]:
                with httpx_sse.connect_sse(client, "GET", f"{self.url}?since=earliest", headers=headers) as source:
                    events = ((event.id, event.event, event.data) for event in source.iter_sse())
                    self.expect_all(self.take(events, len(TEXTS) - begin), begin)

    def test_sseclient_py(self):
        response = requests.get(f"{self.url}?since=earliest", stream=True, timeout=10)
        self.addCleanup(response.close)
        events = ((event.id, event.event, event.data) for event in sseclient.SSEClient(response).events())
        self.expect_all(self.take(events))

    def test_requests_sse(self):
        with requests_sse.EventSource(f"{self.url}?since=earliest", timeout=10) as source:
            events = ((event.last_event_id, event.type, event.data) for event in source)
            self.expect_all(self.take(events))

    def test_launchdarkly_eventsource_over_a_forced_drop(self):
        database = Database()
        service = Service(database)
        self.addCleanup(service.close)
        ids = publish_texts(database)
        client = ld_eventsource.SSEClient(
            ld_eventsource.config.ConnectStrategy.http(f"{service.stream}?since=earliest"),
            error_strategy=ld_eventsource.config.ErrorStrategy.always_continue(),
            initial_retry_delay=0.1)
        self.addCleanup(client.close)
        events = ((event.last_event_id, event.event, event.data) for event in client.events)
        first = [event for event in self.take(events) if event[0] in ids and event[1] == "interop.text"]
        self.assertEqual([event[0] for event in first], ids)
        service.kill()
        database.sql("SELECT event_service.publish('interop.text', '\"after\"', '{*}')")
        threading.Timer(0.3, service.start).start()
        after = self.take(events, 1)[-1]
        self.assertEqual(json.loads(after[2])["data"], "after")
        self.assertEqual([after[0]], database.ids()[len(ids):])

    def test_aiosseclient(self):
        async def read():
            events = []
            async for event in aiosseclient.aiosseclient(f"{self.url}?since=earliest"):
                self.assertNotEqual(event.data, "")
                events.append((event.id, event.event, event.data))
                if len([name for _, name, _ in events if not name.startswith("stream.")]) == len(TEXTS):
                    return events

        self.expect_all(asyncio.run(asyncio.wait_for(read(), 20)))

    script = """
        const found = [];
        const source = new EventSource(process.argv[2] + '?since=earliest');
        source.addEventListener('message', () => { console.log('an empty message'); process.exit(1); });
        source.addEventListener('interop.text', ({ lastEventId, type, data }) => {
            found.push([lastEventId, type, data]);
            if (found.length === Number(process.argv[3])) { console.log(JSON.stringify(found)); process.exit(0); }
        });
        setTimeout(() => { console.log(found.length + ' events'); process.exit(1); }, 15000);
    """

    def run_script(self, command, script):
        run = subprocess.run([*command, self.url, str(len(TEXTS))], input=script, capture_output=True, text=True,
                             timeout=30, env={**os.environ, "NODE_PATH": "/usr/share/nodejs"})
        self.assertEqual(run.returncode, 0, run.stdout[-500:] + run.stderr[-500:])
        self.expect_all([tuple(event) for event in json.loads(run.stdout)])

    def test_eventsource_of_debians_node(self):
        self.run_script(["node", "-"], "const EventSource = require('eventsource');" + self.script)

    def test_eventsource_of_deno(self):
        deno = ROOT / ".local/python/bin/deno"
        self.run_script([str(deno), "run", "--quiet", "--allow-net", "--allow-env", "--ext=js", "-"],
                        "import process from 'node:process';"
                        + self.script.replace("process.argv[2]", "process.argv.at(-2)")
                                     .replace("process.argv[3]", "process.argv.at(-1)"))


if __name__ == "__main__":
    unittest.main()
