"""The commands and SQL of the README and the guides run as they stand there, every block of them."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from servers import ROOT, Database, until
from test_guides import PAGES, NetworkOfItsOwn, blocks

DOCS = ROOT / "docs"
README = ROOT / "README.md"
# Where blocks of other tests stand: the class that runs them, or what they start as a whole.
ELSEWHERE = {
    ("README.md", "One minute", "sh"): "test_guides.FirstMinute",
    **{("docs/quick-start.md", section, "sh"): "test_guides.QuickStart"
       for section in ("1. Start it", "2. Watch a table", "3. Write a page", "4. Change rows", "5. Break it", "6. Clean up")},
    ("docs/subscribing.md", "curl", "sh"): "test_guides.Programs",
    ("docs/deployment.md", "Debian", "sh"): "test_package.Package",
}


def sections():
    """Every section that has commands or SQL: page, title and language, once for each."""
    found = set()
    for page in PAGES:
        title = ""
        for line in page.read_text().split("\n"):
            heading = re.match(r"^## (.*)$", line)
            title = heading[1] if heading else title
            opened = re.match(r"^```(sh|sql)$", line)
            if opened:
                found.add((str(page.relative_to(ROOT)), title, opened[1]))
    return found


class EveryBlock(unittest.TestCase):
    def test_every_block_of_commands_is_run(self):
        here = {place for case in (Targets, Statements, Server, Tokens, Bridge) for place in case.runs}
        self.assertFalse(here & set(ELSEWHERE))
        self.assertEqual(sections(), here | set(ELSEWHERE), "a section with commands that no test runs, or that is gone")

    def test_a_fence_says_what_it_holds(self):
        for page in PAGES:
            fences = re.findall(r"^```(\w*)$", page.read_text(), re.M)
            self.assertTrue(all(fences[::2]), page)
            self.assertFalse(any(fences[1::2]), page)


class Targets(unittest.TestCase):
    """What starts builds and tests is not run within a test: what it names must be there."""

    runs = {("README.md", "", "sh"), ("CONTRIBUTING.md", "", "sh"), ("docs/reliability.md", "Tried", "sh"),
            ("docs/benchmarks.md", "Run it yourself", "sh")}

    def test_what_is_named_is_there(self):
        targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.M)
        parts = re.findall(r"^        ([a-z]+)\)", (ROOT / "dev/test").read_text(), re.M)
        named = 0
        for page, title, language in self.runs:
            text = (ROOT / page).read_text()
            text = text.split(f"## {title}\n", 1)[1] if title else text.split("\n## ", 1)[0]
            for block in re.findall(rf"^```{language}\n(.*?)^```$", text.split("\n## ", 1)[0], re.M | re.S):
                for target in re.findall(r"\bmake ([a-z]+)", block):
                    self.assertIn(target, targets)
                    named += 1
                for part in re.findall(r"dev/test ([a-z]+)", block):
                    self.assertIn(part, parts)
                    named += 1
        self.assertGreater(named, 8)

    def test_the_list_of_parts_is_that_of_dev_test(self):
        listed = re.search(r"dev/test unit runs one part:\n +(.*)\n", (ROOT / "CONTRIBUTING.md").read_text())[1].split()
        script = (ROOT / "dev/test").read_text()
        lanes = re.search(r'^lanes=\("(.+)"\)$', script, re.M)[1].replace('" "', " ").split()
        self.assertEqual(sorted(listed), sorted(lanes))


class Statements(unittest.TestCase):
    """SQL, in a database of its own and in the order of the pages."""

    runs = {("README.md", "Your own table", "sql"), ("docs/bridges.md", "A message becomes an event", "sql"),
            ("docs/deployment.md", "Debian", "sql"), ("docs/upgrading.md", "Off again", "sql"),
            *(("docs/watching-tables.md", section, "sql") for section in (
                "", "Events", "When the table changes", "Publishing", "Loading data and joining the stream"))}

    def setUp(self):
        # Roles belong to a cluster, so it is one of its own.
        self.folder = tempfile.mkdtemp(prefix="event-service-statements-")
        server = subprocess.run([ROOT / "dev/postgres", "start", self.folder, "fsync=off"], check=True,
                                capture_output=True, text=True).stdout.strip()
        self.addCleanup(subprocess.run, [ROOT / "dev/postgres", "destroy", self.folder], check=True, capture_output=True)
        self.database = Database(server.rsplit("/", 1)[0])

    def run_blocks(self, page, section):
        return [self.database.sql(block.replace("…", "")) for block in blocks(page, section, "sql")]

    def log(self, columns):
        self.database.sql("SELECT count(*) FROM event_service.advance()")
        return self.database.sql(f"SELECT {columns} FROM event_service.events ORDER BY event_id DESC LIMIT 1")

    def test_the_sql_of_the_guides_does_what_they_say(self):
        self.run_blocks(README, "Your own table")
        self.database.sql("INSERT INTO invoices VALUES (7, 'ann', 'open', 120)")
        self.assertEqual(self.log("type, audience"), "invoice.created|{user:ann}")
        page = DOCS / "watching-tables.md"
        (first, *_) = re.findall(r"^```sql\n(.*?)^```$", page.read_text().split("\n## ", 1)[0], re.M | re.S)
        self.database.sql(first)
        self.run_blocks(page, "Events")
        self.assertEqual(self.log("type, traceparent"),
                         "invoices.updated|00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        self.run_blocks(page, "When the table changes")
        self.database.sql("UPDATE invoices SET status = 'refunded'")
        self.assertEqual(self.log("type, data -> 'changed'"), 'invoices.updated|["status"]')
        (published,) = self.run_blocks(page, "Publishing")
        self.assertEqual(self.log("event_id, type, key, audience"), f"{published}|invoice.reminder-sent|7|{{user:ann}}")
        (joined,) = self.run_blocks(page, "Loading data and joining the stream")
        self.assertEqual(joined.split("\n")[0], self.log("id"))
        self.assertEqual(self.run_blocks(DOCS / "bridges.md", "A message becomes an event"), [""])
        self.run_blocks(DOCS / "deployment.md", "Debian")
        self.assertEqual(self.database.sql(
            "SELECT pg_has_role('event_service_login', 'event_service_runtime', 'MEMBER')"), "t")
        self.database.sql("DROP ROLE event_service_login")
        leave, forget = blocks(DOCS / "upgrading.md", "Off again", "sql")
        self.database.sql(leave)
        self.assertEqual(self.database.sql("SELECT count(*) FROM pg_trigger WHERE tgname LIKE '%event_service%'"), "0")
        self.database.sql("UPDATE invoices SET status = 'kept'")
        self.database.sql(forget)
        self.assertEqual(self.database.sql("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'event_service%'"), "0")


class OnTheUsualPorts(NetworkOfItsOwn):
    """A service of its own, and its PostgreSQL, on the ports that the guides name."""

    def setUp(self):
        super().setUp()
        scratch = tempfile.TemporaryDirectory(prefix="event-service-commands-")
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.environment["PATH"] = f"{ROOT}/.build/release:{os.environ['PATH']}"
        cluster = tempfile.mkdtemp(prefix="event-service-postgres-")
        self.environment["DATABASE_URL"] = self.run_lines(f"{ROOT}/dev/postgres start {cluster} fsync=off").strip()
        self.addCleanup(subprocess.run, [ROOT / "dev/postgres", "destroy", cluster], check=True, capture_output=True)
        self.run_lines("event-service migrate")

    def serve(self, *words):
        said = self.start("service", " ".join(("event-service serve --drain 1s", *words)))
        # Elsewhere than in the test's folder, where a client would be in its place.
        until("the service is ready", lambda: "200" in self.run_lines(
            "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8080/readyz || true"), 60)
        return said

    def sql(self, text):
        return self.run_lines(f"psql -XqAt -v ON_ERROR_STOP=1 \"$DATABASE_URL\" <<'END'\n{text}\nEND\n").strip()


class Server(OnTheUsualPorts):
    runs = {("docs/http.md", "POST /api/v1/events", "sh"), ("docs/metrics.md", "", "sh"),
            ("docs/operations.md", "Proving a set-up: `event-service doctor`", "sh"),
            ("docs/deployment.md", "Monitoring", "sh"), ("docs/deployment.md", "Who is connected", "sh"),
            ("docs/benchmarks.md", "The load driver", "sh")}

    def test_the_commands_of_the_guides_do_what_they_say(self):
        self.serve("--auth none")
        stream = self.start("stream", "curl -sN 'http://127.0.0.1:8080/api/v1/events/stream'")
        until("the stream is live", lambda: "event: stream.live" in stream())
        (publish,) = blocks(DOCS / "http.md", "POST /api/v1/events")
        self.assertIn("event_id", self.run_lines(publish))
        until("what was published comes", lambda: "event: invoice.reminder-sent" in stream())
        (metrics,) = re.findall(r"^```sh\n(.*?)^```$", (DOCS / "metrics.md").read_text(), re.M | re.S)
        self.assertIn("\nevent_service_streams 1\n", self.run_lines(metrics))
        (doctor,) = blocks(DOCS / "operations.md", "Proving a set-up: `event-service doctor`")
        checks = self.run_lines(doctor)
        self.assertRegex(checks, r"(?m)^ok +canary")
        self.assertNotIn("FAIL", checks)
        (top,) = blocks(DOCS / "deployment.md", "Monitoring")
        self.assertRegex(self.run_lines(top), r"streams +open 1 ")
        (who,) = blocks(DOCS / "deployment.md", "Who is connected")
        look, end = who.strip().split("\n")
        self.assertEqual(len(json.loads(self.run_lines(look))["connections"]), 1)
        self.run_lines(end)
        (load,) = blocks(DOCS / "benchmarks.md", "The load driver")
        report = self.run_lines(load)
        published = int(re.search(r"(?m)^events published +(\d+)$", report)[1])
        # It measures for five seconds, in which some that were published may still be on their way.
        self.assertIn(published, range(30, 51), report)
        self.assertRegex(report, r"(?m)^streams open +200$")
        self.assertRegex(report, r"(?m)^missing +0$")


class Tokens(OnTheUsualPorts):
    runs = {("README.md", "In production", "sh")}

    def test_the_token_of_the_readme_opens_a_stream(self):
        self.environment["EVENT_SERVICE_JWT_SECRET"] = "a secret of this test, of 32 bytes or more"
        self.serve()
        (tail,) = blocks(README, "In production")
        shown = self.start("tail", f"sh -c 'exec {tail.strip()}'")
        until("it is open", lambda: "opened" in pathlib.Path(self.logs.name, "service").read_text())
        self.sql("INSERT INTO tasks (title, user_id) VALUES ('not for ann', 'bob'), ('for ann', 'ann')")
        until("her event comes", lambda: "for ann" in shown())
        self.assertNotIn("not for ann", shown())


class Bridge(OnTheUsualPorts):
    runs = {("docs/bridges.md", "Redis", "sh")}

    def test_an_entry_of_the_stream_becomes_an_event(self):
        page = DOCS / "bridges.md"
        (settings,) = blocks(page, "Redis", "json5")
        (self.folder / "bridges.json5").write_text(settings)
        (self.folder / "samples.jsonl").write_text(
            '{"type": "chat.said", "key": 7, "audience": "user:ada", "data": {"text":"hello"}}\n'
            '{"type": "chat.said", "key": 8, "audience": [], "data": null}\n')
        command, expected = re.search(r"^```text\n\$ (.*check-mapping.*)\n((?:.*\n)+?)```$", page.read_text(), re.M).groups()
        self.assertEqual(self.run_lines(f"{command} || true"), expected)
        self.start("redis", f"redis-server --port 6379 --save '' --dir {self.folder}")
        until("Redis answers", lambda: "PONG" in self.run_lines("redis-cli ping || true"))
        self.serve("--auth none --config bridges.json5")
        stream = self.start("stream", "curl -sN 'http://127.0.0.1:8080/api/v1/events/stream'")
        until("the stream is live", lambda: "event: stream.live" in stream())
        (add,) = blocks(page, "Redis")
        self.run_lines(add)
        until("the event comes", lambda: re.search(r'event: chat\.said\n.*"text":"hello"', stream()))


if __name__ == "__main__":
    unittest.main()
