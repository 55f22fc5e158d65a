import EventCore
import Foundation
import TestSupport
import Testing

@testable import EventService

@Suite struct `Redis channels as a source` {
    private static func configuration(_ redis: RedisServer, durable: Bool) -> String {
        """
        {
          redis_url: "\(redis.url)",
          redis: { timeout: "2s", sources: [{
            channels: ["news", "progress:*"], type: "task.progress-tick", key: "{channel}",
            audience: ["user:{/user_id}", "{/to}"], data: "/n", durable: \(durable)
          }] },
        }
        """
    }

    /// Publishes until somebody hears it, and waits for the event of it.
    private static func untilHeard(_ client: RedisClient, _ channel: String) throws {
        try eventually("somebody listens") {
            try client.run("PUBLISH", channel, #"{"user_id":"nobody","n":0}"#) != "0" ? true : nil
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `what is ephemeral reaches the streams of every node, without an id, once`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let redis = try RedisServer()
            let client = try RedisClient(port: redis.port)
            let configuration = Self.configuration(redis, durable: false)
            let services = try (0..<2).map { _ in
                try ServiceProcess(database: database.url, configuration: configuration)
            }
            let streams = try services.map { try StreamClient($0.port) }
            for stream in streams { _ = try stream.next("stream.live") }
            try eventually("both listen") {
                try client.run("PUBLISH", "news", #"{"user_id":"nobody","n":0}"#) == "2"
                    ? true : nil
            }
            #expect(
                try client.run("PUBLISH", "progress:17", #"{"user_id":"ada","n":[1.0]}"#) == "2")
            for stream in streams {
                let before = stream.lastEventID
                let event = try eventually("the tick comes") {
                    let event = try stream.events(1)[0]
                    return event.json["key"] as? String == "progress:17" ? event : nil
                }
                #expect(event.type == "task.progress-tick")
                #expect(event.data.hasSuffix(#""op":"publish","time":"# + "\"") == false)
                #expect(event.data.hasSuffix(#""data":[1.0]}"#))
                #expect(stream.lastEventID == before, "it is not replayed, so it has no id")
            }
            #expect(try database.value("SELECT count(*)::text FROM event_service.events") == "0")
            // What cannot be mapped is a dead letter all the same, on each node that heard it.
            try client.run("PUBLISH", "news", "{}")
            try eventually("the dead letters are kept") {
                try database.column("SELECT reason FROM event_service.dead_letters")
                    == Array(repeating: "audience: no label is left", count: 2) ? true : nil
            }
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `what was heard while PostgreSQL was away is taken in by who heard it`() async throws {
        try await onOwnThread {
            let cluster = try TestCluster()
            _ = try ToolRun(["migrate", "--database-url", cluster.url])
            let redis = try RedisServer()
            let client = try RedisClient(port: redis.port)
            let services = try (0..<4).map { _ in
                try ServiceProcess(
                    database: cluster.url, configuration: Self.configuration(redis, durable: true))
            }
            try Self.untilHeard(client, "news")
            // Of one that has none yet nobody would know whether it lost one.
            try eventually("the others have asked for the lock") {
                try cluster.value(
                    "SELECT (count(*) >= 3)::text FROM pg_stat_activity WHERE query ~ 'claim_bridge'"
                        + " AND pid <> pg_backend_pid()") == "true" ? true : nil
            }
            for round in 0..<2 {
                try cluster.stop("immediate")
                for number in 0..<20 {
                    #expect(
                        try client.run(
                            "PUBLISH", "news", #"{"user_id":"ada","n":\#(round * 20 + number)}"#)
                            == "1")
                }
                // So long that the nodes' next looks at PostgreSQL lie far apart.
                usleep(4_000_000)
                try cluster.start()
                try eventually("all of round \(round) are there") {
                    let events = try? cluster.value(
                        "SELECT count(*)::text FROM event_service.events WHERE audience = '{user:ada}'"
                    )
                    return events == String((round + 1) * 20) ? true : nil
                }
            }
            for service in services { #expect(service.terminate() == 0) }
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `what is durable is taken in by one node, and by another when that dies`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let redis = try RedisServer()
            let configuration = Self.configuration(redis, durable: true)
            let first = try ServiceProcess(database: database.url, configuration: configuration)
            var client = try RedisClient(port: redis.port)
            try Self.untilHeard(client, "news")
            let second = try ServiceProcess(database: database.url, configuration: configuration)
            func publish(_ numbers: Range<Int>) throws {
                for number in numbers {
                    #expect(
                        try client.run("PUBLISH", "news", #"{"user_id":"ada","n":\#(number)}"#)
                            == "1")
                }
            }
            func arrive(_ count: Int) throws {
                try eventually("\(count) are there") {
                    try database.value(
                        "SELECT count(*)::text FROM event_service.events WHERE audience = '{user:ada}'"
                    ) == String(count) ? true : nil
                }
            }
            try publish(0..<100)
            try arrive(100)
            let stream = try StreamClient(second.port, "since=earliest&context=")
            _ = stream.takeWaiting()
            first.kill()
            try eventually("the first is gone") {
                try client.run("PUBSUB", "NUMSUB", "news") == "[news 0]" ? true : nil
            }
            try Self.untilHeard(client, "news")
            try publish(100..<200)
            try arrive(200)
            redis.kill()
            try redis.start()
            client = try RedisClient(port: redis.port)
            try Self.untilHeard(client, "progress:1")
            #expect(second.log.contains("what was published meanwhile is not known"))
            try publish(200..<300)
            try arrive(300)
            #expect(second.terminate() == 0)
        }
    }
}
