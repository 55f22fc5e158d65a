"""Ten thousand clients come back at once, each with a hundred events to catch up on."""
import pathlib
import re
import time

from lab import Cluster, Driver, median
from peers import Ours

STREAMS, MISSED = 10_000, 100


def queries(cluster):
    """How often the log was read for streams, by the server's own log."""
    text = pathlib.Path(cluster.folder, "data/server.log").read_text()
    return len(re.findall(r"execute <unnamed>: SELECT .*event_service\.(?:replay|bounds)\(", text))


def storm(cluster, *arguments):
    with Ours(cluster, *arguments) as peer, \
            Driver(peer.url(), STREAMS, "--dense", "--connect-rate", "100000") as driver:
        driver.wait_open()
        driver.tell("cut")
        time.sleep(1)
        for _ in range(MISSED):
            peer.send()
        time.sleep(0.5)
        driver.tell("measure")
        asked = queries(cluster)
        began = time.monotonic()
        driver.tell("connect")
        report = driver.wait_events(STREAMS * MISSED, 60)
        seconds = time.monotonic() - began
        # Whatever else would come, now that all have what they missed.
        time.sleep(1)
        report = driver.report()
        if (report["events"] != STREAMS * MISSED or report["gaps"] or report["inversions"] or report["resets"]
                or report["least"] != MISSED or report["most"] != MISSED):
            raise SystemExit(f"not everybody got what it missed, once: {report}")
        return seconds, report["refused"] + report["breaks"], queries(cluster) - asked


def run(quick=False):
    results = {}
    with Cluster(1, log_min_duration_statement=0) as cluster:
        for name, arguments in (("from memory", []), ("from the log", ["--ring-bytes", "0"])):
            found = [storm(cluster, *arguments) for _ in range(3 if quick else 5)]
            results[f"10,000 reconnects, {name}"] = {
                "seconds": median([f[0] for f in found]), "refused": max(f[1] for f in found),
                "queries": max(f[2] for f in found)}
    return results
