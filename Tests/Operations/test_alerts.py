"""Alerts and dashboard: each alert has its cases and its runbook, and a real Prometheus raises some of them
over a real service."""
import json
import pathlib
import re
import signal
import subprocess
import tempfile
import unittest
import urllib.request

from servers import ROOT, Database, Service, free_port, open_streams, until

CONFIG = ROOT / "Config/prometheus"
NAME = re.compile(r"event_service_\w+")


def documented_metrics():
    """The metrics of docs/metrics.md, with what a histogram has besides its name."""
    names = set(re.findall(r"^\| `(event_service_\w+)`", (ROOT / "docs/metrics.md").read_text(), re.M))
    return names | {name + suffix for name in names for suffix in ("_bucket", "_sum", "_count")}


class AlertFiles(unittest.TestCase):
    def test_promtool_accepts_the_configuration_and_the_rules(self):
        subprocess.run(["promtool", "check", "config", CONFIG / "prometheus.yml"], check=True, capture_output=True)
        subprocess.run(["promtool", "check", "rules", CONFIG / "alerts.yml"], check=True, capture_output=True)

    def test_promtool_finds_that_each_alert_fires_when_it_should_and_only_then(self):
        run = subprocess.run(["promtool", "test", "rules", CONFIG / "alerts.test.yml"], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_each_alert_has_a_case_that_fires_one_that_does_not_and_a_runbook(self):
        alerts = re.findall(r"- alert: (\w+)", (CONFIG / "alerts.yml").read_text())
        cases = (CONFIG / "alerts.test.yml").read_text()
        sections = re.findall(r"^## (EventService\w+)", (ROOT / "docs/runbooks.md").read_text(), re.M)
        self.assertEqual(alerts, sections)
        for alert in alerts:
            self.assertIn(f"name: {alert} fires\n", cases)
            self.assertIn(f"name: {alert} does not fire\n", cases)
            self.assertIn(f"docs/runbooks.md#{alert.lower()}\n", (CONFIG / "alerts.yml").read_text())

    def test_alerts_dashboard_and_runbooks_name_only_metrics_that_exist(self):
        known = documented_metrics()
        for file in ["Config/prometheus/alerts.yml", "Config/grafana/event-service.json", "docs/runbooks.md"]:
            names = set(NAME.findall((ROOT / file).read_text())) - {"event_service_runtime", "event_service_admin"}
            self.assertLessEqual(names, known, file)

    def test_the_dashboard_is_one(self):
        board = json.loads((ROOT / "Config/grafana/event-service.json").read_text())
        panels = [panel for panel in board["panels"] if panel["type"] != "row"]
        self.assertGreater(len(panels), 10)
        places = set()
        for panel in panels:
            self.assertTrue(panel["title"])
            self.assertTrue(all(target["expr"] for target in panel["targets"]))
            place = panel["gridPos"]
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    self.assertNotIn((x, y), places, "panels lie on each other")
                    places.add((x, y))


class Prometheus:
    """A Prometheus that scrapes one service every second and judges our rules, its patience cut short."""

    def __init__(self, target):
        self.folder = tempfile.TemporaryDirectory(prefix="prometheus-")
        folder = pathlib.Path(self.folder.name)
        rules = re.sub(r"\bfor: \w+", "for: 1s", (CONFIG / "alerts.yml").read_text())
        (folder / "alerts.yml").write_text(rules.replace("[5m]", "[10s]"))
        config = (CONFIG / "prometheus.yml").read_text().replace("15s", "1s").replace("127.0.0.1:8081", target)
        (folder / "prometheus.yml").write_text(config)
        self.port = free_port()
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=error"], cwd=folder)
        until("Prometheus scrapes", lambda: self.query('up{job="event-service"}') == ["1"], 60)

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=10) as answer:
                return json.load(answer)["data"]
        except OSError:
            return {"result": [], "alerts": []}

    def query(self, text):
        return [row["value"][1] for row in self.get("query?query=" + urllib.request.quote(text))["result"]]

    def firing(self):
        return {alert["labels"]["alertname"] for alert in self.get("alerts")["alerts"] if alert["state"] == "firing"}

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


class AlertsInLife(unittest.TestCase):
    """PostgreSQL of its own, since it is stopped."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="event-service-alerts-")
        cls.addClassCleanup(cls.folder.cleanup)
        url = cls.postgres("start")
        cls.addClassCleanup(cls.postgres, "destroy")
        cls.database = Database(url.rsplit("/", 1)[0])
        port = free_port()
        cls.redis = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", cls.folder.name],
            stdout=subprocess.DEVNULL)
        cls.addClassCleanup(cls.redis.wait)
        cls.addClassCleanup(cls.redis.kill)
        source = '{ timeout: "1s", sources: [{ stream: "in", type: "a.b", audience: ["*"] }] }'
        cls.service = Service(cls.database, "--max-connections", "20", "--redis-url", f"redis://127.0.0.1:{port}",
                              "--redis", source)
        cls.addClassCleanup(cls.service.close)
        cls.prometheus = Prometheus(f"127.0.0.1:{cls.service.ops_port}")
        cls.addClassCleanup(cls.prometheus.close)

    @classmethod
    def postgres(cls, *command):
        run = subprocess.run([ROOT / "dev/postgres", command[0], cls.folder.name, *command[1:]],
                             check=True, capture_output=True, text=True)
        return run.stdout.strip()

    def expect(self, *alerts):
        until(f"{alerts} fire", lambda: self.prometheus.firing() >= set(alerts), 90)

    def expect_quiet(self):
        until("no alert fires", lambda: not self.prometheus.firing(), 90)

    def test_alerts_fire_when_something_is_wrong_and_end_when_it_is_mended(self):
        self.expect_quiet()
        with self.subTest("the cap is full"):
            with open_streams(self.service, 25) as answers:
                self.assertEqual(sorted(set(answers)), [200, 503])
                self.expect("EventServiceConnectionsNearCap", "EventServiceRefusesConnections")
            self.expect_quiet()
        with self.subTest("a bridge stands still"):
            self.redis.send_signal(signal.SIGSTOP)
            self.expect("EventServiceBridgeDisconnected")
            self.redis.send_signal(signal.SIGCONT)
            self.expect_quiet()
        with self.subTest("something holds up sequencing"):
            # What attach() and advance() take; nobody else has a reason to hold it.
            holder = subprocess.Popen(
                ["psql", "-Xq", self.database.url, "-c",
                 "SELECT pg_advisory_lock(1163284052, 2)", "-c", "SELECT pg_sleep(60)"], stdout=subprocess.DEVNULL)
            until("the lock is held", lambda: self.database.sql(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 2 AND granted") == "1")
            self.database.sql("INSERT INTO tasks (title, context) VALUES ('waits', 'a')")
            self.expect("EventServiceInboxGrowing")
            holder.terminate()
            holder.wait()
            self.database.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                              " WHERE query LIKE '%pg_sleep(60)' AND pid <> pg_backend_pid()")
            self.expect_quiet()
        with self.subTest("PostgreSQL is killed"):
            self.postgres("stop", "immediate")
            self.expect("EventServiceListenerDown", "EventServiceNotReady", "EventServiceNoPump")
            self.postgres("start")
            self.expect_quiet()


if __name__ == "__main__":
    unittest.main()
