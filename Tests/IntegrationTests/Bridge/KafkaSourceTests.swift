import EventCore
import Foundation
import TestSupport
import Testing

@testable import EventService

@Suite struct `Kafka as a source` {
    private static func configuration(
        _ kafka: some KafkaBrokers, topics: String = "tasks", _ more: String = ""
    ) -> String {
        """
        {
          kafka_brokers: "\(kafka.brokers)",
          kafka: {
            properties: { "session.timeout.ms": 6000, "heartbeat.interval.ms": 500,
                          "topic.metadata.refresh.interval.ms": 1000 },
            sources: [{
              topics: ["\(topics)"],
              type: { field: "/event_type", map: { TaskProgressUpdateEvent: "task.progress-updated" },
                      otherwise: "drop" },
              key: "{/task_id}", audience: ["user:{/user_id}", "session:{/session_id}"],
              data: ["/task_id", "/progress"]\(more)
            }],
          },
        }
        """
    }

    private static func message(
        _ task: Int, _ progress: Int, type: String = "TaskProgressUpdateEvent"
    ) -> (key: String, value: String) {
        (
            "task-\(task)",
            #"{"event_type":"\#(type)","task_id":\#(task),"user_id":"ada","progress":\#(progress)}"#
        )
    }

    private static func eventCount(_ database: TestDatabase, is count: Int) throws {
        try eventually("\(count) events are there", within: 60) {
            try database.value("SELECT count(*)::text FROM event_service.events") == String(count)
                ? true : nil
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `task topics become task events, and a restart goes on behind the last`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let kafka = try KafkaServer()
            try kafka.create("tasks", partitions: 1)
            try kafka.produce(
                "tasks",
                [Self.message(1, 10), Self.message(1, 10, type: "Other"), Self.message(2, 20)])
            let configuration = Self.configuration(kafka)
            var service = try ServiceProcess(database: database.url, configuration: configuration)
            let stream = try StreamClient(service.port, "since=earliest")
            let events = try stream.events(2)
            #expect(events.map(\.type) == Array(repeating: "task.progress-updated", count: 2))
            #expect(events.map { $0.json["key"] as? String } == ["1", "2"])
            #expect(events[0].data.hasSuffix(#""data":{"task_id":1,"progress":10}}"#))
            #expect(
                try database.column("SELECT audience::text FROM event_service.events") == [
                    "{user:ada}", "{user:ada}",
                ])
            #expect(
                try database.column(
                    "SELECT regexp_replace(dedup_key, '[0-9]+$', 'T') FROM event_service.published_key"
                        + " ORDER BY 1") == ["kafka:tasks:0:0:T", "kafka:tasks:0:2:T"])
            #expect(service.terminate() == 0)
            try kafka.produce("tasks", [Self.message(3, 30)])
            // Even if its keys were forgotten: where it goes on stands beside the events.
            try database.run("DELETE FROM event_service.published_key")
            service = try ServiceProcess(database: database.url, configuration: configuration)
            try Self.eventCount(database, is: 3)
            try kafka.produce("tasks", [Self.message(3, 40)])
            try Self.eventCount(database, is: 4)
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `a topic that was made anew loses nothing`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let kafka = try KafkaServer()
            try kafka.create("tasks", partitions: 1)
            try kafka.produce("tasks", (0..<5).map { Self.message($0, 1) })
            var service = try ServiceProcess(
                database: database.url, configuration: Self.configuration(kafka))
            try Self.eventCount(database, is: 5)
            // Shorter than before, as long, longer, and so long that it ends where the last was looked for.
            for (count, total) in [(3, 8), (3, 11), (8, 19), (7, 26)] {
                #expect(service.terminate() == 0)
                try kafka.delete("tasks")
                try kafka.create("tasks", partitions: 1)
                try kafka.produce("tasks", (0..<count).map { Self.message($0, total) })
                service = try ServiceProcess(
                    database: database.url, configuration: Self.configuration(kafka))
                try Self.eventCount(database, is: total)
            }
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `what cannot be mapped is a dead letter in table and topic, and delays nothing`()
        async throws
    {
        try await onOwnThread {
            let database = try TestDatabase()
            let kafka = try KafkaServer()
            try kafka.create("tasks", partitions: 1)
            try kafka.create("tasks.dead", partitions: 1)
            let service = try ServiceProcess(
                database: database.url,
                configuration: Self.configuration(
                    kafka, ", dead_letter_topic: \"tasks.dead\""))
            let stream = try StreamClient(service.port)
            try kafka.produce("tasks", [Self.message(0, 0)])
            _ = try stream.events(1)
            let type = #""event_type":"TaskProgressUpdateEvent""#
            let poison = [
                ("{", "not JSON: no member name at byte 1"),
                ("{\(type),\"task_id\":1}", "audience: no label is left"),
                (#"{"task_id":1,"user_id":1}"#, "type: /event_type is absent"),
                (
                    "{\(type),\"user_id\":1,\"task_id\":[1]}",
                    "key: /task_id is an array; a text, number or truth value is wanted"
                ),
                (
                    "\"\(String(repeating: "x", count: 2 << 20))\"",
                    "2097154 bytes, more than 1048576"
                ),
            ]
            let start = Date()
            try kafka.produce(
                "tasks",
                poison.enumerated().flatMap { number, letter in
                    [("poison", letter.0), Self.message(1, number)]
                })
            let events = try stream.events(poison.count)
            #expect(Date().timeIntervalSince(start) < 10, "a generous second")
            #expect(
                events.map { ($0.json["data"] as? [String: Any])?["progress"] as? Int }
                    == Array(0..<poison.count))
            #expect(
                try database.column("SELECT reason FROM event_service.dead_letters ORDER BY id")
                    == poison.map(\.1))
            let copies = try kafka.consume("tasks.dead", poison.count)
            #expect(
                copies.map { ($0["headers"] as? [String: String])?["reason"] } == poison.map(\.1))
            #expect(
                copies.map { ($0["headers"] as? [String: String])?["source"] }
                    == (0..<poison.count).map { "kafka:tasks:0:\($0 * 2 + 1)" })
        }
    }

    @Test(arguments: [
        ("\"security.protocol\": \"carrier-pigeon\"", "kafka.properties.security.protocol"),
        ("\"sasl.passwort\": \"hunter2\"", "kafka.properties.sasl.passwort"),
        ("\"sasl.password\": { file: \"/none\" }", "/none: the file cannot be read"),
        ("\"group.id\": \"x\"", "kafka.properties.group.id in "),
        (
            "\"security.protocol\": \"ssl\", \"ssl.ca.location\": \"/none\"",
            "kafka.properties: ssl.ca.location"
        ),
    ])
    func `properties that librdkafka does not take stop the start`(
        properties: String, mention: String
    ) throws {
        let file = try ConfigurationText(
            """
            { kafka_brokers: "127.0.0.1:1", kafka: { properties: { \(properties) },
              sources: [{ topics: ["t"], type: "a.b", audience: ["*"] }] } }
            """)
        let run = try ToolRun([
            "serve", "--config", file.path, "--listen", "127.0.0.1:0", "--ops-listen",
            "127.0.0.1:0",
        ])
        #expect(run.status == 1)
        #expect(run.error.contains(mention) && !run.error.contains("hunter2"), "\(run.error)")
    }
}
