"""The page of metrics is sound, and the dashboard shows what is on it, over a real Prometheus; each runbook
says what to look at and what to do."""
import json
import pathlib
import re
import subprocess
import tempfile
import unittest
import urllib.request

from servers import ROOT, Database, Service, free_port, open_streams, until
from test_alerts import Prometheus

PANELS = [panel for panel in json.loads((ROOT / "Config/grafana/event-service.json").read_text())["panels"]
          if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]


class Runbooks(unittest.TestCase):
    def test_each_says_what_to_look_at_and_what_to_do(self):
        sections = re.split(r"^## ", (ROOT / "docs/runbooks.md").read_text(), flags=re.M)[1:]
        self.assertGreater(len(sections), 20)
        for section in sections:
            with self.subTest(section.split("\n")[0]):
                self.assertRegex(section, r"(?m)^- Look: ")
                self.assertRegex(section, r"(?m)^- Do: ")


class Dashboard(unittest.TestCase):
    def test_promtool_reads_every_expression(self):
        rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(EXPRESSIONS)]
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
            file.flush()
            run = subprocess.run(["promtool", "check", "rules", file.name], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertIn(f"{len(rules)} rules found", run.stdout)

    def test_it_shows_what_the_alerts_are_about(self):
        shown = "\n".join(EXPRESSIONS)
        alerts = (ROOT / "Config/prometheus/alerts.yml").read_text()
        expressions = "\n".join(re.findall(r"expr: (.*?)\n +(?:for|labels):", alerts, re.S))
        names = set(re.findall(r"event_service_\w+", expressions))
        # What is better said by the log, and what is on the page as another metric.
        elsewhere = {"event_service_connections_dropped_total", "event_service_listener_connected",
                     "event_service_database_clock_offset_seconds", "event_service_loop_answers"}
        self.assertEqual({name for name in names if name not in shown}, elsewhere)

    def test_every_panel_has_something_to_show_of_a_service_at_work(self):
        folder = tempfile.TemporaryDirectory(prefix="event-service-redis-")
        self.addCleanup(folder.cleanup)
        port = free_port()
        redis = subprocess.Popen(["redis-server", "--port", str(port), "--save", "", "--dir", folder.name],
                                 stdout=subprocess.DEVNULL)
        self.addCleanup(redis.wait)
        self.addCleanup(redis.terminate)
        config = pathlib.Path(folder.name, "c.json5")
        config.write_text('{ redis: { sinks: [{ channel: "events:{topic}", types: ["*"] }] } }')
        database = Database()
        service = Service(database, "--config", str(config), "--redis-url", f"redis://127.0.0.1:{port}/0")
        self.addCleanup(service.close)
        prometheus = Prometheus(f"127.0.0.1:{service.ops_port}")
        self.addCleanup(prometheus.close)
        with open_streams(service, 3):
            until("the bridge is connected", lambda: prometheus.query("event_service_bridge_connected") == ["1"])
            for number in range(5):
                database.sql(f"INSERT INTO tasks (title) VALUES ('number {number}')")
            until("events are seen", lambda: prometheus.query("event_service_log_head_position") == ["5"])
            with self.subTest("promtool finds nothing wrong with the page"):
                page = urllib.request.urlopen(f"http://127.0.0.1:{service.ops_port}/metrics", timeout=10).read()
                lint = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True)
                self.assertEqual((lint.returncode, lint.stdout + lint.stderr), (0, b""))
            for text in EXPRESSIONS:
                # What is refused is shown only where there is some.
                if not text.endswith("> 0"):
                    until(f"a sample of {text}", lambda text=text: prometheus.query(text), 30)


if __name__ == "__main__":
    unittest.main()
