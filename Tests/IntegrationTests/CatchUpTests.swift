import EventCore
import Foundation
import TestSupport
import Testing

@testable import EventService

@Suite struct CatchUp {
    @Test(.timeLimit(.minutes(5)))
    func
        `hours without a node: the backlog comes in chunks, in order, and new events behind it, also when the pump dies`()
        async throws
    {
        try await onOwnThread {
            let database = try TestDatabase()
            // A transaction that wrote first, and commits amid the backlog.
            let open = try database.connect()
            try open.runScript(
                "test", "BEGIN; INSERT INTO tasks (title, message) VALUES ('slow', '0')")
            try database.run(
                """
                INSERT INTO tasks (title, message) SELECT repeat('x', 300), '0' FROM generate_series(1, 20000)
                """)
            for _ in 1...3 { try database.run(Self.updateOfAll) }
            try database.run("UPDATE event_service.inbox SET at = at - interval '6 hours'")
            let backlog = 80_000

            let options = ["--ring-bytes", "1MiB", "--retention", "1h"]
            let nodes = try (0..<2).map { _ in
                try ServiceProcess(database: database.url, options)
            }
            let pump = try eventually("one sequences") { nodes.first { $0.isPump } }
            let other = try #require(nodes.first { $0 !== pump })
            // It begins at the node that will die.
            let follower = Follower([other.port, pump.port], mortal: true)
            // New ones come while it drains, and none of their transactions waits for it.
            let isDrained = Flag()
            let writer = WriterThread {
                let connection = try database.connect()
                try connection.runScript("test", "SET statement_timeout = '5s'")
                while !isDrained.isRaised {
                    try connection.runScript(
                        "test",
                        "UPDATE tasks SET message = message::int + 1 WHERE id % 5000 = 7")
                    usleep(20_000)
                }
            }
            try eventually("a third is sequenced", within: 60) {
                try Self.head(database) > backlog / 3 ? true : nil
            }
            try open.runScript("test", "COMMIT")
            let largest = try database.value(
                """
                SELECT max(last_position - before) FROM (
                    SELECT last_position, lag(last_position) OVER (ORDER BY tick) AS before FROM event_service.tick) t
                """)
            #expect((1000...64_000).contains(Int(largest) ?? 0), "the chunks have a bound")
            pump.kill()
            try eventually("all of it is sequenced", within: 120) {
                try Self.head(database) > backlog ? true : nil
            }
            isDrained.raise()
            try writer.join()
            let head = try eventually("and what came since") { () -> Int? in
                try database.value("SELECT count(*) FROM event_service.inbox") == "0"
                    ? Self.head(database) : nil
            }
            try eventually("the client has all", within: 120) {
                follower.following.events.count == head ? true : nil
            }
            let log = try database.column(
                "SELECT event_id FROM event_service.events ORDER BY split_part(id, '-', 2)::bigint"
            ).compactMap { Int64($0) }
            try follower.stop()
            #expect(follower.following.faults == [])
            #expect(follower.following.resets == 0)
            #expect(follower.following.events == log)
            let oldest = log.prefix(backlog).filter { $0 != 1 }
            #expect(oldest == oldest.sorted(), "but for the late one, the oldest first")
            try expectNoInversion(database)
        }
    }

    private static let updateOfAll = "UPDATE tasks SET message = message::int + 1"

    private static func head(_ database: TestDatabase) throws -> Int {
        Int(try database.value("SELECT head FROM event_service.status()")) ?? 0
    }

    /// Each row counts its updates: its events must show them in that order, with none missing.
    private func expectNoInversion(_ database: TestDatabase) throws {
        let disorder = try database.value(
            """
            SELECT count(*) FROM (
                SELECT (data->'new'->>'message')::int - lag((data->'new'->>'message')::int, 1, -1)
                    OVER (PARTITION BY key ORDER BY split_part(id, '-', 2)::bigint) AS step
                FROM event_service.events) s WHERE step <> 1
            """)
        #expect(disorder == "0", "per-row order is kept, and no update is missing or doubled")
    }
}

@Suite struct Pump {
    @Test(.timeLimit(.minutes(3)))
    func `a pump that hangs is relieved in a second, deposed later, and does no harm afterwards`()
        async throws
    {
        try await onOwnThread {
            let database = try TestDatabase()
            let nodes = try (0..<3).map { _ in try ServiceProcess(database: database.url) }
            let followers = nodes.map { Follower([$0.port]) }
            try eventually("all follow") {
                followers.allSatisfy { $0.following.last != nil } ? true : nil
            }
            #expect(nodes.count { $0.isPump } == 1, "one is elected")
            let pump = try #require(nodes.first { $0.isPump })
            let isOver = Flag()
            let writer = WriterThread {
                let connection = try database.connect()
                while !isOver.isRaised {
                    try connection.runScript("test", "INSERT INTO tasks (title) VALUES ('x')")
                    usleep(10_000)
                }
            }
            try eventually("it sequences") { try Self.head(database) > 20 ? true : nil }
            pump.signal(SIGSTOP)
            let hung = try Self.head(database)
            try eventually("others sequence meanwhile", within: 10) {
                try Self.head(database) > hung + 20 ? true : nil
            }
            #expect(nodes.count { $0.isPump } == 1, "while it is not deposed yet")
            try eventually("another is the pump", within: 60) {
                nodes.count { $0.isPump } == 2 ? true : nil
            }
            pump.signal(SIGCONT)
            let revived = try Self.head(database)
            try eventually("all goes on", within: 30) {
                try Self.head(database) > revived + 200 ? true : nil
            }
            isOver.raise()
            try writer.join()
            let head = try eventually("everything is sequenced") { () -> Int? in
                try database.value("SELECT count(*) FROM event_service.inbox") == "0"
                    ? Self.head(database) : nil
            }
            let log = try database.column(
                "SELECT event_id FROM event_service.events ORDER BY split_part(id, '-', 2)::bigint"
            ).compactMap { Int64($0) }
            #expect(log.count == head && log == log.sorted())
            for follower in followers {
                try eventually("each node has all, the deposed one too") {
                    follower.following.events.count == head ? true : nil
                }
                try follower.stop()
                #expect(follower.following.faults == [])
                #expect(follower.following.events == log)
            }
            #expect(
                try database.value(
                    """
                    SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                    WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objid = 3 AND l.granted
                    """) == "1", "one holds the lock")
        }
    }

    private static func head(_ database: TestDatabase) throws -> Int {
        Int(try database.value("SELECT head FROM event_service.status()")) ?? 0
    }
}

extension ServiceProcess {
    /// Whether the node has been the pump.
    fileprivate var isPump: Bool { log.contains("sequences for all nodes") }
}
