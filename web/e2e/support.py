"""What the browser tests stand on: a real service on a database of its own, and real browsers."""
import contextlib
import itertools
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "web/build/screenshots"
SERVER = os.environ["DATABASE_URL"].rsplit("/", 1)[0]
names = itertools.count()


def until(what, check, seconds=60.0, pause=0.02):
    """What `check` gives once that is true, within a generous while."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(pause)


class Database:
    """A migrated database on a server, by default that which dev/with-postgres started."""

    def __init__(self, server=SERVER):
        self.name = f"browser_{os.getpid()}_{next(names)}"
        self.url = f"{server}/{self.name}"
        self._psql(f"{server}/postgres", f"CREATE DATABASE {self.name}")
        subprocess.run([ROOT / "dev/apply-migrations"], check=True, capture_output=True,
                       env={**os.environ, "DATABASE_URL": self.url, "PGOPTIONS": "-c client_min_messages=error"})

    @staticmethod
    def _psql(url, sql):
        run = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", url], input=sql,
                             capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stderr
        return run.stdout.strip()

    def sql(self, text):
        """What some statements print, as psql prints it."""
        return self._psql(self.url, text)

    def ids(self):
        """The ids of the log, in their order."""
        return self.sql("SELECT id FROM event_service.events ORDER BY split_part(id, '-', 2)::bigint").split()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Service:
    """An `event-service` that may be killed and started again on the same port."""

    def __init__(self, database, *settings):
        self.database = database
        self.settings = settings if "--auth" in settings else ("--auth", "none", *settings)
        self.port, self.ops_port = free_port(), free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.stream = f"{self.origin}/api/v1/events/stream"
        self.log = tempfile.TemporaryFile("a+", prefix="event-service-")
        self.process = None
        self.start()

    def start(self, wait=True):
        self.process = subprocess.Popen(
            [ROOT / ".build/release/event-service", "serve", "--drain", "1s",
             "--listen", f"127.0.0.1:{self.port}", "--ops-listen", f"127.0.0.1:{self.ops_port}",
             "--database-url", self.database.url, *self.settings],
            stderr=self.log)
        if wait:
            until("the service is ready", self.is_ready)

    def is_ready(self):
        assert self.process.poll() is None, self.text()
        try:
            return urllib.request.urlopen(f"{self.origin}/readyz", timeout=5).status == 200
        except OSError:
            return False

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def close(self):
        self.stop()
        self.log.close()

    def text(self):
        return os.pread(self.log.fileno(), 1 << 24, 0).decode()

    def opened(self):
        """How many streams were opened so far."""
        return len(re.findall("stream: opened", self.text()))

    def connections(self):
        """How many TCP connections are open."""
        rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(row[1].endswith(f":{self.port:04X}") and row[3] == "01" for row in rows)

    def get(self, path):
        """The text of an answer."""
        with urllib.request.urlopen(self.origin + path, timeout=40) as answer:
            return answer.read().decode()


class ServiceTest(unittest.TestCase):
    """Tests that share one service and one database."""

    settings = ()

    @classmethod
    def setUpClass(cls):
        cls.database = Database()
        cls.service = Service(cls.database, *cls.settings)
        cls.addClassCleanup(cls.service.close)

    def sql(self, text):
        return self.database.sql(text)

    @contextlib.contextmanager
    def away(self):
        """The service is dead for a while."""
        self.service.kill()
        try:
            yield
        finally:
            self.service.start()
