"""What a second loop brings, and what the two cost together."""
import re
import signal
import subprocess
import time

from fanout import measure
from lab import Cluster, Driver, median
from peers import Ours

STREAMS, BURST = 10_000, 60


def burst(cluster, workers):
    """Deliveries a second of a burst, with the reader stopped meanwhile and its count taken afterwards."""
    with Ours(cluster, "--workers", workers) as peer, Driver(peer.url(), STREAMS, "--dense") as driver:
        driver.wait_open()
        time.sleep(1)
        driver.tell("measure")
        driver.report()
        driver.process.send_signal(signal.SIGSTOP)
        cpu = peer.server.cpu_seconds()
        began = time.monotonic()
        for _ in range(BURST):
            peer.send()
        # Until nothing is done any more. To look takes time of a processor that two loops would use.
        last = began
        while time.monotonic() - last < 0.3:
            time.sleep(0.05)
            now = peer.server.cpu_seconds()
            if now - cpu > 0.003:
                cpu, last = now, time.monotonic()
        seconds = last - began
        driver.process.send_signal(signal.SIGCONT)
        report = driver.wait_events(STREAMS * BURST)
        if report["events"] != STREAMS * BURST or report["gaps"] or report["inversions"]:
            raise SystemExit(f"not all came, or not in order: {report}")
        return STREAMS * BURST / seconds


def futexes(cluster):
    """Futex calls a hundred deliveries, of two loops."""
    with Ours(cluster, "--workers", "2") as peer, Driver(peer.url(), STREAMS) as driver:
        driver.wait_open()
        time.sleep(1)
        driver.tell("measure")
        trace = subprocess.Popen(["strace", "-f", "-c", "-e", "trace=futex", "-p", str(peer.server.pid)],
                                 stderr=subprocess.PIPE, text=True)
        time.sleep(1)
        for _ in range(20):
            peer.send()
            time.sleep(0.2)
        events = driver.wait_events(STREAMS * 20)["events"]
        trace.send_signal(signal.SIGINT)
        found = re.search(r"(\d+)\s+(?:\d+\s+)?futex", trace.communicate()[1])
        return int(found.group(1)) / events * 100 if found else 0


def run(quick=False):
    count = 3 if quick else 5
    cpu, speed = [], []
    with Cluster(1) as cluster:
        for number in range(count):
            pair, fast = {}, {}
            for workers in (("1", "2") if number % 2 == 0 else ("2", "1")):
                with Ours(cluster, "--workers", workers) as peer:
                    pair[workers] = measure(peer, STREAMS, 1, 15, 5)["us"]
                fast[workers] = burst(cluster, workers)
            cpu.append(pair["2"] / pair["1"])
            speed.append(fast["2"] / fast["1"])
        return {"two loops": {"cpu / one loop": median(cpu), "speed / one loop": median(speed),
                              "futex calls / 100 deliveries": futexes(cluster)}}
