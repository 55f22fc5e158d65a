import Foundation
import TestSupport
import Testing

@testable import EventService

/// The connections that a node keeps, and what becomes of them when the other side says nothing more.
@Suite struct `Connections` {
    private static func bridges(_ redis: RedisServer, _ more: String = "") -> String {
        """
        { redis_url: "\(redis.url)",
          redis: {
            timeout: "2s",
            sources: [
              { stream: "in", type: "load.made", audience: ["*"] },
              { channels: ["talk"], type: "talk.heard", audience: ["*"] },
              { channels: ["tick"], type: "tick.heard", audience: ["*"], durable: false },
            ],
            sinks: [{ name: "out", stream: "out", maxlen: 100000, types: ["load.*"] },
                    { channel: "heard", types: ["load.*"] }],
          }\(more) }
        """
    }

    private static func metric(_ service: ServiceProcess, _ name: String) throws -> Int {
        let line = try HTTPClient.get(service.opsPort, "/metrics").text.split(separator: "\n")
            .first { $0.hasPrefix(name + " ") }
        return try #require(line?.split(separator: " ").last.flatMap { Int($0) })
    }

    /// docs/bridges.md gives the sums by which an operator sizes `max_connections`.
    @Test(.timeLimit(.minutes(1)))
    func `a node keeps as many connections as the docs say`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let redis = try RedisServer()
            let service = try ServiceProcess(
                database: database.url, configuration: Self.bridges(redis, ", fanout: \"redis\""),
                ["--database-pool-size", "2"])
            for _ in 0..<8 {
                let answer = try HTTPClient.get(
                    service.port, "/api/v1/events/history?since=2020-01-01T00:00:00Z")
                #expect(answer.status == 200)
            }
            let sessions = """
                SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'event-service'
                    AND pid <> pg_backend_pid()
                """
            try eventually("the listener, five bridges and the pool have a session each") {
                let pool = try Self.metric(service, "event_service_database_connections")
                #expect(pool <= 2)
                return try database.value(sessions) == String(1 + 5 + pool) ? true : nil
            }
            let client = try RedisClient(port: redis.port)
            try eventually("five bridges and the fan-out have a connection each, that two") {
                let list = try client.run("CLIENT", "LIST")
                return list.components(separatedBy: "name=event-service").count - 1 == 5 + 2
                    ? true : nil
            }
            #expect(service.terminate() == 0)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `who waits too long for a connection gets 503, and none waits for those before`()
        async throws
    {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(
                database: database.url, ["--database-pool-size", "1"])
            @Sendable func publish(_ key: String) throws -> HTTPAnswer {
                try HTTPClient.publish(
                    service.port,
                    #"{"type":"a.b","audience":["*"],"data":1,"dedup_key":"\#(key)"}"#)
            }
            #expect(try publish("before").status == 202)
            let locker = try database.connect()
            try locker.runScript(
                "lock", "BEGIN; LOCK TABLE event_service.published_key IN ACCESS EXCLUSIVE MODE")
            let start = ContinuousClock.now
            let waiters = (0..<4).map { number in
                WriterThread {
                    let answer = try publish("waits \(number)")
                    #expect(answer.status == 503)
                    #expect(answer.fields["retry-after"] != nil)
                }
            }
            for waiter in waiters { try waiter.join() }
            // One after the other they would take four times the limit of a query.
            #expect(ContinuousClock.now - start < .seconds(25))
            try locker.runScript("let go", "ROLLBACK")
            try eventually("the next is served") {
                try publish("after").status == 202 ? true : nil
            }
            #expect(service.terminate() == 0)
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `a PostgreSQL that hangs is noticed by pool and bridges, and all goes on behind it`()
        async throws
    {
        try await onOwnThread {
            let cluster = try TestCluster()
            try cluster.migrate()
            let redis = try RedisServer()
            let client = try RedisClient(port: redis.port)
            let service = try ServiceProcess(
                database: cluster.url, configuration: Self.bridges(redis))
            func outputs(_ count: Int) throws {
                try eventually("\(count) have gone through", within: 90) {
                    try client.run("XLEN", "out") == String(count) ? true : nil
                }
            }
            _ = try client.run("XADD", "in", "*", "json", "1")
            try outputs(1)
            try cluster.freezeAll()
            defer { try? cluster.killFrozen() }
            _ = try client.run("XADD", "in", "*", "json", "2")
            try eventually("the node is not ready", within: 40) {
                try HTTPClient.get(service.port, "/readyz").status == 503 ? true : nil
            }
            let refused = try HTTPClient.get(
                service.port, "/api/v1/events/history?since=2020-01-01T00:00:00Z")
            #expect(refused.status == 503 && refused.fields["retry-after"] != nil)
            // Also those that have nothing to do: each bridge asks its session whether it is there.
            try eventually("the bridges have given up their sessions", within: 60) {
                ["redis:in", "redis:talk", "redis:tick", "sink:out", "sink:redis:channel:heard"]
                    .allSatisfy { service.log.contains("bridge: database lost bridge=\($0) ") }
                    ? true : nil
            }
            try cluster.thaw()
            try outputs(2)
            _ = try client.run("XADD", "in", "*", "json", "3")
            try outputs(3)
            #expect(
                try cluster.column("SELECT data::text FROM event_service.events ORDER BY event_id")
                    == ["1", "2", "3"])
            #expect(service.terminate() == 0)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a Redis that hangs is noticed by each bridge, also where there is nothing to send`()
        async throws
    {
        try await onOwnThread {
            let database = try TestDatabase()
            let redis = try RedisServer()
            let service = try ServiceProcess(
                database: database.url, configuration: Self.bridges(redis))
            let names = [
                "redis:in", "redis:talk", "redis:tick", "sink:out", "sink:redis:channel:heard",
            ]
            func all(_ value: Int) throws {
                for name in names {
                    try service.waitForMetric(
                        "event_service_bridge_connected{bridge=\"\(name)\"} \(value)")
                }
            }
            try all(1)
            redis.signal(SIGSTOP)
            try all(0)
            try database.run("SELECT event_service.publish('load.made', '7', '{*}')")
            #expect(try HTTPClient.get(service.port, "/readyz").status == 200)
            redis.signal(SIGCONT)
            try all(1)
            let client = try RedisClient(port: redis.port)
            try eventually("what waited is sent") {
                try client.run("XLEN", "out") == "1" ? true : nil
            }
            #expect(service.terminate() == 0)
        }
    }
}
