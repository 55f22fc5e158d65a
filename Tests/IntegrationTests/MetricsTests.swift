import EventCore
import Foundation
import TestSupport
import Testing

/// A page of metrics, as Prometheus reads it.
struct MetricsAnswer {
    let samples: [String: Double]
    let names: [String]
    let text: String

    init(_ port: UInt16) throws {
        let answer = try HTTPClient.get(port, "/metrics")
        guard answer.status == 200,
            answer.fields["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        else { throw TestFailure("metrics: \(answer.status)") }
        text = answer.text
        let lines = text.split(separator: "\n")
        names = lines.filter { $0.hasPrefix("# TYPE ") }.map { String($0.split(separator: " ")[2]) }
        var samples: [String: Double] = [:]
        for line in lines where !line.hasPrefix("#") {
            guard let blank = line.lastIndex(of: " "),
                let value = Double(line[blank...].dropFirst())
            else { throw TestFailure("no sample: \(line)") }
            samples[String(line[..<blank].dropFirst("event_service_".count))] = value
        }
        self.samples = samples
    }

    subscript(name: String) -> Double? { samples[name] }
}

@Suite struct `Metrics page` {
    @Test(.timeLimit(.minutes(1)))
    func `a running service answers with the documented list, on the ops listener only`()
        async throws
    {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let documented = try Repository.text("docs/metrics.md").split(separator: "\n")
                .filter { $0.hasPrefix("| `event_service_") }
                .map { String($0.split(separator: "`")[1]) }
            let page = try MetricsAnswer(service.opsPort)
            #expect(page.names == documented)
            for line in page.text.split(separator: "\n") where !line.hasPrefix("#") {
                #expect(line.hasPrefix("event_service_"))
            }
            #expect(try HTTPClient.get(service.port, "/metrics").status == 404)
            #expect(try HTTPClient.request(service.opsPort, "POST", "/metrics").status == 405)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `what happens is counted`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            do {
                let streams = [
                    try StreamClient(service.port), try StreamClient(service.port, "context=other"),
                ]
                for stream in streams { _ = try stream.next("stream.live") }
                try database.run(
                    "INSERT INTO tasks (title, context) SELECT 'a', 'some' FROM generate_series(1, 50)"
                )
                _ = try streams[0].events(50)
                let late = try StreamClient(service.port, "since=earliest")
                _ = try late.events(50)
                let page = try MetricsAnswer(service.opsPort)
                #expect(page["streams"] == 3)
                #expect(page["connections"] == 3)
                #expect(page["streams_opened_total{resumed=\"fresh\"}"] == 3)
                #expect(page["events_captured_total"] == 50)
                #expect(page["events_sequenced_total"] == 50)
                #expect(page["events_delivered_total"] == 100)
                #expect(
                    (page["events_replayed_total{source=\"ring\"}"] ?? 0)
                        + (page["events_replayed_total{source=\"log\"}"] ?? 0) == 50)
                #expect(page["event_latency_seconds_count{stage=\"sequenced\"}"] == 50)
                #expect(page["event_latency_seconds_count{stage=\"written\"}"] == 50)
                #expect(page["log_head_position"] == 50)
                #expect(page["node_head_position"] == 50)
                #expect(page["inbox_events"] == 0)
                #expect(page["listener_connected"] == 1)
                #expect(page["sequencer_pump"] == 1)
                #expect(page["ready"] == 1)
            }
            #expect(
                try HTTPClient.get(service.port, "/api/v1/events/stream?since=x").status == 400)
            let page = try eventually("the streams are gone") {
                let page = try MetricsAnswer(service.opsPort)
                return page["streams"] == 0 ? page : nil
            }
            #expect(page["streams_ended_total{reason=\"client\"}"] == 3)
            #expect(page["events_delivered_total"] == 100)
            #expect(page["http_requests_total{route=\"stream\",status=\"400\"}"] == 1)
            #expect(page["http_refusals_total{reason=\"bad-request\"}"] == 1)
            #expect((page["process_resident_memory_bytes"] ?? 0) > 1_000_000)
            #expect((page["process_open_fds"] ?? 0) > 10)
            #expect((page["process_start_time_seconds"] ?? 0) > Date().timeIntervalSince1970 - 100)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `the page comes while PostgreSQL is away, and says so`() async throws {
        try await onOwnThread {
            let cluster = try TestCluster()
            #expect(try ToolRun(["migrate", "--database-url", cluster.url]).status == 0)
            let service = try ServiceProcess(database: cluster.url)
            #expect(try MetricsAnswer(service.opsPort)["inbox_events"] == 0)
            try cluster.stop("immediate")
            let page = try eventually("the listener has noticed") {
                let page = try MetricsAnswer(service.opsPort)
                return page["listener_connected"] == 0 ? page : nil
            }
            #expect(page["inbox_events"] == nil)
            #expect(page["ready"] == 0)
            #expect(page["sequencer_pump"] == 0)
            #expect((page["listener_losses_total"] ?? 0) >= 1)
            #expect(page["loop_answers{loop=\"database\"}"] == 1)
        }
    }
}
