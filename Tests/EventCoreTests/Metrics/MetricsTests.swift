import EventCore
import Foundation
import TestSupport
import Testing

@Suite struct Metrics {
    private static func text(_ page: MetricsPage) -> String {
        String(decoding: page.bytes, as: UTF8.self)
    }

    /// A report in which every metric has something to say.
    private static var report: ServiceReport {
        var counts = StreamCounts()
        counts.opened = [.fresh: 3, .gap: 1]
        counts.ended = [.client: 2, .planned(.slow): 1]
        counts.deliveredToEnded = 40
        counts.replayed = [.ring: 7]
        counts.written.record(.milliseconds(3))
        var streams = StreamGauges()
        streams.open = 2
        streams.delivered = 5
        streams.catchingUp = 1
        streams.lowestPosition = 90
        var requests = RequestCounts()
        requests.answer("stream", 200)
        requests.answer("stream", 503)
        requests.refuse(.badRequest("The query makes no sense."))
        let worker = WorkerReport(
            loop: LoopReport(name: "worker-0", busy: .milliseconds(1500)), counts: counts,
            streams: streams, requests: requests, ringBytes: 100, unready: [])
        var other = worker
        other.loop.name = "worker-1"
        other.streams.lowestPosition = 80
        var queries = QueryCounts()
        queries.record("publish", isAnswered: false, took: .milliseconds(2))
        var listener = ListenerReport()
        listener.head = 100
        let log = LogReport(
            captured: 110, inboxEvents: 4, inboxAge: .milliseconds(20), head: 104, floor: 1,
            bytes: 8192)
        return ServiceReport(
            workers: [worker, other],
            database: DatabaseReport(
                loop: LoopReport(name: "database", busy: .zero), listener: listener,
                queries: queries, connections: 1, waiting: 0, keptPages: 3, log: log),
            silent: ["worker-1"], connections: ConnectionReport(open: 2, maximum: 9, dropped: 1),
            refusals: [.authentication(.expired): 5, .access(.maxConnections): 6],
            bridges: [
                BridgeReport(name: "redis:in", counts: [.lag: 4, .connected: 1], busy: .seconds(2))
            ],
            process: ProcessReport(), version: "1.2.3")
    }

    @Test func `workers are added up, and each loop is told apart`() {
        let text = Self.text(Self.report.page)
        for line in [
            "event_service_streams 4", "event_service_streams_lowest_position 80",
            "event_service_streams_opened_total{resumed=\"fresh\"} 6",
            "event_service_streams_ended_total{reason=\"slow\"} 2",
            "event_service_events_delivered_total 90",
            "event_service_http_requests_total{route=\"stream\",status=\"503\"} 2",
            "event_service_http_refusals_total{reason=\"bad-request\"} 2",
            "event_service_authentication_failures_total{reason=\"expired\"} 5",
            "event_service_access_refusals_total{cause=\"max_connections\"} 6",
            "event_service_event_latency_seconds_bucket{stage=\"written\",le=\"0.002\"} 0",
            "event_service_event_latency_seconds_bucket{stage=\"written\",le=\"0.005\"} 2",
            "event_service_event_latency_seconds_sum{stage=\"written\"} 0.006",
            "event_service_node_lag_events 4", "event_service_inbox_oldest_seconds 0.02",
            "event_service_database_queries_total{operation=\"publish\",outcome=\"failed\"} 1",
            "event_service_loop_busy_seconds_total{loop=\"worker-0\"} 1.5",
            "event_service_loop_busy_seconds_total{loop=\"redis:in\"} 2",
            "event_service_loop_answers{loop=\"worker-0\"} 1",
            "event_service_loop_answers{loop=\"worker-1\"} 0",
            "event_service_build_info{version=\"1.2.3\"} 1",
        ] {
            #expect(text.contains("\n\(line)\n"), "\(line)")
        }
    }

    @Test func `what the database did not say is left out, not said to be zero`() {
        var report = Self.report
        report.database?.log = nil
        let text = Self.text(report.page)
        for name in [
            "inbox_events", "inbox_oldest_seconds", "log_head_position", "node_lag_events",
        ] {
            #expect(text.contains("# TYPE event_service_\(name) gauge\n"))
            #expect(!text.contains("\nevent_service_\(name) "))
        }
        #expect(text.contains("\nevent_service_node_head_position 100\n"))
    }

    @Test func `the page holds what the list of metrics says, in its order`() {
        let names = Self.text(Self.report.page).split(separator: "\n").filter {
            $0.hasPrefix("# TYPE ")
        }.map { String($0.split(separator: " ")[2]) }
        #expect(names == ServiceReport.metrics.map(\.name))
        #expect(Set(names).count == names.count)
    }

    @Test func `labels are escaped as the format wants it`() {
        var report = Self.report
        report.version = "a\"b\\c\nd"
        #expect(
            Self.text(report.page).contains(
                #"event_service_build_info{version="a\"b\\c\nd"} 1"#))
    }

    @Test(
        arguments: [
            (0, 0), (1_000_000, 0), (1_000_001, 1), (60_000_000_000, 14), (60_000_000_001, 15),
            (-5_000_000_000, 0),
        ] as [(Int64, Int)])
    func `an observation counts in the first bucket whose bound it does not pass`(
        nanoseconds: Int64, bucket: Int
    ) {
        var histogram = LatencyHistogram()
        histogram.record(.nanoseconds(nanoseconds))
        #expect(histogram.counts.firstIndex(of: 1) == bucket)
        #expect(histogram.count == 1)
        #expect(histogram.sum == .nanoseconds(max(0, nanoseconds)))
    }

    @Test func `the documented list is what is served, both ways`() throws {
        try GeneratedSection(path: "docs/metrics.md", name: "metrics").check(Self.tables)
    }

    private static var tables: String {
        ServiceReport.groups.map { group in
            let rows = group.metrics.map {
                "| `\($0.name)` | \($0.kind.rawValue) | \($0.labels.map { "`\($0)`" }.joined(separator: ", "))"
                    + " | \($0.help) |\n"
            }
            return "\n## \(group.title)\n\n| metric | kind | labels | what it says |\n"
                + "| --- | --- | --- | --- |\n" + rows.joined()
        }.joined() + "\n"
    }
}
