"""What it costs to push one event to many."""
import time

from lab import Cluster, Driver, median, ratio
from peers import Bare, Nchan, Ours, PgSse


def measure(peer, streams, events, batches, rate, dense=True, arguments=()):
    """Opens streams, sends `batches` times so many events, and returns CPU a stream opened, CPU a delivery and
    latencies, read before the streams are closed: closing ten thousand sockets costs too."""
    arguments = [*arguments, "--dense"] if dense else arguments
    closed = peer.server.cpu_seconds()
    with Driver(peer.url(), streams, *arguments) as driver:
        driver.wait_open()
        time.sleep(1)
        driver.tell("measure")
        # Its answer says that it counts.
        driver.report()
        cpu = peer.server.cpu_seconds()
        open_us = (cpu - closed) / streams * 1e6
        began = time.monotonic()
        for number in range(batches):
            peer.send(events)
            time.sleep(max(0, began + (number + 1) / rate - time.monotonic()))
        report = driver.wait_events(streams * batches * events, 60)
        cpu = peer.server.cpu_seconds() - cpu
        if report["events"] != streams * batches * events or report["inversions"] or report["gaps"]:
            raise SystemExit(f"{type(peer).__name__}: not all came, or not in order: {report}")
        return {"us": cpu / report["events"] * 1e6, "p50_ms": report["p50_ms"], "p99_ms": report["p99_ms"],
                "open_us": open_us, "last_p50_ms": report["last_p50_ms"], "kilobytes": peer.server.kilobytes(),
                "frame_bytes": report["bytes"] / report["events"]}


def interleaved(count, makers, body):
    results = {name: [] for name in makers}
    for number in range(count):
        for name in makers if number % 2 == 0 else list(reversed(makers)):
            with makers[name]() as peer:
                results[name].append(body(peer))
    return results


def figures(results, name, *bases):
    row = {key: median([r[key] for r in results[name]]) for key in results[name][0]}
    for base in bases:
        for key in ("us", "last_p50_ms"):
            values = {n: [r[key] for r in results[n]] for n in (name, base)}
            row[f"{key} / {base}"] = ratio(values, name, base)
    return row


def run(quick=False):
    count = 3 if quick else 5
    results = {}
    with Cluster(1) as cluster:
        ours = {"ours": lambda: Ours(cluster, "--workers", "1"), "bare": Bare, "nchan": Nchan}
        wide = interleaved(count, ours, lambda p: measure(p, 10_000, 1, 15, 5, not isinstance(p, Nchan)))
        results["10,000 streams, 5 events/s: ours"] = figures(wide, "ours", "bare", "nchan")
        results["10,000 streams, 5 events/s: bare"] = figures(wide, "bare")
        results["10,000 streams, 5 events/s: nchan"] = figures(wide, "nchan", "bare")
        python = interleaved(1, {"pg-sse": lambda: PgSse(cluster)}, lambda p: measure(p, 1000, 1, 10, 2, False))
        results["1,000 streams, 2 events/s: pg-sse"] = figures(python, "pg-sse")
        # 10 ms apart: 20 events each, as they come out of as many transactions.
        del ours["nchan"]
        dense = interleaved(count, ours, lambda p: measure(p, 100, 20, 400, 100))
        results["100 streams, 2,000 events/s: ours"] = figures(dense, "ours", "bare")
        results["100 streams, 2,000 events/s: bare"] = figures(dense, "bare")
    return results
