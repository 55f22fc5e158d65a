import EventCore
import Foundation
import TestSupport
import Testing

@testable import EventService

/// Sinks while the history of the log changes under them.
@Suite struct `Sinks over epochs` {
    /// What a sink has added to a stream of Redis, in that order: the id of each event and its number.
    private static func entries(_ redis: RedisServer) throws -> [(id: String, number: Int)] {
        let client = try RedisClient(port: redis.port)
        // [ENTRY [id ID type TYPE json JSON]] …
        return try client.run("XRANGE", "events", "-", "+").components(separatedBy: "[id ")
            .dropFirst().map { text in
                let id = String(text.prefix { $0 != " " })
                let data = text.components(separatedBy: "\"data\":").last ?? ""
                return (id, try #require(Int(data.prefix { $0.isNumber })))
            }
    }

    /// Entries without those that came again, each where it came first.
    private static func once(
        _ entries: [(id: String, number: Int)]
    ) -> [(id: String, number: Int)] {
        var seen: Set<String> = []
        return entries.filter { seen.insert($0.id).inserted }
    }

    private static func publish(
        _ database: some DatabaseClient, _ numbers: ClosedRange<Int>
    ) throws {
        try database.run(
            """
            SELECT event_service.publish('load.made', to_json(n)::jsonb, '{*}')
            FROM generate_series(\(numbers.lowerBound), \(numbers.upperBound)) n
            """)
    }

    private static func configuration(_ redis: RedisServer) -> String {
        """
        { redis_url: "\(redis.url)",
          redis: { timeout: "2s",
                   sinks: [{ name: "s", stream: "events", maxlen: 1000000, types: ["load.*"] }] } }
        """
    }

    private static func waits(
        _ redis: RedisServer, for number: Int, _ location: SourceLocation = #_sourceLocation
    ) throws {
        try eventually("\(number) is sent") {
            try entries(redis).contains { $0.number == number } ? true : nil
        }
    }

    private static func hasBegun(_ database: some DatabaseClient) throws {
        try eventually("the sink has begun") {
            try database.value("SELECT count(*) FROM event_service.bridge_position") == "1"
                ? true : nil
        }
    }

    /// That all of the log is there under its ids, in its order, and that no id stands for two events.
    private static func expectAll(
        of database: some DatabaseClient, in redis: RedisServer, numbers: [Int],
        _ location: SourceLocation = #_sourceLocation
    ) throws {
        let entries = try entries(redis)
        let ids = try database.ids()
        let sent = once(entries).filter { ids.contains($0.id) }
        #expect(sent.map(\.id) == ids, sourceLocation: location)
        #expect(sent.map(\.number) == numbers, sourceLocation: location)
        let meanings = Dictionary(grouping: entries, by: \.id).mapValues { Set($0.map(\.number)) }
        #expect(meanings.values.allSatisfy { $0.count == 1 }, sourceLocation: location)
    }

    @Test(.timeLimit(.minutes(2)))
    func `a restart opens an epoch, and the sink goes on behind what it has sent`() async throws {
        try await onOwnThread {
            let cluster = try TestCluster()
            try cluster.migrate()
            let redis = try RedisServer()
            let service = try ServiceProcess(
                database: cluster.url, configuration: Self.configuration(redis))
            try Self.hasBegun(cluster)
            try Self.publish(cluster, 1...50)
            try Self.waits(redis, for: 50)
            try cluster.stop("immediate")
            try cluster.start()
            try Self.publish(cluster, 51...60)
            try Self.waits(redis, for: 60)
            try Self.expectAll(of: cluster, in: redis, numbers: Array(1...60))
            let epochs = try cluster.ids().map { Cursor($0)?.epoch }
            #expect(Set(epochs[..<50]).count == 1)
            #expect(Set(epochs[50...]).count == 1)
            #expect(epochs[49] != epochs[50])
            #expect(service.terminate() == 0)
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `a standby that lags is promoted: all that it has is sent, under its ids`() async throws {
        try await onOwnThread {
            let primary = try TestCluster()
            try primary.migrate()
            let standby = try TestCluster(.standby(of: primary))
            let redis = try RedisServer()
            let url = TestCluster.url(of: primary, standby)
            let service = try ServiceProcess(
                database: url, configuration: Self.configuration(redis))
            try Self.hasBegun(primary)
            try Self.publish(primary, 1...50)
            try Self.waits(redis, for: 50)

            // Copied, but neither sequenced nor sent there.
            let holder = try primary.connect()
            try holder.run("hold", "SELECT pg_advisory_lock(1163284052, 2)")
            try Self.publish(primary, 51...60)
            try primary.waitForReplay(by: standby)
            try standby.cutReplication()
            try holder.run("let go", "SELECT pg_advisory_unlock(1163284052, 2)")
            try Self.publish(primary, 1001...1020)
            try Self.waits(redis, for: 1020)
            let void = try Array(primary.ids().suffix(30))

            try primary.stop("immediate")
            try standby.promote()
            try eventually("the node is ready") {
                try HTTPClient.get(service.port, "/readyz").status == 200 ? true : nil
            }
            try Self.publish(standby, 61...100)
            try Self.waits(redis, for: 100)
            try Self.expectAll(of: standby, in: redis, numbers: Array(1...100))
            #expect(try Set(void).isDisjoint(with: standby.ids()))
            #expect(service.terminate() == 0)
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `a log that is replaced under a sink, and longer at once, is sent from where it forked`()
        async throws
    {
        try await onOwnThread {
            let database = try TestDatabase()
            let redis = try RedisServer()
            let service = try ServiceProcess(
                database: database.url, configuration: Self.configuration(redis))
            try Self.hasBegun(database)
            try Self.publish(database, 1...20)
            try Self.waits(redis, for: 20)
            try eventually("its position is noted") {
                try database.value("SELECT position FROM event_service.bridge_position") == "20"
                    ? true : nil
            }
            let file = FileManager.default.temporaryDirectory.path + "/\(UUID()).sql"
            defer { try? FileManager.default.removeItem(atPath: file) }
            try Tool.run("pg_dump", ["-f", file, database.url])
            try Self.publish(database, 1001...1030)
            try Self.waits(redis, for: 1030)
            let void = try Array(database.ids().suffix(30))
            // The positions that the sink has sent are others' as soon as it looks again.
            let more = """
                SELECT count(*) FROM event_service.attach();
                SELECT event_service.publish('load.made', to_json(n)::jsonb, '{*}')
                FROM generate_series(21, 80) n
                """
            try Tool.run(
                "psql",
                [
                    "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-c",
                    "SET client_min_messages = warning; DROP SCHEMA event_service CASCADE; DROP TABLE tasks",
                    "-f", file, "-c", more, database.url,
                ])
            try Self.waits(redis, for: 80)
            try Self.expectAll(of: database, in: redis, numbers: Array(1...80))
            #expect(try Set(void).isDisjoint(with: database.ids()))
            #expect(service.terminate() == 0)
        }
    }
}
