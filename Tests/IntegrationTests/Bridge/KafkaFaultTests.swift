import EventCore
import Foundation
import TestSupport
import Testing

@testable import EventService

/// Restarts and rebalances in the middle of a stream of messages.
///
/// `EVENT_SERVICE_KAFKA_MESSAGES=100000` is the long form, of which docs/bridges.md tells.
@Suite struct `Kafka under faults` {
    private static let count =
        ProcessInfo.processInfo.environment["EVENT_SERVICE_KAFKA_MESSAGES"].flatMap { Int($0) }
        ?? 12_000

    /// Sixty tasks, each with its own rising numbers.
    private static func messages(_ range: Range<Int>) -> [(key: String, value: String)] {
        range.map { number in
            (
                "task-\(number % 60)",
                #"{"event_type":"TaskProgressUpdateEvent","task_id":\#(number % 60),"user_id":"ada","progress":\#(number)}"#
            )
        }
    }

    /// - Parameter instance: what makes a node that was restarted the same member of the group.
    private static func configuration(
        _ kafka: some KafkaBrokers, instance: String? = nil
    ) -> String {
        """
        {
          kafka_brokers: "\(kafka.brokers)",
          kafka: {
            properties: { \(instance.map { "\"group.instance.id\": \"\($0)\"," } ?? "")
                          "session.timeout.ms": 6000, "heartbeat.interval.ms": 500 },
            sources: [{
              topics: ["tasks"],
              type: { field: "/event_type", map: { TaskProgressUpdateEvent: "task.progress-updated" } },
              key: "{/task_id}", audience: ["user:{/user_id}"], data: ["/progress"],
            }],
          },
        }
        """
    }

    private static func waits(_ url: String, for count: Int) throws {
        try eventually("\(count) events are there", within: 180) { () -> Bool? in
            guard let connection = try? BlockingConnection(url: url),
                let rows = try? connection.run(
                    "test",
                    "SELECT (max(split_part(id, '-', 2)::bigint) >= $1::bigint)::text"
                        + " FROM event_service.events", [String(count)])
            else { return nil }
            guard rows != [["true"]] else { return true }
            // Each look is a connection, of which the machine has something to do too.
            usleep(50_000)
            return nil
        }
    }

    /// That each of so many messages is one event, and those of a key are in their order.
    private static func expectEach(of count: Int, _ url: String) throws {
        let rows = try BlockingConnection(url: url).run(
            "test",
            """
            SELECT count(*)::text, count(DISTINCT progress)::text, max(progress)::text,
                count(*) FILTER (WHERE progress < last)::text
            FROM (SELECT progress, max(progress) OVER (PARTITION BY key ORDER BY position) AS last
                  FROM (SELECT key, (data::jsonb->>'progress')::int AS progress,
                            split_part(id, '-', 2)::bigint AS position
                        FROM event_service.events) e) o
            """)
        #expect(rows == [[String(count), String(count), String(count - 1), "0"]])
    }

    @Test(.timeLimit(.minutes(10)))
    func `each message is one event, in order, whatever is restarted`() async throws {
        let count = Self.count
        let rate = max(count / 12, 1000)
        let cluster = try TestCluster()
        _ = try ToolRun(["migrate", "--database-url", cluster.url])
        let kafka = try KafkaServer()
        try kafka.create("tasks", partitions: 6)
        @Sendable func start(_ instance: String?) throws -> ServiceProcess {
            try ServiceProcess(
                database: cluster.url,
                configuration: Self.configuration(kafka, instance: instance))
        }
        @Sendable func waits(forPart part: Int) throws {
            try Self.waits(cluster.url, for: count * part / 8)
        }
        // So that all that happens here happens in the middle.
        async let firstHalf: Void = onOwnThread {
            try kafka.produce("tasks", rate: rate, Self.messages(0..<count / 2))
        }
        let (first, second) = try await onOwnThread {
            var first = try start("a")
            try waits(forPart: 1)
            let second = try start("b")
            try waits(forPart: 2)
            first.kill()
            first = try start("a")
            try waits(forPart: 3)
            try cluster.stop("immediate")
            try cluster.start()
            return (first, second)
        }
        try await firstHalf
        try await onOwnThread {
            // Behind a burst: the broker forgets with whom it spoke, and a writer would have to repeat.
            try kafka.produce("tasks", Self.messages(count / 2..<count * 5 / 8))
            kafka.stop()
            try first.waitForMetric(Self.connected + "0")
            try kafka.start()
            try first.waitForMetric(Self.connected + "1")
        }
        async let rest: Void = onOwnThread {
            try kafka.produce("tasks", rate: rate, Self.messages(count * 5 / 8..<count))
        }
        try await onOwnThread {
            try waits(forPart: 5)
            second.kill()
            let again = try start("b")
            // One that leaves: a member with an instance of its own is waited for instead.
            let third = try start(nil)
            try waits(forPart: 6)
            #expect(third.terminate() == 0, "\(third.log)")
            try waits(forPart: 8)
            try Self.expectEach(of: count, cluster.url)
            #expect([first, again].map { $0.terminate() } == [0, 0])
        }
        try await rest
    }

    private static let connected =
        #"event_service_bridge_connected{bridge="kafka:event-service"} "#

    @Test(.timeLimit(.minutes(2)))
    func `another takes over from a node that was killed, also while the coordinator was away`()
        async throws
    {
        try await onOwnThread {
            let database = try TestDatabase()
            let kafka = try KafkaMockCluster(brokers: 3, topic: "tasks", partitions: 6)
            try kafka.produce("tasks", Self.messages(0..<3000))
            let first = try ServiceProcess(
                database: database.url, configuration: Self.configuration(kafka))
            let second = try ServiceProcess(
                database: database.url, configuration: Self.configuration(kafka))
            try Self.waits(database.url, for: 3000)
            first.kill()
            kafka.setCoordinator(isUp: false)
            try eventually("the coordinator is missed") {
                second.log.contains("bridge: Kafka") ? true : nil
            }
            kafka.setCoordinator(isUp: true)
            try kafka.produce("tasks", Self.messages(3000..<6000))
            try Self.waits(database.url, for: 6000)
            try Self.expectEach(of: 6000, database.url)
            #expect(second.terminate() == 0)
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `partitions that are paused while they move are read on`() async throws {
        try await onOwnThread {
            let cluster = try TestCluster()
            _ = try ToolRun(["migrate", "--database-url", cluster.url])
            let kafka = try KafkaServer()
            try kafka.create("tasks", partitions: 6)
            func start(waitUntilReady: Bool = true) throws -> ServiceProcess {
                try ServiceProcess(
                    database: cluster.url, configuration: Self.configuration(kafka),
                    waitUntilReady: waitUntilReady)
            }
            let first = try start()
            try kafka.produce("tasks", Self.messages(0..<1000))
            try Self.waits(cluster.url, for: 1000)
            try cluster.stop("immediate")
            // More than a node holds, so that after a second it pauses what it reads.
            try kafka.produce("tasks", Self.messages(1000..<12_000))
            usleep(3_000_000)
            // One that joins: each partition moves, and some come back.
            let second = try start(waitUntilReady: false)
            try eventually("they move") {
                first.log.contains("no longer reads partitions") ? true : nil
            }
            try cluster.start()
            try Self.waits(cluster.url, for: 12_000)
            try Self.expectEach(of: 12_000, cluster.url)
            #expect([first, second].map { $0.terminate() } == [0, 0])
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `a member whose instance another has taken joins anew once that is gone`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let kafka = try KafkaServer()
            try kafka.create("tasks", partitions: 6)
            try kafka.produce("tasks", Self.messages(0..<1000))
            func start() throws -> ServiceProcess {
                try ServiceProcess(
                    database: database.url,
                    configuration: Self.configuration(kafka, instance: "twice"))
            }
            let first = try start()
            try Self.waits(database.url, for: 1000)
            let second = try start()
            try eventually("it is fenced") {
                first.log.contains("bridge: joins the group anew") ? true : nil
            }
            second.kill()
            try kafka.produce("tasks", Self.messages(1000..<3000))
            try Self.waits(database.url, for: 3000)
            try Self.expectEach(of: 3000, database.url)
            #expect(first.terminate() == 0)
        }
    }

    @Test(.timeLimit(.minutes(5)))
    func `a backlog is taken in at full speed`() async throws {
        try await onOwnThread {
            let count = Self.count
            let database = try TestDatabase()
            let kafka = try KafkaServer()
            try kafka.create("tasks", partitions: 6)
            try kafka.produce("tasks", Self.messages(0..<count))
            let start = ContinuousClock.now
            let service = try ServiceProcess(
                database: database.url, configuration: Self.configuration(kafka))
            try Self.waits(database.url, for: count)
            let taken = (ContinuousClock.now - start) / .seconds(1)
            print("Kafka: \(count) messages in \(taken) s, \(Int(Double(count) / taken)) a second")
            #expect(taken < Double(count) / 1000 + 20, "generously")
            try Self.expectEach(of: count, database.url)
            #expect(service.terminate() == 0)
        }
    }
}
