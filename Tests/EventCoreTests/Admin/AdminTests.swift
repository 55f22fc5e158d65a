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

    /// What is shown 1 h 2 min 5 s after the second 1000.
    private static func view(
        _ now: MetricSamples, _ before: MetricSamples, elapsed: Duration
    ) -> [String] {
        let date = Timestamp(microseconds: 4_725_000_000)
        return MetricsView(now: now, before: before, elapsed: elapsed, date: date).lines
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
            event_service_build_info{version="1.2.3"} 1
            event_service_process_start_time_seconds 1000
            event_service_streams 7
            event_service_streams_backlog_bytes 3145728
            event_service_events_delivered_total 300
            event_service_event_latency_seconds_sum{stage="written"} 1.05
            event_service_event_latency_seconds_count{stage="written"} 20
            event_service_loop_busy_seconds_total{loop="worker-0"} 2
            event_service_streams_ended_total{reason="client"} 8
            event_service_streams_ended_total{reason="slow"} 1
            """)
        let lines = Self.view(now, before, elapsed: .seconds(2)).joined(separator: "\n")
        for text in [
            "event-service  ready, sequences   version 1.2.3   up 1 h 2 min\n", "open 7",
            "unsent 3.0 MiB", "delivered 100",
            "to the sockets 5.0 ms", "to the position –", "worker-0 50 %", "ended/s 2.0",
        ] {
            #expect(lines.contains(text), "\(text)")
        }
    }

    @Test func `a service that was started anew shows no negative rate`() {
        let before = MetricSamples("event_service_events_delivered_total 1000000")
        let now = MetricSamples("event_service_events_delivered_total 5")
        let lines = Self.view(now, before, elapsed: .seconds(1))
        #expect(lines.contains { $0.contains("delivered 0.0") })
        #expect(lines[0].hasPrefix("event-service  not ready "))
    }

    @Test func `the view shows the bridges that are furthest behind`() {
        func page(_ received: Int) -> MetricSamples {
            let lines = (0..<12).map { number in
                """
                event_service_bridge_lag{bridge="kafka:\(number)"} \(number)
                event_service_bridge_received_total{bridge="kafka:\(number)"} \(received)
                event_service_bridge_dead_lettered_total{bridge="kafka:\(number)"} 3
                event_service_bridge_active{bridge="kafka:\(number)"} \(number == 9 ? 0 : 1)
                event_service_bridge_connected{bridge="kafka:\(number)"} \(number % 2)
                """
            }
            return MetricSamples(lines.joined(separator: "\n"))
        }
        let lines = Self.view(page(30), page(10), elapsed: .seconds(2)).suffix(9)
        #expect(
            Array(lines.prefix(4)) == [
                "bridges     behind 11   in/s 10.0   out/s 0.0   dead 3   connected   kafka:11",
                "            behind 10   in/s 10.0   out/s 0.0   dead 3   away   kafka:10",
                "            behind 9   in/s 10.0   out/s 0.0   dead 3   another node's   kafka:9",
                "            behind 8   in/s 10.0   out/s 0.0   dead 3   away   kafka:8",
            ])
        #expect(lines.last == "            more 4")
    }

    @Test func `of many threads the busiest are shown`() {
        func page(_ second: Int) -> MetricSamples {
            MetricSamples(
                (0..<64).map { number in
                    "event_service_loop_busy_seconds_total{loop=\"worker-\(number)\"} "
                        + (number == 50 ? "0.\(second)" : "0")
                }.joined(separator: "\n"))
        }
        let line = Self.view(page(9), page(1), elapsed: .seconds(1)).last { $0.hasPrefix("busy") }
        #expect(line?.hasPrefix("busy        worker-50 80 %   worker-") == true)
        #expect(line?.hasSuffix("   of 64") == true)
        #expect(line.map { $0.count < 160 } == true)
    }
}
