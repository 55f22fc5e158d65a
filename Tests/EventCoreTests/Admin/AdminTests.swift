import EventCore
import Testing

@Suite struct Administration {
    private static func selection(_ query: String) throws -> StreamSelection {
        try StreamSelection(query: try #require(QueryString(query)))
    }

    @Test(arguments: ["", "usr=ann", "user=ann&user=bob", "id=1&id=2"])
    func `a selection that does not say which is refused`(query: String) {
        #expect(throws: Problem.self) { try Self.selection(query) }
    }

    @Test(arguments: [
        ("id=c1", true), ("id=c2", false), ("user=ann", true), ("user=Ann", false),
        ("user=ann&session=s1", true), ("user=ann&session=s2", false), ("session=s1", true),
        ("id=c1&user=bob", false), ("user=", false), ("session=", false),
    ])
    func `a stream is meant when it meets all that is said`(query: String, isMeant: Bool) throws {
        let identity = TokenIdentity(user: "ann", session: "s1")
        #expect(try Self.selection(query).contains(id: "c1", identity: identity) == isMeant)
        let isByID = query == "id=c1"
        #expect(try Self.selection(query).contains(id: "c1", identity: nil) == isByID)
    }

    @Test func `a user's name is compared byte for byte`() throws {
        let composed = TokenIdentity(user: "\u{E9}")
        #expect(!(try Self.selection("user=e%CC%81").contains(id: "c", identity: composed)))
        #expect(try Self.selection("user=%C3%A9").contains(id: "c", identity: composed))
    }

    @Test func `streams are shown as JSON, the oldest first`() {
        func stream(_ id: String, _ second: Int64, _ identity: TokenIdentity?) -> OpenStream {
            OpenStream(
                id: id, identity: identity, address: "::1",
                since: Timestamp(microseconds: second * 1_000_000),
                cursor: Cursor(epoch: 5, position: 9), unsentBytes: 3)
        }
        let json = OpenStream.json(of: [
            stream("b", 2, TokenIdentity(user: "a\"b")), stream("a", 1, nil),
        ])
        #expect(
            String(decoding: json, as: UTF8.self) == """
                {"connections":[{"id":"a","user":null,"session":null,"address":"::1",\
                "since":"1970-01-01T00:00:01.000000Z","cursor":"5-9","unsent_bytes":3},\
                {"id":"b","user":"a\\"b","session":null,"address":"::1",\
                "since":"1970-01-01T00:00:02.000000Z","cursor":"5-9","unsent_bytes":3}]}
                """)
    }

    @Test func `the view tells rates from two pages`() {
        let before = MetricSamples(
            """
            # HELP event_service_streams Streams that are open.
            event_service_events_delivered_total 100
            event_service_event_latency_seconds_sum{stage="written"} 1
            event_service_event_latency_seconds_count{stage="written"} 10
            event_service_loop_busy_seconds_total{loop="worker-0"} 1
            event_service_streams_ended_total{reason="client"} 5
            nonsense
            """)
        let now = MetricSamples(
            """
            event_service_ready 1
            event_service_sequencer_pump 1
            event_service_streams 7
            event_service_streams_backlog_bytes 3145728
            event_service_events_delivered_total 300
            event_service_event_latency_seconds_sum{stage="written"} 1.05
            event_service_event_latency_seconds_count{stage="written"} 20
            event_service_loop_busy_seconds_total{loop="worker-0"} 2
            event_service_streams_ended_total{reason="client"} 8
            event_service_streams_ended_total{reason="slow"} 1
            """)
        let lines = MetricsView(now: now, before: before, elapsed: .seconds(2)).lines
            .joined(separator: "\n")
        for text in [
            "event-service  ready, sequences\n", "open 7", "unsent 3.0 MiB", "delivered 100",
            "to the sockets 5.0 ms", "to the position –", "worker-0 50 %", "ended/s 2.0",
        ] {
            #expect(lines.contains(text), "\(text)")
        }
    }

    @Test func `a service that was started anew shows no negative rate`() {
        let before = MetricSamples("event_service_events_delivered_total 1000000")
        let now = MetricSamples("event_service_events_delivered_total 5")
        let lines = MetricsView(now: now, before: before, elapsed: .seconds(1)).lines
        #expect(lines.contains { $0.contains("delivered 0.0") })
        #expect(lines[0] == "event-service  not ready")
    }
}
