"""What a run found, as text and as JSON."""

import json
import time


def percentile(values, share):
    return values[min(int(len(values) * share), len(values) - 1)] if values else None


def latencies(stage):
    """Seconds from the capture of an event to its readers, by node, over the whole run."""
    by_node = {}
    for _, node, seconds in stage.latencies:
        by_node.setdefault(node, []).append(seconds)
    result = {}
    for node, values in sorted(by_node.items()):
        values.sort()
        result[node] = {
            "count": len(values), "p50": percentile(values, 0.5), "p99": percentile(values, 0.99),
            "max": values[-1]}
    return result


def writer_counts(stage):
    counts = {}
    for writer in [*stage.writers, stage.careless, stage.latency]:
        for kind, count in writer.session.counts.items():
            counts[kind] = counts.get(kind, 0) + count
    return counts


def assemble(stage, final):
    """The report as a dictionary."""
    readers = final["readers"]
    stage.violations.merge(*final["violations"])
    monitor = stage.monitor

    def total(key):
        return sum(reader[key] for reader in readers.values())

    return {
        "seed": stage.settings.seed,
        "seconds": round(time.monotonic() - stage.began, 1),
        "events": final["audited"],
        "events expected and received": final["matched"],
        "deliveries": total("count"),
        "writers": writer_counts(stage),
        "streams": {
            "logical readers": len(readers), "connections": total("connections"),
            "cut": total("cuts"), "refused with 503": total("refusals"),
            "left for silence": total("silences"),
            "resets": sum(r["resets"] for r in readers.values()),
        },
        "latency": latencies(stage),
        "peak memory in MiB": {name: peak >> 20 for name, peak in monitor.peak.items()},
        "starts of PostgreSQL": stage.cluster.starts,
        "epochs": len(final["epochs"]),
        "notes": stage.notes,
        "errors that nodes met": dict(stage.cluster.errors().most_common()),
        "faults": {
            fault.name: {"injected": fault.injected, "effects": fault.effects,
                         "missed": fault.missed} for fault in stage.faults.values()},
        "violations": {
            kind: {"count": count, "first": stage.violations.texts[kind]}
            for kind, count in sorted(stage.violations.counts.items())},
    }


# What is promised, and the kinds of violation that would break it.
PROMISES = {
    "every committed event is delivered": [
        "committed, never delivered", "lost on a stream", "lost for everybody"],
    "no event twice, none out of order on a stream": [
        "twice or out of order", "one event, two ids", "not for this stream"],
    "one id is one event on every node": ["one id, two events", "type", "epoch"],
    "positions are dense, and the log holds what was delivered": [
        "dense positions", "log and streams"],
    "the order of each row is kept": ["order of a row", "replica differs from the table"],
    "nothing of a transaction that did not commit": [
        "delivered, never committed", "delivered before it was durable"],
    "resumes are exact": ["resume", "refused", "protocol"],
    "stream.reset only where it is planned": ["reset that nobody planned"],
    "memory is bounded": ["memory", "notification queue"],
    "no node is stuck": ["stuck"],
    "/readyz is honest": ["readyz"],
    "the run itself is sound": ["broken act", "broken writer", "exit status", "too few events"],
}


def lines(report):
    """The report as text."""
    yield f"seed {report['seed']}, {report['seconds']} s"
    yield (f"{report['events']} events in the log, {report['events expected and received']} of them"
           f" foretold by their writers, {report['deliveries']} deliveries")
    yield f"epochs {report['epochs']}, starts of PostgreSQL {report['starts of PostgreSQL']}"
    for title in ("writers", "streams", "peak memory in MiB", "notes"):
        yield f"{title}: " + ", ".join(f"{k} {v}" for k, v in report[title].items())
    for node, figures in report["latency"].items():
        yield (f"capture to {node}: p50 {figures['p50'] * 1000:.1f} ms,"
               f" p99 {figures['p99'] * 1000:.0f} ms, at most {figures['max']:.1f} s"
               f" ({figures['count']} measured, faults included)")
    yield "faults:"
    for name, fault in report["faults"].items():
        yield f"  {'ok  ' if fault['injected'] else 'FAIL'} {fault['injected']} × {name}"
        for effect in fault["effects"][:3]:
            yield f"         {effect}"
        for why in fault["missed"] if not fault["injected"] else []:
            yield f"         missed: {why}"
    yield "errors that nodes met:"
    for text, count in report["errors that nodes met"].items():
        yield f"  {count} × {text}"
    yield "promises:"
    for promise, kinds in PROMISES.items():
        broken = sum(report["violations"].get(kind, {"count": 0})["count"] for kind in kinds)
        yield f"  {'FAIL' if broken else 'ok  '} {promise}" + (f": {broken}" if broken else "")
    for kind, violation in report["violations"].items():
        yield f"{kind}: {violation['count']}"
        for text in violation["first"][:5]:
            yield f"    {text}"


def tally(report):
    """(passed, failed): one for each planned fault, one for each promise."""
    good = bad = 0
    for fault in report["faults"].values():
        good, bad = (good + 1, bad) if fault["injected"] else (good, bad + 1)
    known = set()
    for kinds in PROMISES.values():
        known.update(kinds)
        broken = any(kind in report["violations"] for kind in kinds)
        good, bad = (good, bad + 1) if broken else (good + 1, bad)
    bad += len(set(report["violations"]) - known)
    return good, bad


def write(report, folder):
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    (folder / "report.txt").write_text("\n".join(lines(report)) + "\n")
