"""What a hundredth of the clients that never reads does to the others."""
import time

from lab import Cluster, Driver, median
from peers import Ours


def measure(cluster, never_read):
    """1,000 streams, 200 events of 2 kB a second for ten seconds."""
    with Ours(cluster) as peer, Driver(peer.url(), 1000, "--never-read", never_read) as driver:
        peer.PAYLOAD = "x" * 2000
        driver.wait_open()
        time.sleep(1)
        before = peer.server.kilobytes()
        driver.tell("measure")
        began = time.monotonic()
        for number in range(1000):
            peer.send(2)
            time.sleep(max(0, began + (number + 1) / 100 - time.monotonic()))
        report = driver.wait_events((1000 - 10 * never_read) * 2000, 30)
        if report["inversions"] or report["least"] != 2000:
            raise SystemExit(f"not all came, or not in order: {report}")
        return report["p99_ms"], (peer.server.kilobytes() - before) / 1024


def run(quick=False):
    ratios, without, beside, memory = [], [], [], []
    with Cluster(1) as cluster:
        for number in range(3 if quick else 5):
            pair = {}
            for share in ((0, 1) if number % 2 == 0 else (1, 0)):
                pair[share] = measure(cluster, share)
            ratios.append(pair[1][0] / pair[0][0])
            without.append(pair[0][0])
            beside.append(pair[1][0])
            memory.append(pair[1][1])
    return {"1 % never read": {"p99_ms without": median(without), "p99_ms beside": median(beside),
                               "ratio": median(ratios), "megabytes more": max(memory)}}
