"""How long an event takes from the writing statement to the client."""
import select
import subprocess
import threading
import time
from contextlib import closing

import psycopg2

from lab import PGBENCH, Cluster, Driver, Service, median
import tempfile

from writers import prepare

TEN_ROWS = ("\\set low random(0, 999) * 10\n"
            "UPDATE watched SET progress = (progress + 1) % 101 WHERE id > :low AND id <= :low + 10;\n")


def start_pgbench(url, text, clients, seconds, rate):
    file = tempfile.NamedTemporaryFile("w", suffix=".sql")
    file.write(text)
    file.flush()
    process = subprocess.Popen(
        [PGBENCH, "-n", "-M", "prepared", "-c", str(clients), "-j", "1", "-f", file.name, "-T", str(seconds),
         "-R", str(rate), url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return process, file


def sustained(seconds):
    """1,000 transactions of 10 rows a second, a flush of 1 ms, one client."""
    with Cluster(1) as cluster:
        prepare(cluster)
        with Service(cluster.url) as service, Driver(service.stream_url(), 1, "--dense") as driver:
            driver.wait_open()
            writer, _ = start_pgbench(cluster.url, TEN_ROWS, 8, seconds + 4, 1000)
            time.sleep(2)
            driver.tell("measure")
            waiting = []
            began = time.monotonic()
            while time.monotonic() - began < seconds:
                time.sleep(1)
                waiting.append(int(cluster.sql("SELECT count(*) FROM event_service.inbox")))
            report = driver.report()
            writer.wait()
            third = len(waiting) // 3
            return {"events a second": report["per_second"], "p50_ms": report["p50_ms"], "p99_ms": report["p99_ms"],
                    "max_ms": report["max_ms"], "gaps": report["gaps"], "inversions": report["inversions"],
                    "inbox, first third": median(waiting[:third]), "inbox, last third": median(waiting[-third:])}


class BareListener(threading.Thread):
    """The least that can be: a connection that listens, and a trigger that sends the time of its statement."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.connection = psycopg2.connect(url)
        self.connection.autocommit = True
        self.connection.cursor().execute("LISTEN bare")
        self.latencies = []
        self.ended = False

    def run(self):
        while not self.ended:
            if select.select([self.connection], [], [], 0.1)[0]:
                self.connection.poll()
                now = time.time()
                while self.connection.notifies:
                    self.latencies.append(now - float(self.connection.notifies.pop(0).payload))


def quiet(rounds, events):
    """20 events a second, in turn to a bare listener and through the service, in the same run."""
    with Cluster(1) as cluster:
        prepare(cluster)
        cluster.sql("""
            CREATE FUNCTION notify_time() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                PERFORM pg_notify('bare', extract(epoch FROM clock_timestamp())::text); RETURN NULL; END $$;
            CREATE TRIGGER notify_time AFTER UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION notify_time();""")
        listener = BareListener(cluster.url)
        listener.start()
        ratios, ours, bare = [], [], []
        with Service(cluster.url) as service, Driver(service.stream_url(), 1, "--dense") as driver, \
                closing(psycopg2.connect(cluster.url)) as writer:
            writer.autocommit = True
            driver.wait_open()
            for _ in range(rounds):
                driver.tell("measure")
                listener.latencies = []
                for number in range(events):
                    for table in ("plain", "watched"):
                        writer.cursor().execute(
                            f"UPDATE {table} SET progress = (progress + 1) % 101 WHERE id = {number % 10000 + 1}")
                        time.sleep(0.05)
                report = driver.wait_events(events)
                ours.append(report["p50_ms"])
                bare.append(median(listener.latencies) * 1000)
                ratios.append(ours[-1] / bare[-1])
        listener.ended = True
        listener.join()
        return {"p50_ms": median(ours), "bare p50_ms": median(bare), "ratio": median(ratios)}


def run(quick=False):
    return {"10,000 events a second": sustained(15 if quick else 60),
            "20 events a second": quiet(3 if quick else 5, 60)}
