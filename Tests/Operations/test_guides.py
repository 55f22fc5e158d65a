"""The guides: no link leads nowhere, and commands, programs and texts are what the pages say."""
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import unittest

from servers import ROOT, Database, Service, until

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page, section, language="sh"):
    """The commands of a section, block by block, or what it has in another language."""
    text = re.split(rf"^## {re.escape(section)}$", page.read_text(), flags=re.M)[1]
    text = re.split(r"^## ", text, flags=re.M)[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def anchor(title):
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", title.lower().replace("`", "")).strip().replace(" ", "-")


def dead_links(page):
    """The links of a page to files or sections that are not there."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        titles = re.findall(r"^#+ (.*)$", file.read_text(), re.M) if fragment and file.exists() else []
        if not file.exists() or fragment and fragment not in map(anchor, titles):
            yield target


class Links(unittest.TestCase):
    def test_no_link_leads_nowhere(self):
        for page in PAGES:
            with self.subTest(page=str(page.relative_to(ROOT))):
                self.assertEqual(list(dead_links(page)), [])

    def test_a_dead_link_is_noticed(self):
        with tempfile.TemporaryDirectory() as folder:
            page = pathlib.Path(folder, "page.md")
            page.write_text("# A b\n[1](#a-b) [2](#c) [3](other.md) [4](page.md#a-b) [5](page.md#d) [6](https://x)\n")
            self.assertEqual(list(dead_links(page)), ["#c", "other.md", "page.md#d"])

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
class NetworkOfItsOwn(unittest.TestCase):
    """Runs commands of the guides as they stand there: port 8080 is free in a network of its own."""

    folder = ROOT

    def setUp(self):
        self.logs = tempfile.TemporaryDirectory()
        self.addCleanup(self.logs.cleanup)
        self.children = []
        environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        # A browser that sees no interface but loopback takes itself to be offline, and tries nothing.
        interfaces = ("ip link set lo up && ip link add outside type veth peer name other && ip link set other up"
                      " && ip address add 192.0.2.1/24 dev outside && ip link set outside up")
        self.holder = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", f"{interfaces} && echo up && exec sleep 600"], stdout=subprocess.PIPE,
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
                ["nsenter", "-n", "-t", str(self.holder.pid), "sh", "-c", f"exec env {command}"], cwd=self.folder,
                stdout=file, stderr=subprocess.STDOUT, env=self.environment))
        return path.read_text

    def make_run(self, command):
        said = self.start("make", command.strip())
        until("make run is ready", lambda: re.search(r"^ready http://127\.0\.0\.1:8080$", said(), re.M), 300)

    def stop_make_run(self):
        self.children[0].send_signal(signal.SIGTERM)
        self.children[0].wait(60)

    def run_lines(self, text):
        return subprocess.run(["nsenter", "-n", "-t", str(self.holder.pid), "sh", "-ec", text], cwd=self.folder,
                              check=True, env=self.environment, capture_output=True, text=True, timeout=60).stdout


class FirstMinute(NetworkOfItsOwn):
    def test_the_commands_of_the_readme_do_what_it_says(self):
        make, watch, change, back = blocks(ROOT / "README.md", "One minute")
        self.make_run(make)
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
        self.stop_make_run()


class QuickStart(NetworkOfItsOwn):
    """docs/quick-start.md from its first to its last command, with a browser before the page."""

    def test_its_commands_bring_a_table_to_a_page(self):
        page = ROOT / "docs/quick-start.md"
        (make,), watch, (write, serve) = (
            blocks(page, name) for name in ("1. Start it", "2. Watch a table", "3. Write a page"))
        (insert, update), (kill,), (clean,) = (
            blocks(page, name) for name in ("4. Change rows", "5. Break it", "6. Clean up"))
        self.make_run(make)
        # Of a run that was broken off.
        self.run_lines("dev/psql -c 'DROP TABLE IF EXISTS invoices'")
        self.run_lines(watch[0])
        self.run_lines(write)
        self.start("pages", serve.strip())
        self.run_lines("until curl -sf -o .local/quick-start/copy http://127.0.0.1:8000; do sleep 0.1; done")
        shown = self.start("browser", ".local/python/bin/python Tests/Operations/show_page.py http://127.0.0.1:8000")

        def await_page(text):
            until(f"the page shows {text}", lambda: re.fullmatch(f"Invoices {text}", shown().strip().split("\n")[-1]))

        await_page("open.*")
        self.run_lines(insert)
        await_page("open.* ann: 120, open")
        self.run_lines(update)
        await_page("open.* ann: 120, paid")
        self.run_lines(kill)
        await_page("waiting.* ann: 120, paid")
        await_page("open.* ann: 120, refunded")
        self.run_lines(clean)
        await_page("open")
        self.stop_make_run()


class Programs(unittest.TestCase):
    """The programs of docs/subscribing.md against a service that is killed amid it."""

    page = ROOT / "docs/subscribing.md"

    def setUp(self):
        self.database = Database()
        self.service = Service(self.database, "--heartbeat", "300ms")
        self.addCleanup(self.service.close)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def add(self, *titles):
        for title in titles:
            self.database.sql(f"INSERT INTO tasks (title) VALUES ('{title}')")

    def check(self, command, titles=r'"title": ?"(\w+)"'):
        """Runs a subscriber; it gets each event once and in order, though the service dies and stops."""
        output = self.folder / "output"
        with open(output, "w") as file:
            program = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            self.receives(output, titles)
            self.assertIsNone(program.poll())
        finally:
            program.kill()
            program.wait()

    def receives(self, output, titles):
        def came(*wanted):
            until(f"{wanted[-1]} comes", lambda: wanted[-1] in re.findall(titles, output.read_text()))
            self.assertEqual(re.findall(titles, output.read_text()), list(wanted))

        until("a stream", lambda: self.service.opened() == 1)
        self.add("one", "two")
        came("one", "two")
        self.service.kill()
        self.add("three", "four")
        self.service.start()
        came("one", "two", "three", "four")
        self.service.stop()
        self.service.start()
        self.add("five")
        came("one", "two", "three", "four", "five")

    def url(self):
        return f"{self.service.stream}?type=task.*"

    def test_python(self):
        program = self.folder / "subscribe.py"
        program.write_text(*blocks(self.page, "Python", "python"))
        self.check(["/usr/bin/python3", program, self.url()])

    def test_swift(self):
        source, program = self.folder / "subscribe.swift", self.folder / "subscribe"
        source.write_text(*blocks(self.page, "Swift", "swift"))
        built = subprocess.run(["swiftc", "-swift-version", "6", "-warnings-as-errors", source, "-o", program],
                               capture_output=True, text=True)
        self.assertEqual(built.returncode, 0, built.stderr)
        self.check([program, self.url()])

    def test_curl_and_tail(self):
        self.add("earlier")
        for command in blocks(self.page, "curl"):
            with self.subTest(command=command), tempfile.TemporaryFile("w+") as output:
                command = command.strip().replace("http://127.0.0.1:8080", self.service.origin)
                program = subprocess.Popen(["sh", "-c", f"exec {command}"], stdout=output, env={
                    **os.environ, "PATH": f"{ROOT}/.build/release:{os.environ['PATH']}"})
                try:
                    until("the event comes", lambda: b"task.created" in os.pread(output.fileno(), 1 << 16, 0))
                finally:
                    program.kill()
                    program.wait()


class Texts(unittest.TestCase):
    """docs/troubleshooting.md: each text that it quotes stands in the sources."""

    def test_every_quoted_text_is_in_the_sources(self):
        sources = [path.read_text() for folder, ending in (("Sources", "swift"), ("Migrations", "sql"))
                   for path in sorted((ROOT / folder).rglob(f"*.{ending}"))]
        text = "\n".join(sources)
        # Strings that go on in the next line, and quotes within strings.
        text = re.sub(r'"\s*\+\s*"', "", text)
        text = re.sub(r"'\n\s*'", "", text)
        text = re.sub(r"'\s*\|\| [^\n]*? \|\| '", "", text)
        text = text.replace('\\"', '"').replace("''", "'")
        quotes = []
        for line in (ROOT / "docs/troubleshooting.md").read_text().split("\n"):
            cell = re.match(r"\|(?: [0-9]{3} \|)? (`+)(.*?)\1 \|", line)
            if cell:
                quotes.append(cell[2])
        self.assertGreater(len(quotes), 60)
        for quote in quotes:
            for part in quote.split("…"):
                with self.subTest(quote=quote, part=part):
                    self.assertTrue(part.strip() in text)

    def test_every_row_of_its_tables_quotes_a_text(self):
        for line in (ROOT / "docs/troubleshooting.md").read_text().split("\n"):
            if line.startswith("|") and not re.match(r"\| (---|text|status) \|", line):
                self.assertRegex(line, r"^\|(?: [0-9]{3} \|)? `")


if __name__ == "__main__":
    unittest.main()
