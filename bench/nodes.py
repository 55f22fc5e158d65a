"""Several nodes on one database: what they read of the log, and how late the last of their streams is."""
import contextlib
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request

from lab import Cluster, Driver, Process, Service, free_port, median, pgbench, wait_port
from writers import ONE_ROW, prepare, script

STREAMS = 4_000


class Redis(Process):
    """A Redis server that keeps nothing."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="event-service-bench.")
        self.port = free_port()
        super().__init__(
            ["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
             "--dir", self.folder], stdout=subprocess.DEVNULL)
        wait_port(self.port)
        self.url = f"redis://127.0.0.1:{self.port}"

    def close(self):
        super().close()
        shutil.rmtree(self.folder, ignore_errors=True)


def rows_read(cluster):
    """Rows of the log that anybody has read, as PostgreSQL counts them."""
    time.sleep(1.5)  # It counts a second late.
    return int(cluster.sql("""
        SELECT coalesce(sum(idx_tup_fetch + seq_tup_read), 0) FROM pg_stat_user_tables
        WHERE schemaname = 'event_service' AND relname ~ '^log_p'"""))


def metric(service, name):
    with urllib.request.urlopen(f"http://127.0.0.1:{service.ops_port}/metrics") as page:
        return float(re.search(rf"^event_service_{name} ([\d.e+-]+)$", page.read().decode(), re.M).group(1))


def start(stack, cluster, redis, mode, count):
    arguments = ["--fanout", "redis", "--redis-url", redis.url] if mode == "redis" else []
    services = [stack.enter_context(Service(cluster.url, *arguments)) for _ in range(count)]
    deadline = time.monotonic() + 30
    while mode == "redis" and not all(metric(service, "fanout_connected") for service in services):
        if time.monotonic() > deadline:
            raise SystemExit("Redis is not connected to all nodes")
        time.sleep(0.05)
    return services


def reads(cluster, redis, mode, count, seconds):
    """What so many nodes with a stream each cost for each of 500 events a second: rows of the log that are read,
    and processor time of the last node and of Redis."""
    with contextlib.ExitStack() as stack:
        services = start(stack, cluster, redis, mode, count)
        drivers = [stack.enter_context(Driver(service.stream_url(), 1, "--dense")) for service in services]
        for driver in drivers:
            driver.wait_open()
        rows, work = rows_read(cluster), [process.cpu_seconds() for process in (services[-1], redis)]
        pgbench(cluster.url, script("watched", ONE_ROW), 4, seconds=seconds, rate=500)
        cluster.wait_drained()
        reports = [driver.wait_events(1, 10) for driver in drivers]
        for driver, report in zip(drivers, reports):
            if report["gaps"] or report["inversions"]:
                raise SystemExit(f"not all came, or not in order: {report}")
        events = reports[0]["events"]
        work = [(process.cpu_seconds() - before) / events * 1e6
                for process, before in zip((services[-1], redis), work)]
        return {"rows read": (rows_read(cluster) - rows) / events, "us of the last node": work[0],
                "us of Redis": work[1]}


def p99(cluster, redis, count, events):
    """The latency of the streams of the slowest of so many nodes, which hold 4,000 together."""
    with contextlib.ExitStack() as stack:
        services = start(stack, cluster, redis, "redis", count)
        drivers = [stack.enter_context(Driver(service.stream_url(), STREAMS // count, "--dense"))
                   for service in services]
        for driver in drivers:
            driver.wait_open()
        time.sleep(1)
        for driver in drivers:
            driver.tell("measure")
            driver.report()
        began = time.monotonic()
        for number in range(events):
            cluster.sql(f"UPDATE watched SET progress = (progress + 1) % 101 WHERE id = {number + 1}")
            time.sleep(max(0, began + (number + 1) / 5 - time.monotonic()))
        reports = [driver.wait_events(events * STREAMS // count, 30) for driver in drivers]
        for report in reports:
            if report["gaps"] or report["inversions"] or report["least"] != events:
                raise SystemExit(f"not all came, or not in order: {report}")
        return max(report["p99_ms"] for report in reports)


def run(quick=False):
    results = {}
    with Cluster(1) as cluster, Redis() as redis:
        prepare(cluster)
        for mode in ("postgres", "redis"):
            for count in (1, 2, 4, 8):
                results[f"{count} nodes, fanout {mode}, an event"] = reads(
                    cluster, redis, mode, count, 3 if quick else 10)
        ratios, one, four = [], [], []
        for number in range(3 if quick else 5):
            pair = {count: p99(cluster, redis, count, 50 if quick else 100)
                    for count in ((1, 4) if number % 2 == 0 else (4, 1))}
            ratios.append(pair[4] / pair[1])
            one.append(pair[1])
            four.append(pair[4])
        results["4 nodes of 1,000 streams, fanout redis"] = {
            "p99_ms": median(four), "one node's p99_ms": median(one), "ratio": median(ratios)}
    return results
