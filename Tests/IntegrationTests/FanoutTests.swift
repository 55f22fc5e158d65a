import EventCore
import Foundation
import TestSupport
import Testing

/// `fanout: redis`: one node sequences, the others get its batches over Redis.
@Suite struct `Fan-out through Redis` {
    private static func node(
        _ database: TestDatabase, _ redis: RedisServer
    ) throws -> ServiceProcess {
        try ServiceProcess(
            database: database.url,
            ["--fanout", "redis", "--redis-url", redis.url, "--workers", "1"])
    }

    private static func isConnected(_ node: ServiceProcess) throws -> Bool {
        try MetricsAnswer(node.opsPort)["fanout_connected"] == 1
    }

    /// The nodes, the one that sequences first.
    private static func nodes(
        _ count: Int, _ database: TestDatabase, _ redis: RedisServer
    ) throws -> [ServiceProcess] {
        var nodes: [ServiceProcess] = []
        for _ in 0..<count {
            let node = try node(database, redis)
            nodes.append(node)
            try eventually("its stream is there") { try isConnected(node) ? true : nil }
            guard nodes.count == 1 else { continue }
            try eventually("it sequences") {
                try MetricsAnswer(node.opsPort)["sequencer_pump"] == 1 ? true : nil
            }
        }
        return nodes
    }

    private static func insert(_ database: TestDatabase, _ count: Int) throws {
        for number in 0..<count {
            try database.run(
                """
                SET event_service.traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
                INSERT INTO tasks (title, user_id) VALUES ('é \(number)', 'ann')
                """)
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `the log is read by the node that sequences alone, however many there are`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let redis = try RedisServer()
            let nodes = try Self.nodes(4, database, redis)
            let streams = try nodes.map { try StreamClient($0.port) }
            for stream in streams { _ = try stream.next("stream.live") }
            func pages() throws -> [Double] {
                try nodes.map { try MetricsAnswer($0.opsPort)["listener_pages_total"] ?? 0 }
            }
            // On a machine that is busy batches may be late, and the log is read then; not each time.
            var read: [Double] = []
            for _ in 0..<3 where read.isEmpty || (read.max() ?? 0) > 3 {
                let before = try pages()
                try Self.insert(database, 300)
                let events = try streams.map { try $0.events(300) }
                let ids = try database.ids().suffix(300)
                for (node, seen) in zip(nodes, events) {
                    #expect(seen.map(\.lastEventID) == Array(ids))
                    #expect(
                        seen.map(\.data) == events[0].map(\.data), "as node \(node.port) says it")
                }
                read = zip(try pages(), before).dropFirst().map { $0 - $1 }
            }
            #expect((read.max() ?? .infinity) <= 3, "one in a hundred")
            let after = try nodes.map { try MetricsAnswer($0.opsPort) }
            for page in after.dropFirst() {
                #expect(page["fanout_batches_total{outcome=\"taken\"}"] ?? 0 > 0)
            }
            let sent = after[0]["fanout_batches_total{outcome=\"sent\"}"] ?? 0
            #expect(sent > 0)
            #expect(after[0]["fanout_batches_total{outcome=\"unsent\"}"] == 0)
        }
    }

    @Test(.timeLimit(.minutes(3)))
    func `a Redis that dies, hangs and is emptied costs no event and doubles none`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let redis = try RedisServer()
            let nodes = try Self.nodes(3, database, redis)
            let followers = nodes.map { Follower([$0.port]) }
            func write() throws {
                try database.run(
                    "INSERT INTO tasks (title) SELECT 'b' FROM generate_series(1, 20)")
            }
            for round in 0..<3 {
                for _ in 0..<10 { try write() }
                switch round {
                case 0, 1: redis.kill()
                default: redis.signal(SIGSTOP)
                }
                for _ in 0..<10 { try write() }
                if round < 2 { try redis.start() } else { redis.signal(SIGCONT) }
                for _ in 0..<5 { try write() }
                try eventually("all nodes have it again") {
                    try nodes.allSatisfy { try Self.isConnected($0) } ? true : nil
                }
                try RedisClient(port: redis.port).run("FLUSHALL")
                for _ in 0..<5 { try write() }
            }
            let count = try eventually("all is sequenced") {
                let ids = try database.ids()
                return ids.count == 3 * 30 * 20 ? ids.count : nil
            }
            for (node, follower) in zip(nodes, followers) {
                try eventually("node \(node.port) has brought all") {
                    follower.following.events.count >= count ? true : nil
                }
                try follower.stop()
                let following = follower.following
                #expect(following.faults == [])
                #expect(following.events.count == count)
                #expect(Set(following.events).count == count)
                #expect(try HTTPClient.get(node.port, "/readyz").status == 200)
            }
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `when the node that sequences dies, another one passes its batches on`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let redis = try RedisServer()
            let nodes = try Self.nodes(3, database, redis)
            let streams = try nodes.dropFirst().map { try StreamClient($0.port) }
            for stream in streams { _ = try stream.next("stream.live") }
            try Self.insert(database, 10)
            nodes[0].kill()
            try Self.insert(database, 10)
            let heir = try eventually("another one sequences") {
                try nodes.dropFirst().first {
                    try MetricsAnswer($0.opsPort)["sequencer_pump"] == 1
                }
            }
            try Self.insert(database, 50)
            let ids = try eventually("all is sequenced") {
                let ids = try database.ids()
                return ids.count == 70 ? ids : nil
            }
            for stream in streams {
                #expect(try stream.events(70).map(\.lastEventID) == ids)
            }
            let page = try MetricsAnswer(heir.opsPort)
            #expect(page["fanout_batches_total{outcome=\"sent\"}"] ?? 0 > 0)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `two logs on one Redis stay apart`() async throws {
        try await onOwnThread {
            let databases = [try TestDatabase(), try TestDatabase()]
            let redis = try RedisServer()
            let nodes = try databases.map { try Self.nodes(2, $0, redis) }
            let streams = try nodes.map { try StreamClient($0[1].port) }
            for stream in streams { _ = try stream.next("stream.live") }
            for database in databases { try Self.insert(database, 20) }
            for (database, stream) in zip(databases, streams) {
                #expect(try stream.events(20).map(\.lastEventID) == (try database.ids()))
            }
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `without a Redis to pass batches on over the service does not start`() async throws {
        try await onOwnThread {
            let run = try ToolRun(["serve", "--auth", "none", "--fanout", "redis"])
            #expect(run.status == 1)
            #expect(run.error.contains("fanout: redis needs redis_url"))
        }
    }
}
