/// A page of metrics as it is read back: the samples by name and labels, as they stand there.
public struct MetricSamples: Sendable {
    private var values: [Substring: Double] = [:]

    /// Reads a page; lines that are none of ours are left out.
    public init(_ page: String) {
        for line in page.split(separator: "\n") where line.hasPrefix("event_service_") {
            guard let blank = line.lastIndex(of: " "),
                let value = Double(line[blank...].dropFirst())
            else { continue }
            values[line[..<blank].dropFirst("event_service_".count)] = value
        }
    }

    /// A sample by its name without the prefix; zero if it is not there.
    public subscript(_ name: String) -> Double { values[name[...]] ?? 0 }

    /// The samples of a metric whose one label has these values.
    func byLabel(_ name: String) -> [(label: Substring, value: Double)] {
        values.filter { $0.key.hasPrefix(name + "{") }
            .map { key, value in (key.split(separator: "\"").dropFirst().first ?? "", value) }
            .sorted { $0.label < $1.label }
    }

    /// All samples of a metric together.
    func sum(_ name: String) -> Double {
        values.reduce(0) { $1.key.hasPrefix(name + "{") ? $0 + $1.value : $0 }
    }
}

/// What `event-service top` shows: one page of metrics, and what changed since the one before.
public struct MetricsView: Sendable {
    /// How many bridges and threads are shown, the most interesting ones.
    private static let mostShown = 8

    private let now: MetricSamples
    private let before: MetricSamples
    private let seconds: Double
    private let date: Timestamp

    /// Creates the view of two pages that were read one after the other, the later at `date`.
    public init(now: MetricSamples, before: MetricSamples, elapsed: Duration, date: Timestamp) {
        self.now = now
        self.before = before
        self.date = date
        seconds = max(0.001, Double(elapsed.wholeMilliseconds) / 1000)
    }

    private func rate(_ name: String) -> Double { max(0, now[name] - before[name]) / seconds }

    private func rate(of name: String) -> Double {
        max(0, now.sum(name) - before.sum(name)) / seconds
    }

    private var state: String {
        guard now["ready"] == 1 else { return "not ready" }
        guard now["sequencer_pump"] == 1 else { return "ready, follows" }
        return now["sequencer_parked"] == 1 ? "ready, sequences (parked)" : "ready, sequences"
    }

    /// The lines.
    public var lines: [String] {
        let version = now.byLabel("build_info").first?.label ?? "?"
        let up = Double(date.microseconds) / 1_000_000 - now["process_start_time_seconds"]
        return ["event-service  \(state)   version \(version)   up \(Self.age(up))", ""] + rows
            + bridges
    }

    private var rows: [String] {
        [
            row(
                "streams",
                [
                    ("open", count(now["streams"])), ("of", count(now["connections_max"])),
                    ("catching up", count(now["streams_catching_up"])),
                    ("unsent", bytes(now["streams_backlog_bytes"])),
                ]),
            row(
                "",
                [
                    ("opened/s", decimal(rate(of: "streams_opened_total"))),
                    ("ended/s", decimal(rate(of: "streams_ended_total"))),
                    ("slow", count(now["streams_ended_total{reason=\"slow\"}"])),
                ]),
            row(
                "events/s",
                [
                    ("sequenced", decimal(rate("events_sequenced_total"))),
                    ("delivered", decimal(rate("events_delivered_total"))),
                    ("replayed", decimal(rate(of: "events_replayed_total"))),
                ]),
            row(
                "latency",
                [
                    ("to the position", latency("sequenced")),
                    ("to the sockets", latency("written")),
                ]),
            row(
                "log",
                [
                    ("head", count(now["log_head_position"])),
                    ("floor", count(now["log_floor_position"])),
                    ("on disk", bytes(now["log_bytes"])), ("inbox", count(now["inbox_events"])),
                    ("node behind", count(now["node_lag_events"])),
                ]),
            row(
                "requests/s",
                [
                    ("answered", decimal(rate(of: "http_requests_total"))),
                    ("refused", decimal(rate(of: "http_refusals_total"))),
                    ("queries", decimal(rate(of: "database_queries_total"))),
                ]),
            row(
                "process",
                [
                    ("cpu", percent(rate("process_cpu_seconds_total"))),
                    ("memory", bytes(now["process_resident_memory_bytes"])),
                    ("files", count(now["process_open_fds"])),
                ]),
            row("busy", loops),
        ]
    }

    /// A line for each bridge, those that are furthest behind first.
    private var bridges: [String] {
        let all = now.byLabel("bridge_lag").sorted { $0.value > $1.value }
        let lines = all.prefix(Self.mostShown).enumerated().map { index, bridge in
            let label = "{bridge=\"\(bridge.label)\"}"
            let state =
                now["bridge_active" + label] == 0
                ? "another node's" : now["bridge_connected" + label] == 1 ? "connected" : "away"
            let cells = [
                ("behind", count(bridge.value)),
                ("in/s", decimal(rate("bridge_received_total" + label))),
                ("out/s", decimal(rate("bridge_sent_total" + label))),
                ("dead", count(now["bridge_dead_lettered_total" + label])),
            ]
            return row(index == 0 ? "bridges" : "", cells) + "   \(state)   \(bridge.label)"
        }
        guard all.count > Self.mostShown else { return lines }
        return lines + [row("", [("more", count(Double(all.count - Self.mostShown)))])]
    }

    private var loops: [(String, String)] {
        let old = Dictionary(
            before.byLabel("loop_busy_seconds_total").map { ($0.label, $0.value) },
            uniquingKeysWith: { first, _ in first })
        let shares = now.byLabel("loop_busy_seconds_total").map { label, value in
            (label: String(label), share: max(0, value - (old[label] ?? value)) / seconds)
        }
        guard shares.count > Self.mostShown else {
            return shares.map { ($0.label, percent($0.share)) }
        }
        let busiest = shares.sorted { $0.share > $1.share }.prefix(Self.mostShown)
        return busiest.map { ($0.label, percent($0.share)) }
            + [("of", count(Double(shares.count)))]
    }

    /// The mean of what came in since; with too little to say it, a dash.
    private func latency(_ stage: String) -> String {
        let label = "{stage=\"\(stage)\"}"
        let count = rate("event_latency_seconds_count" + label)
        guard count > 0 else { return "–" }
        return decimal(rate("event_latency_seconds_sum" + label) / count * 1000) + " ms"
    }

    private func row(_ title: String, _ cells: [(name: String, value: String)]) -> String {
        let text = cells.map { "\($0.name) \($0.value)" }.joined(separator: "   ")
        return title + String(repeating: " ", count: max(1, 12 - title.count)) + text
    }

    /// `3 d 4 h`, `4 h 5 min`, `5 min`, `6 s`.
    private static func age(_ seconds: Double) -> String {
        let total = Int64(max(0, seconds))
        let (days, hours, minutes) = (total / 86400, total / 3600 % 24, total / 60 % 60)
        if days > 0 { return "\(days) d \(hours) h" }
        if hours > 0 { return "\(hours) h \(minutes) min" }
        return minutes > 0 ? "\(minutes) min" : "\(total) s"
    }

    private func count(_ value: Double) -> String { String(Int64(value)) }

    private func decimal(_ value: Double) -> String {
        value >= 100 ? count(value.rounded()) : String((value * 10).rounded() / 10)
    }

    private func percent(_ share: Double) -> String { count((share * 100).rounded()) + " %" }

    private func bytes(_ value: Double) -> String {
        for (unit, size) in [("GiB", 1073741824.0), ("MiB", 1048576), ("KiB", 1024)]
        where value >= size {
            return decimal(value / size) + " " + unit
        }
        return count(value) + " B"
    }
}
