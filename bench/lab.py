"""What the benchmarks share: a cluster in memory, the service, the load driver, pgbench, CPU and memory.

Data lie on tmpfs, and `commit_delay` with `commit_siblings=0` makes every flush take a fixed time, so that
the flush, as on a real disk, and not two shared cores, is the limit.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = ROOT / ".build/release/event-service"
DRIVER = ROOT / ".build/release/event-service-load"
PGBENCH = "/usr/lib/postgresql/15/bin/pgbench"


def median(values):
    return statistics.median(values)


def free_port():
    import socket
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """A PostgreSQL cluster on tmpfs, migrated, whose flushes take `flush_ms`."""

    def __init__(self, flush_ms, **settings):
        self.folder = tempfile.mkdtemp(prefix="event-service-bench.", dir="/dev/shm")
        os.chmod(self.folder, 0o755)
        settings = {"commit_delay": int(flush_ms * 1000), "commit_siblings": 0, "shared_buffers": "512MB",
                    "max_wal_size": "4GB", **settings}
        options = [f"{name}={value}" for name, value in settings.items()]
        self.url = subprocess.check_output(
            [ROOT / "dev/postgres", "start", self.folder, *options], text=True).strip()
        self.apply_migrations()

    def apply_migrations(self):
        subprocess.check_call([ROOT / "dev/apply-migrations"], env={**os.environ, "DATABASE_URL": self.url})

    def sql(self, text):
        return subprocess.check_output(
            ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", self.url], input=text, text=True).strip()

    def wait_drained(self):
        while self.sql("SELECT count(*) FROM event_service.inbox") != "0":
            time.sleep(0.05)

    def close(self):
        subprocess.call([ROOT / "dev/postgres", "destroy", self.folder])
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Process:
    """A server under measurement: its processor time and its memory."""

    def __init__(self, arguments, **options):
        self.process = subprocess.Popen([str(a) for a in arguments], **options)
        self.pid = self.process.pid

    def cpu_seconds(self):
        """User and system time, with those of its children that are alive."""
        pids = [self.pid] + [int(p) for p in self._children()]
        return sum(self._cpu(pid) for pid in pids)

    def _children(self):
        try:
            return pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except FileNotFoundError:
            return []

    @staticmethod
    def _cpu(pid):
        # Nanoseconds on a processor, thread by thread: exact, where the ticks of /proc/PID/stat are samples.
        return sum(int((thread / "schedstat").read_text().split()[0])
                   for thread in pathlib.Path(f"/proc/{pid}/task").iterdir()) / 1e9

    def kilobytes(self, name="VmRSS"):
        total = 0
        for pid in [self.pid, *self._children()]:
            found = re.search(rf"^{name}:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)
            total += int(found.group(1)) if found else 0
        return total

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Service(Process):
    """A running event-service, ready."""

    def __init__(self, url, *arguments, auth="none"):
        self.auth = auth
        self.port = free_port()
        self.ops_port = free_port()
        self.log = tempfile.NamedTemporaryFile("w+", prefix="event-service-bench.", suffix=".log")
        super().__init__(
            [BINARY, "serve", "--listen", f"127.0.0.1:{self.port}", "--ops-listen", f"127.0.0.1:{self.ops_port}",
             "--auth", auth, "--log-level", "warning", "--drain", "0", "--database-url", url, *arguments],
            stderr=self.log)
        wait_for(f"http://127.0.0.1:{self.port}/readyz")

    def stream_url(self, query=""):
        return f"http://127.0.0.1:{self.port}/api/v1/events/stream" + (f"?{query}" if query else "")


def wait_port(port):
    import socket
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"nobody listens on port {port}")


def wait_for(url):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"nothing answers at {url}")


class Driver:
    """The load driver, told what to do line by line."""

    def __init__(self, url, streams, *arguments):
        self.streams = streams
        self.process = subprocess.Popen(
            [DRIVER, "--interactive", "--url", url, "--streams", str(streams), *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def report(self):
        self.tell("report")
        return json.loads(self.process.stdout.readline())

    def wait_open(self, seconds=120):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            report = self.report()
            if report["streams"] == self.streams:
                return report
            time.sleep(0.05)
        raise SystemExit(f"only {report['streams']} of {self.streams} streams opened: {report}")

    def wait_events(self, count, seconds=120):
        """Waits until so many events have come since `measure`."""
        deadline = time.monotonic() + seconds
        while True:
            report = self.report()
            if report["events"] >= count or time.monotonic() > deadline:
                return report
            time.sleep(0.02)

    def close(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def pgbench(url, script, clients, seconds=None, transactions=None, rate=None):
    """Runs a script and returns its transactions a second."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        arguments = [PGBENCH, "-n", "-M", "prepared", "-c", str(clients), "-j", str(min(clients, 2)), "-f", file.name]
        arguments += ["-T", str(seconds)] if seconds else ["-t", str(transactions)]
        if rate:
            arguments += ["-R", str(rate)]
        output = subprocess.check_output(arguments + [url], stderr=subprocess.STDOUT, text=True)
    return float(re.search(r"tps = ([\d.]+)", output).group(1))


def rounds(count, candidates, measure):
    """Measures all candidates in turn, in changing order, and returns the values of each."""
    results = {name: [] for name in candidates}
    for number in range(count):
        for name in candidates if number % 2 == 0 else list(reversed(candidates)):
            results[name].append(measure(name))
    return results


def ratio(results, name, base):
    """The median of the paired ratios of two candidates."""
    return median([a / b for a, b in zip(results[name], results[base])])
