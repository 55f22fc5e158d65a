import EventCore
import Foundation
import TestSupport
import Testing

@testable import EventService

@Suite struct `Sinks` {
    private static func publish(_ database: TestDatabase, _ numbers: Range<Int>) throws {
        try database.run(
            """
            SELECT event_service.publish('load.made', to_json(n)::jsonb, '{*}', (n % 7)::text)
            FROM generate_series(\(numbers.lowerBound), \(numbers.upperBound - 1)) n
            """)
    }

    /// Waits until the sink has a position: what is published from then on goes out.
    private static func waitUntilBegun(_ database: TestDatabase) throws {
        try eventually("it has begun") {
            try database.value("SELECT count(*)::text FROM event_service.bridge_position")
                == "1" ? true : nil
        }
    }

    /// The numbers and ids of messages, each number but for the first time that it came left out.
    private static func numbers(_ messages: [String]) -> [Int] {
        var seen: Set<Int> = []
        return messages.compactMap { message in
            let json =
                (try? JSONSerialization.jsonObject(with: Data(message.utf8))) as? [String: Any]
            return json?["data"] as? Int
        }.filter { seen.insert($0).inserted }
    }

    // MARK: Redis

    private static func redis(_ redis: RedisServer, _ sinks: String) -> String {
        "{ redis_url: \"\(redis.url)\", redis: { timeout: \"2s\", sinks: [\(sinks)] } }"
    }

    /// The JSON of all entries of a stream.
    private static func entries(_ client: RedisClient, _ stream: String) throws -> [String] {
        try client.run("XRANGE", stream, "-", "+").components(separatedBy: " json ").dropFirst()
            .map { text in
                String(text[...(text.lastIndex(of: "}") ?? text.startIndex)])
            }
    }

    @Test(.timeLimit(.minutes(1)))
    func `events are published to channels and added to streams`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let redis = try RedisServer()
            let service = try ServiceProcess(
                database: database.url,
                configuration: Self.redis(
                    redis,
                    """
                    { channel: "events:{topic}", types: ["load.*"] },
                    { stream: "events", maxlen: 1000, types: ["*"] }
                    """))
            let listener = try RedisClient(port: redis.port)
            try listener.send(["SUBSCRIBE", "events:load"])
            #expect(try listener.answer() == "[subscribe events:load 1]")
            let client = try RedisClient(port: redis.port)
            try eventually("both have begun") {
                try database.value(
                    "SELECT count(*)::text FROM event_service.bridge_position") == "2"
                    ? true : nil
            }
            try database.run(
                "SELECT event_service.publish('other.made', '0', '{*}')")
            try Self.publish(database, 1..<4)
            for number in 1..<4 {
                let message = try listener.answer()
                #expect(message.hasPrefix("[message events:load {\"id\":\""))
                #expect(message.hasSuffix("\"data\":\(number)}]"))
            }
            try eventually("the stream has all") {
                try Self.numbers(Self.entries(client, "events")) == [0, 1, 2, 3] ? true : nil
            }
            let ids = try database.ids()
            #expect(
                try client.run("XRANGE", "events", "-", "+").contains(
                    "id \(ids[0]) type other.made json"))
            try eventually("how busy each is stands on the page of metrics") {
                let page = try MetricsAnswer(service.opsPort)
                return ["sink:redis:channel:events:{topic}", "sink:redis:stream:events"].allSatisfy
                { (page["loop_busy_seconds_total{loop=\"\($0)\"}"] ?? 0) > 0 } ? true : nil
            }
            #expect(service.terminate() == 0)
        }
    }

    @Test(.timeLimit(.minutes(3)))
    func `a sink that is killed, and a Redis that is, lose nothing and keep the order`()
        async throws
    {
        try await onOwnThread {
            let database = try TestDatabase()
            let redis = try RedisServer()
            let configuration = Self.redis(
                redis, "{ stream: \"events\", maxlen: 1000000, types: [\"*\"] }")
            var service = try ServiceProcess(database: database.url, configuration: configuration)
            try Self.waitUntilBegun(database)
            let other = try ServiceProcess(database: database.url, configuration: configuration)
            for round in 0..<6 {
                try Self.publish(database, round * 1000..<round * 1000 + 1000)
                if round % 3 == 0 {
                    redis.kill()
                    usleep(50_000)
                    try redis.start()
                } else if round % 3 == 1 {
                    service.kill()
                    service = try ServiceProcess(
                        database: database.url, configuration: configuration)
                }
            }
            try eventually("all are there", within: 60) {
                let client = try RedisClient(port: redis.port)
                return try Self.numbers(Self.entries(client, "events")) == Array(0..<6000)
                    ? true : nil
            }
            #expect(try HTTPClient.get(other.port, "/readyz").status == 200)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a page that Redis takes only in part is not begun, and is sent whole once it fits`()
        async throws
    {
        try await onOwnThread {
            let database = try TestDatabase()
            let redis = try RedisServer()
            let client = try RedisClient(port: redis.port)
            let service = try ServiceProcess(
                database: database.url,
                configuration: Self.redis(
                    redis, "{ stream: \"events\", maxlen: 1000000, types: [\"*\"] }"))
            try Self.waitUntilBegun(database)
            let used = try client.run("INFO", "memory").components(separatedBy: "used_memory:")[1]
                .prefix(while: \.isNumber)
            let limit = try #require(Int(used)) + 200_000
            try client.run("CONFIG", "SET", "maxmemory", String(limit))
            try Self.publish(database, 0..<1000)
            try eventually("it is refused, again and again") {
                service.log.components(separatedBy: "OOM command not allowed").count > 2
                    ? true : nil
            }
            #expect(try client.run("XLEN", "events") == "0")
            try client.run("CONFIG", "SET", "maxmemory", "0")
            try eventually("all are there") {
                try Self.numbers(Self.entries(client, "events")) == Array(0..<1000) ? true : nil
            }
            #expect(try client.run("XLEN", "events") == "1000")
            #expect(service.terminate() == 0)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `an event that fits no template is a dead letter, and the rest goes on`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let redis = try RedisServer()
            let service = try ServiceProcess(
                database: database.url,
                configuration: Self.redis(
                    redis, "{ name: \"s\", stream: \"events:{key}\", maxlen: 10, types: [\"*\"] }"))
            try Self.waitUntilBegun(database)
            try database.run(
                """
                SELECT event_service.publish('a.b', '1', '{*}'),
                       event_service.publish('a.b', '2', '{*}', 'k')
                """)
            let client = try RedisClient(port: redis.port)
            try eventually("the good one is sent") {
                try Self.numbers(Self.entries(client, "events:k")) == [2] ? true : nil
            }
            let ids = try database.ids()
            try eventually("the other is kept") {
                try database.column(
                    "SELECT source || ' ' || reason FROM event_service.dead_letters")
                    == ["s:\(ids[0]) \"events:{key}\": a field is absent"] ? true : nil
            }
            #expect(service.terminate() == 0)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a key that is no stream makes dead letters, and the rest is sent once`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let redis = try RedisServer()
            let client = try RedisClient(port: redis.port)
            try client.run("SET", "events:3", "no stream")
            let service = try ServiceProcess(
                database: database.url,
                configuration: Self.redis(
                    redis, "{ name: \"s\", stream: \"events:{key}\", maxlen: 9, types: [\"*\"] }"))
            try Self.waitUntilBegun(database)
            try Self.publish(database, 0..<14)
            try eventually("two are kept") {
                try database.value(
                    "SELECT count(*)::text FROM event_service.dead_letters WHERE reason ~ '^WRONGTYPE'"
                ) == "2" ? true : nil
            }
            try Self.publish(database, 14..<15)
            try eventually("the next is sent") {
                try Self.numbers(Self.entries(client, "events:0")) == [0, 7, 14] ? true : nil
            }
            #expect(try client.run("XLEN", "events:0") == "3")
            #expect(service.terminate() == 0)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a second signal ends a sink that waits for its other side`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let redis = try RedisServer()
            let service = try ServiceProcess(
                database: database.url,
                configuration: Self.redis(
                    redis, "{ stream: \"events\", maxlen: 9, types: [\"*\"] }"),
                ["--drain", "50s"])
            try Self.waitUntilBegun(database)
            redis.kill()
            try Self.publish(database, 0..<10)
            try eventually("it has something to send") {
                try MetricsAnswer(service.opsPort)["node_head_position"] == 10 ? true : nil
            }
            usleep(500_000)
            let began = Date()
            service.signal(SIGTERM)
            try eventually("it drains") {
                service.log.contains("service: drains") ? true : nil
            }
            #expect(service.terminate() == 0)
            #expect(Date().timeIntervalSince(began) < 40)
        }
    }

    // MARK: Kafka

    @Test(.timeLimit(.minutes(3)))
    func `Kafka gets each event with its key and id, also over deaths of service and broker`()
        async throws
    {
        try await onOwnThread {
            let database = try TestDatabase()
            let kafka = try KafkaServer()
            try kafka.create("events.load", partitions: 3)
            let configuration = """
                { kafka_brokers: "\(kafka.brokers)",
                  kafka: { sinks: [{ topic: "events.{topic}", types: ["load.*"] }] } }
                """
            var service = try ServiceProcess(database: database.url, configuration: configuration)
            try Self.waitUntilBegun(database)
            try Self.publish(database, 0..<1000)
            service.kill()
            try Self.publish(database, 1000..<2000)
            service = try ServiceProcess(database: database.url, configuration: configuration)
            kafka.stop()
            try Self.publish(database, 2000..<3000)
            try kafka.start()
            let cursors = try eventually("all have a position") {
                let cursors = try database.ids()
                return cursors.count == 3000 ? cursors : nil
            }
            try eventually("all are sent", within: 60) {
                try database.value(
                    "SELECT position::text FROM event_service.bridge_position")
                    == cursors.last?.split(separator: "-").last.map(String.init) ? true : nil
            }
            let messages = try kafka.consumeAll("events.load")
            let ids = messages.map { ($0["headers"] as? [String: String])?["id"] ?? "" }
            #expect(Set(ids) == Set(cursors))
            for key in 0..<7 {
                let own = messages.filter { $0["key"] as? String == String(key) }
                #expect(
                    Self.numbers(own.map { $0["value"] as? String ?? "" })
                        == Array(stride(from: key, to: 3000, by: 7)))
                #expect(Set(own.map { $0["partition"] as? Int }).count == 1)
            }
            #expect(service.terminate() == 0)
        }
    }
}
