import EventCore
import Foundation
import TestSupport
import Testing

@testable import EventService

@Suite struct `Redis streams as a source` {
    private static func configuration(_ url: String, _ more: String = "") -> String {
        """
        {
          redis_url: "\(url)",
          redis: {
            timeout: "2s",
            sources: [{
              stream: "event-service:in", type: "{/type}", audience: ["{/audience}"],
              key: "{/key}", data: "/data"\(more)
            }],
          },
        }
        """
    }

    private static func add(_ client: RedisClient, _ json: String) throws -> String {
        try client.run("XADD", "event-service:in", "*", "json", json)
    }

    private static func message(_ number: Int) -> String {
        #"{"type":"load.made","audience":"*","key":"\#(number % 7)","data":\#(number)}"#
    }

    private static func allIsAcknowledged(_ redis: RedisServer) throws {
        try eventually("all is acknowledged") {
            let client = try RedisClient(port: redis.port)
            return try client.run("XPENDING", "event-service:in", "event-service")
                .hasPrefix("[0 ") ? true : nil
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `what is added to the stream reaches an open stream, and is acknowledged`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let redis = try RedisServer()
            let client = try RedisClient(port: redis.port)
            let early = try Self.add(
                client, #"{"type":"chat.said","audience":"*","key":"1","data":{"text":"early"}}"#)
            let service = try ServiceProcess(
                database: database.url, configuration: Self.configuration(redis.url))
            let stream = try StreamClient(service.port, "since=earliest")
            #expect(try stream.events(1)[0].json["key"] as? String == "1")
            let entry = try Self.add(
                client,
                #"{"type":"chat.said","audience":["user:a","*"],"key":"2","data":[1.50,"é"]}"#)
            let event = try stream.events(1)[0]
            #expect(event.type == "chat.said")
            #expect(event.data.hasSuffix(#""data":[1.50,"é"]}"#))
            #expect(
                try database.value(
                    "SELECT audience::text FROM event_service.events WHERE key = '2'")
                    == "{user:a,*}")
            #expect(
                try database.column("SELECT dedup_key FROM event_service.published_key ORDER BY 1")
                    == [early, entry].map { "redis:event-service:in:\($0)" })
            try Self.allIsAcknowledged(redis)
            #expect(service.terminate() == 0)
            #expect(
                service.log.contains("bridge: stopped bridge=redis:event-service:in received=2"))
            #expect(
                try client.run("XINFO", "CONSUMERS", "event-service:in", "event-service") == "[]",
                "its consumer goes with it")
        }
    }

    /// What cannot become an event, and why.
    private static let poison = [
        ("{", "not JSON: no member name at byte 1"),
        (#"{"audience":"*","key":"k","data":1}"#, "type: {/type} is absent"),
        (#"{"type":"a.b","key":"k","data":1}"#, "audience: no label is left"),
        (
            #"{"type":7,"audience":"*","key":"k","data":1}"#,
            "type: \"7\" is not an event type"
        ),
        (
            #"{"type":"a.b","audience":{"user":1},"key":"k","data":1}"#,
            "audience: /audience is an object; a text, number or truth value is wanted"
        ),
        (
            #"{"type":"a.b","audience":"*","key":"k","data":"\#(String(repeating: "x", count: 2 << 20))"}"#,
            "2097201 bytes, more than 1048576"
        ),
    ]

    @Test(.timeLimit(.minutes(1)))
    func `a message that cannot be mapped is a dead letter and delays nothing`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let redis = try RedisServer()
            let service = try ServiceProcess(
                database: database.url, configuration: Self.configuration(redis.url))
            let stream = try StreamClient(service.port)
            _ = try stream.next("stream.live")
            let client = try RedisClient(port: redis.port)
            var sources: [String] = []
            let start = Date()
            for (number, (json, _)) in Self.poison.enumerated() {
                sources.append("redis:event-service:in:\(try Self.add(client, json))")
                _ = try Self.add(client, Self.message(number))
            }
            let other = try client.run("XADD", "event-service:in", "*", "text", "{}")
            let events = try stream.events(Self.poison.count)
            #expect(Date().timeIntervalSince(start) < 5, "a generous second")
            #expect(events.map { $0.json["data"] as? Int } == (0..<Self.poison.count).map { $0 })
            try Self.allIsAcknowledged(redis)
            #expect(
                try database.column("SELECT source FROM event_service.dead_letters ORDER BY id")
                    == sources + ["redis:event-service:in:\(other)"])
            #expect(
                try database.column("SELECT reason FROM event_service.dead_letters ORDER BY id")
                    == Self.poison.map(\.1) + ["the entry has no field \"json\""])
            #expect(
                try database.column(
                    "SELECT octet_length(message)::text FROM event_service.dead_letters ORDER BY id"
                )
                    == Self.poison.map { String(min($0.0.utf8.count, 1 << 20)) } + ["7"])
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `the entries of a node that was killed are claimed by another, once`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let redis = try RedisServer()
            let client = try RedisClient(port: redis.port)
            let configuration = Self.configuration(redis.url)
            let first = try ServiceProcess(database: database.url, configuration: configuration)
            // Taken in, but not acknowledged: the first stands still when the second takes over.
            first.signal(SIGSTOP)
            for number in 0..<2000 { _ = try Self.add(client, Self.message(number)) }
            first.signal(SIGCONT)
            try eventually("the first is at work") {
                try database.value("SELECT count(*)::text FROM event_service.published_key") != "0"
                    ? true : nil
            }
            first.kill()
            let second = try ServiceProcess(database: database.url, configuration: configuration)
            try Self.allIsAcknowledged(redis)
            try eventually("all are there") {
                try database.value("SELECT count(*)::text FROM event_service.events") == "2000"
                    ? true : nil
            }
            #expect(
                try database.value(
                    "SELECT count(DISTINCT data::text)::text FROM event_service.events")
                    == "2000")
            #expect(try HTTPClient.get(second.port, "/readyz").status == 200)
        }
    }

    /// A writer that adds one entry after the other, each until the server has it on its disk.
    private static func write(_ count: Int, to port: UInt16) throws {
        var client: RedisClient?
        for number in 0..<count {
            // Whether an entry whose answer was lost is there, only reading tells: it may be there
            // twice. A number of its own as the deduplication key makes it one.
            try eventually("entry \(number) is there", within: 60) {
                do {
                    if client == nil { client = try RedisClient(port: port) }
                    return try client?.run("XADD", "event-service:in", "*", "json", message(number))
                } catch {
                    client = nil
                    return nil
                }
            }
        }
    }

    @Test(.timeLimit(.minutes(4)))
    func `ten deaths of Redis and one of PostgreSQL under load lose and double nothing`()
        async throws
    {
        let count = 6000
        let cluster = try TestCluster()
        _ = try ToolRun(["migrate", "--database-url", cluster.url])
        let redis = try RedisServer()
        let service = try ServiceProcess(
            database: cluster.url,
            configuration: Self.configuration(redis.url, ", dedup_key: \"{/data}\""))
        async let writer: Void = onOwnThread { try Self.write(count, to: redis.port) }
        try await onOwnThread {
            for death in 1...10 {
                usleep(300_000)
                redis.kill()
                if death == 10 {
                    try cluster.stop("immediate")
                    try cluster.start()
                } else {
                    #expect(try HTTPClient.get(service.port, "/readyz").status == 200)
                }
                usleep(100_000)
                try redis.start()
            }
        }
        try await writer
        try await onOwnThread {
            try Self.allIsAcknowledged(redis)
            try eventually("all are there") {
                try Self.column(
                    cluster, "SELECT count(*)::text FROM event_service.events")
                    == [String(count)] ? true : nil
            }
            #expect(
                try Self.column(
                    cluster,
                    """
                    SELECT key FROM (SELECT key, data::text::int < max(data::text::int) OVER \
                    (PARTITION BY key ORDER BY split_part(id, '-', 2)::bigint) AS is_behind \
                    FROM event_service.events) e WHERE is_behind
                    """) == [], "the order of a key is kept")
            #expect(
                try Self.column(cluster, "SELECT reason FROM event_service.dead_letters") == [])
            try eventually("it is ready, which its probe says after the events are there") {
                try HTTPClient.get(service.port, "/readyz").status == 200 ? true : nil
            }
            #expect(try service.kilobytes("VmHWM") < 200_000)
            #expect(service.terminate() == 0)
        }
    }

    private static func column(_ cluster: TestCluster, _ sql: String) throws -> [String] {
        try BlockingConnection(url: cluster.url).run("test", sql).map { $0[0] ?? "" }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a user of an ACL logs in, and a wrong password is said and tried again`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let redis = try RedisServer()
            let client = try RedisClient(port: redis.port)
            try client.run("SELECT", "3")
            let service = try ServiceProcess(
                database: database.url,
                configuration: Self.configuration(
                    "redis://bridge:s%65cret@127.0.0.1:\(redis.port)/3"))
            try eventually("the log says so") {
                service.log.contains("bridge: Redis lost") ? true : nil
            }
            #expect(service.log.contains("AUTH: WRONGPASS"))
            #expect(!service.log.contains("s%65cret") && !service.log.contains("secret"))
            try client.run(
                "ACL", "SETUSER", "bridge", "on", ">secret", "~event-service:*", "+auth",
                "+select", "+xgroup", "+xreadgroup", "+xack", "+xautoclaim")
            _ = try Self.add(client, Self.message(1))
            let stream = try StreamClient(service.port, "since=earliest")
            #expect(try stream.events(1)[0].json["data"] as? Int == 1)
        }
    }

    @Test(arguments: ["serve", "doctor"])
    func `a mapping is tried on samples without any server`(command: String) throws {
        let file = try ConfigurationText(Self.configuration("redis://127.0.0.1:1"))
        let samples = try ConfigurationText(Self.message(1) + "\n\n" + Self.message(2) + "\n")
        func run() throws -> ToolRun {
            try ToolRun([command, "--config", file.path, "--check-mapping", samples.path])
        }
        let clean = try run()
        #expect(clean.status == 0 && clean.error.isEmpty)
        #expect(
            clean.output.split(separator: "\n").last == """
                {"source":"redis:event-service:in","line":3,"event":{"type":"load.made",\
                "audience":["*"],"key":"2","dedup_key":"redis:event-service:in:0-3","data":2}}
                """)
        try "nonsense".write(toFile: samples.path, atomically: true, encoding: .utf8)
        let bad = try run()
        #expect(bad.status == 1)
        #expect(bad.output.contains(#""dead_letter":"not JSON: "#))
    }
}
