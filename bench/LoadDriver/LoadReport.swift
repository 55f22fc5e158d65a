import EventCore

/// The result of a measurement, for people or as JSON.
struct LoadReport {
    private let rows: [(name: String, title: String, value: String)]

    init(_ run: LoadRun, seconds: Double) {
        let tally = run.tally
        let latency = tally.latency
        let spread = run.spread
        rows = [
            ("seconds", "measured, s", Self.decimal(seconds)),
            ("streams", "streams open", "\(run.openStreams)"),
            ("published", "events published", "\(run.published)"),
            ("events", "events delivered", "\(tally.events)"),
            (
                "per_second", "delivered a second",
                Self.decimal(Double(tally.events) / max(seconds, 0.001))
            ),
            ("bytes", "bytes of frames", "\(tally.bytes)"),
            ("least", "least on a stream", "\(spread.least)"),
            ("most", "most on a stream", "\(spread.most)"),
            ("p50_ms", "latency p50, ms", Self.milliseconds(latency, 0.5)),
            ("p90_ms", "latency p90, ms", Self.milliseconds(latency, 0.9)),
            ("p99_ms", "latency p99, ms", Self.milliseconds(latency, 0.99)),
            ("p999_ms", "latency p99.9, ms", Self.milliseconds(latency, 0.999)),
            ("max_ms", "latency max, ms", Self.decimal(Double(latency.maximum) / 1000)),
            ("last_p50_ms", "last stream p50, ms", Self.milliseconds(run.tally.completion, 0.5)),
            ("last_p99_ms", "last stream p99, ms", Self.milliseconds(run.tally.completion, 0.99)),
            ("heartbeats", "heartbeats", "\(tally.heartbeats)"),
            ("reconnects", "reconnects", "\(tally.reconnects)"),
            ("breaks", "connections lost", "\(tally.breaks)"),
            ("resets", "resets", "\(tally.resets)"),
            ("ends", "planned ends", "\(tally.ends)"),
            ("refused", "requests refused", "\(tally.refused.values.reduce(0, +))"),
            ("inversions", "out of order or twice", "\(tally.inversions)"),
            ("gaps", "missing", "\(tally.gaps)"),
            ("last_event_at", "last event read, µs", "\(tally.lastEventAt)"),
        ]
    }

    private static func milliseconds(_ histogram: LatencyHistogram, _ share: Double) -> String {
        decimal(Double(histogram.percentile(share)) / 1000)
    }

    private static func decimal(_ value: Double) -> String {
        let thousandths = Int((value * 1000).rounded())
        var text = "\(thousandths / 1000)."
        let rest = "\(thousandths % 1000)"
        text += String(repeating: "0", count: 3 - rest.count) + rest
        return text
    }

    func print(asJSON: Bool) {
        if asJSON {
            Swift.print(
                "{" + rows.map { "\"\($0.name)\":\($0.value)" }.joined(separator: ",") + "}")
        } else {
            for row in rows where row.name != "last_event_at" {
                Swift.print(
                    row.title + String(repeating: " ", count: 24 - row.title.count) + row.value)
            }
        }
    }
}
