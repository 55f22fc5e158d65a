"""What an event for one of many costs: what it reaches, not what is connected."""
import time

from lab import Cluster, Driver, median
from peers import Ours

EVENTS = 1000


def measure(cluster, streams):
    """Processor time of one event for one user, among so many that are connected."""
    with Ours(cluster, "--workers", "1") as peer, \
            Driver(peer.url("context=c{n}"), streams) as driver:
        driver.wait_open()
        time.sleep(1)
        driver.tell("measure")
        cpu = peer.server.cpu_seconds()
        for number in range(EVENTS):
            peer.send(1, f"context:c{number % streams}")
        report = driver.wait_events(EVENTS)
        cpu = peer.server.cpu_seconds() - cpu
        if report["events"] != EVENTS or report["inversions"]:
            raise SystemExit(f"not every event came once: {report}")
        return cpu / EVENTS * 1e6


def run(quick=False):
    few, many = [], []
    with Cluster(1) as cluster:
        for _ in range(3 if quick else 5):
            few.append(measure(cluster, 100))
            many.append(measure(cluster, 10_000))
    return {"one user's event": {"us, 100 connected": median(few), "us, 10,000 connected": median(many),
                                 "ratio": median([m / f for m, f in zip(many, few)])}}
