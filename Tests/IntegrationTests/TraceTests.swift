import EventCore
import Foundation
import TestSupport
import Testing

@Suite struct `Trace context` {
    private static func trace(_ number: Int) -> String {
        "00-0000000000000000000000000000abc\(number)-00f067aa0ba902b7-01"
    }

    private static func header(_ number: Int) -> String { "TraceParent: \(trace(number))" }

    private static func traces(_ events: [EventStreamParser.Message]) -> [String?] {
        events.map { $0.json["traceparent"] as? String }
    }

    @Test(.timeLimit(.minutes(1)))
    func `the trace of a writer travels with its events, live and later`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let expected = [Self.trace(1), nil, Self.trace(2)]
            var service = try ServiceProcess(database: database.url)
            let live = try StreamClient(service.port)
            try database.run(
                """
                BEGIN;
                SET LOCAL event_service.traceparent = '\(Self.trace(1))';
                INSERT INTO tasks (title, context) VALUES ('a', 'x');
                COMMIT
                """)
            try database.run("UPDATE tasks SET progress = 1")
            try database.run(
                """
                BEGIN;
                SET LOCAL event_service.traceparent = '\(Self.trace(2))';
                UPDATE tasks SET context = 'y';
                COMMIT
                """)
            let sent = try live.events(3)
            #expect(
                sent.map(\.type) == ["task.created", "task.progress-updated", "task.entered"])
            #expect(Self.traces(sent) == expected)

            // From the ring, then from the log alone: the same bytes.
            let start = String(sent[0].lastEventID.split(separator: "-")[0]) + "-0"
            func again() throws -> [EventStreamParser.Message] {
                try StreamClient(service.port, "since=\(start)").events(3)
            }
            #expect(try again().map(\.data) == sent.map(\.data))
            service = try ServiceProcess(database: database.url)
            #expect(try again().map(\.data) == sent.map(\.data))
            let page = try HTTPClient.get(service.port, "/api/v1/events/history?since=\(start)")
            #expect(
                (page.json["events"] as? [[String: Any]])?.map { $0["traceparent"] as? String }
                    == expected)
            let one = try HTTPClient.get(service.port, "/api/v1/events/\(sent[2].lastEventID)")
            #expect(one.json["traceparent"] as? String == Self.trace(2))
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a publisher's header counts for the items that bring none`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let stream = try StreamClient(service.port)
            func publish(_ items: String, _ fields: String...) throws {
                #expect(try HTTPClient.publish(service.port, items, fields: fields).status == 202)
            }
            let plain = #"{"type":"a.b","audience":["*"],"data":1}"#
            let traced =
                #"{"type":"a.b","audience":["*"],"data":1,"traceparent":"\#(Self.trace(2))"}"#
            try publish("[\(plain),\(traced),\(plain)]", Self.header(1))
            try publish(plain)
            try publish("[\(traced),\(plain)]")
            // What is none, or not one, is as if it were not there.
            try publish(plain, "traceparent: 00-1-2-03")
            try publish(plain, Self.header(1), Self.header(2))
            try publish(plain, Self.header(3))
            #expect(
                Self.traces(try stream.events(9)) == [
                    Self.trace(1), Self.trace(2), Self.trace(1), nil, Self.trace(2), nil, nil, nil,
                    Self.trace(3),
                ])
        }
    }

    @Test(.timeLimit(.minutes(1)), arguments: [#""00-1-2-03""#, "7", "\"\""])
    func `an item whose own trace is none is refused`(_ value: String) async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let answer = try HTTPClient.publish(
                service.port,
                #"{"type":"a.b","audience":["*"],"data":1,"traceparent":\#(value)}"#,
                fields: [Self.header(1)])
            #expect(answer.status == 400)
            #expect((answer.json["detail"] as? String)?.hasPrefix("item 0: ") == true)
            #expect(answer.text.contains("traceparent"))
        }
    }
}
