import EventCore
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import EventService

/// A client that is cut again and again, and goes on with the last id it has.
final class CutClient {
    private(set) var ids: [String] = []
    private var lastEventID: String
    private var generator: SeededGenerator
    private(set) var resets = 0
    private(set) var cuts = 0

    init(since: String, seed: UInt64) {
        lastEventID = since
        generator = SeededGenerator(seed: seed)
    }

    /// Connects, reads a random amount, and cuts the connection, perhaps in the middle of a frame.
    func readSome(_ port: UInt16) throws {
        let stream = try StreamClient(port, lastEventID: lastEventID)
        guard stream.answer.status == 200 else { throw TestFailure("\(stream.answer.status)") }
        let limit = Int.random(in: 1...12, using: &generator)
        var count = 0
        while count < limit, !stream.isEnded {
            for message in stream.takeWaiting() {
                if message.type == "stream.reset" { resets += 1 }
                if !message.type.hasPrefix("stream.") {
                    ids.append(message.lastEventID)
                    count += 1
                }
            }
            // A few bytes at a time: the cut comes at any of them.
            guard count < limit,
                stream.readMore(milliseconds: 50, .random(in: 1...3000, using: &generator))
            else { break }
        }
        if !stream.lastEventID.isEmpty { lastEventID = stream.lastEventID }
        cuts += 1
    }
}

@Suite struct Resuming {
    @Test(.timeLimit(.minutes(5)))
    func
        `cut a thousand times, over restarts of service and database, a client gets exactly the log`()
        async throws
    {
        try await onOwnThread {
            let cluster = try TestCluster()
            _ = try ToolRun(["migrate", "--database-url", cluster.url])
            var service = try ServiceProcess(database: cluster.url)
            let start =
                try BlockingConnection(url: cluster.url).run(
                    "test", "SELECT event_service.cursor()")[0][0] ?? ""
            let client = CutClient(since: start, seed: 42)
            var inserted = 0
            for round in 1...1000 {
                // A few more events, in transactions that roll back now and then.
                if let connection = try? BlockingConnection(url: cluster.url) {
                    let count = round % 7 + 2
                    try connection.runScript(
                        "test",
                        """
                        BEGIN; INSERT INTO tasks (title) SELECT 'task ' || i FROM generate_series(1, \(count)) i;
                        SAVEPOINT s; UPDATE tasks SET progress = 50 WHERE id = (SELECT max(id) FROM tasks);
                        \(round % 3 == 0 ? "ROLLBACK TO s;" : "") \(round % 11 == 0 ? "ROLLBACK" : "COMMIT")
                        """)
                    inserted += 1
                }
                switch round {
                case 200, 600: service.kill(); service = try ServiceProcess(database: cluster.url)
                case 300: try cluster.stop("fast"); try cluster.start()
                case 700: try cluster.stop("immediate"); try cluster.start()
                default: break
                }
                try eventually("a stream") {
                    do { try client.readSome(service.port); return true } catch { return nil }
                }
            }
            let log = try eventually("everything is sequenced") { () -> [String]? in
                let connection = try BlockingConnection(url: cluster.url)
                guard
                    try connection.run("test", "SELECT count(*) FROM event_service.inbox")[0][0]
                        == "0"
                else { return nil }
                return try connection.run(
                    "test",
                    "SELECT id FROM event_service.events ORDER BY split_part(id, '-', 2)::bigint"
                ).compactMap { $0[0] }
            }
            try eventually("the rest") {
                try client.readSome(service.port)
                return client.ids.count >= log.count ? true : nil
            }
            #expect(client.cuts >= 1000)
            #expect(client.resets == 0)
            #expect(log.count > 3000)
            #expect(client.ids == log, "once each, in order, none missing")
            #expect(log.map { Cursor($0)?.position } == (1...Int64(log.count)).map { $0 }, "dense")
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `a position that cannot be served is told, and the stream goes on`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let watcher = try StreamClient(service.port)
            try database.run("INSERT INTO tasks (title) SELECT 'x' FROM generate_series(1, 10)")
            _ = try watcher.events(10)
            try database.run("SELECT event_service.raise_floor('0'::interval)")
            try database.run("INSERT INTO tasks (title) SELECT 'y' FROM generate_series(1, 5)")
            _ = try watcher.events(5)
            let ids = try database.ids()
            let epoch = try #require(Cursor(ids[0])).epoch
            #expect(ids.count == 5)
            try eventually("the node hears of the floor") {
                let stream = try StreamClient(service.port, lastEventID: "\(epoch)-3")
                return try stream.next().json["resumed"] as? String == "gap" ? true : nil
            }
            for (requested, reason) in [
                ("\(epoch)-3", "expired"), ("\(epoch)-0", "expired"), ("\(epoch)-16", "ahead"),
                ("\(epoch)-999999999999", "ahead"), ("1-1", "unknown-epoch"),
                ("\(epoch + 1)-12", "unknown-epoch"),
                ("garbage", "malformed"), ("\(epoch)", "malformed"), ("\(epoch)-", "malformed"),
                (String(repeating: "9", count: 128), "malformed"), ("now", "malformed"),
                ("<script>", "malformed"),
            ] {
                for gap in ["", "gap=earliest"] {
                    let stream = try StreamClient(service.port, gap, lastEventID: requested)
                    #expect(stream.answer.status == 200)
                    let open = try stream.next()
                    #expect(open.json["resumed"] as? String == "gap", "\(requested)")
                    let reset = try stream.next()
                    #expect(reset.type == "stream.reset")
                    #expect(reset.json["reason"] as? String == reason, "\(requested)")
                    #expect(reset.json["requested"] as? String == requested)
                    #expect(reset.json["head"] as? String == ids.last)
                    #expect(reset.json["earliest"] as? String == "\(epoch)-10")
                    #expect(reset.lastEventID == (gap.isEmpty ? ids.last : "\(epoch)-10"))
                    let rest = gap.isEmpty ? [] : try stream.events(5).map(\.lastEventID)
                    #expect(rest == (gap.isEmpty ? [] : ids))
                    #expect(try stream.next().type == "stream.live")
                }
                let history = try HTTPClient.get(
                    service.port,
                    "/api/v1/events/history?last_event_id=" + QueryString.encode(requested))
                #expect(history.status == 200)
                #expect((history.json["reset"] as? [String: Any])?["reason"] as? String == reason)
                #expect(history.json["next"] as? String == ids.last)
            }
            // A stream that was reset gets what comes.
            let stream = try StreamClient(service.port, lastEventID: "garbage")
            _ = try stream.next("stream.live")
            try database.run("INSERT INTO tasks (title) VALUES ('z')")
            #expect(try stream.events(1)[0].lastEventID == "\(epoch)-16")
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `a history that forks resets who saw what never happened, and nobody else`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            var service = try ServiceProcess(database: database.url)
            let watcher = try StreamClient(service.port)
            let insert =
                "INSERT INTO tasks (title, context) SELECT 'x', 'a' FROM generate_series(1, 3)"
            try database.run(insert)
            var old = try watcher.events(3).map(\.lastEventID)
            // Sees other things, so that its last id stays the third.
            let unaffected = try StreamClient(service.port, "context=b")
            _ = try unaffected.next("stream.live")
            try database.run(insert)
            old += try watcher.events(3).map(\.lastEventID)
            let ahead = try StreamClient(service.port)
            _ = try ahead.next("stream.live")
            // As after a restore of a copy that lacks the last two, under a running service.
            try database.run(
                """
                BEGIN;
                DELETE FROM event_service.log WHERE position > 4;
                UPDATE event_service.tick SET last_position = 4 WHERE last_position > 4;
                UPDATE event_service.epoch SET identity[2] = '00000000';
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid();
                COMMIT
                """)
            let reset = try ahead.next("stream.reset")
            #expect(reset.json["reason"] as? String == "unknown-epoch")
            #expect(reset.json["requested"] as? String == old[5])
            #expect(reset.lastEventID == old[3], "the head is what is left")
            try database.run("INSERT INTO tasks (title, context) VALUES ('new', 'b')")
            let fresh = try ahead.events(1)[0]
            let cursor = try #require(Cursor(fresh.lastEventID))
            #expect(cursor.position == 5)
            #expect(cursor.epoch > Cursor(old[0])?.epoch ?? 0)
            #expect(try unaffected.events(1)[0].lastEventID == fresh.lastEventID)
            #expect(!String(decoding: unaffected.payload, as: UTF8.self).contains("stream.reset"))
            // And for clients that come back, also to a node that never knew the lost ones.
            for _ in 0..<2 {
                let before = try StreamClient(service.port, lastEventID: old[3])
                #expect(try before.next().json["resumed"] as? String == "complete")
                #expect(try before.events(1)[0].lastEventID == fresh.lastEventID)
                let behind = try StreamClient(service.port, lastEventID: old[4])
                #expect(
                    try behind.next("stream.reset").json["reason"] as? String == "unknown-epoch")
                service.kill()
                service = try ServiceProcess(database: database.url)
            }
        }
    }

    @Test(.timeLimit(.minutes(3)))
    func `sixteen writers, and readers that reconnect at random, agree on one order`() async throws
    {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            try database.run(
                "INSERT INTO tasks (title) SELECT 'row ' || i FROM generate_series(1, 20) i")
            let start = try eventually("the first are sequenced") { () -> String? in
                let cursor = try database.value("SELECT event_service.cursor()")
                return cursor.hasSuffix("-20") ? cursor : nil
            }
            let running = Atomic<Int>(16)
            let writers = (0..<16).map { writer in
                WriterThread {
                    defer { running.subtract(1, ordering: .relaxed) }
                    try Self.write(database, seed: UInt64(writer))
                }
            }
            let readers = (0..<3).map { CutClient(since: start, seed: UInt64(100 + $0)) }
            while running.load(ordering: .relaxed) > 0 {
                for reader in readers { try reader.readSome(service.port) }
            }
            for writer in writers { try writer.join() }
            try eventually("the inbox is empty") {
                try database.value("SELECT count(*) FROM event_service.inbox") == "0" ? true : nil
            }
            let log = Array(try database.ids().dropFirst(20))
            for reader in readers {
                try eventually("the rest") {
                    try reader.readSome(service.port)
                    return reader.ids.count >= log.count ? true : nil
                }
                #expect(reader.ids == log)
                #expect(reader.resets == 0)
            }
            #expect(
                log.map { Cursor($0)?.position } == (21...20 + Int64(log.count)).map { $0 }, "dense"
            )
            // Each row counts its committed updates: its events must show them in that order.
            let disorder = try database.value(
                """
                SELECT count(*) FROM (
                    SELECT (data->'new'->>'message')::int - lag((data->'new'->>'message')::int, 1, 0)
                        OVER (PARTITION BY key ORDER BY split_part(id, '-', 2)::bigint) AS step
                    FROM event_service.events WHERE op = 'update') s WHERE step <> 1
                """)
            #expect(disorder == "0", "per-row order is kept, and no update is missing or doubled")
            #expect(try database.value("SELECT sum(message::int) FROM tasks") == "\(log.count)")
        }
    }

    /// Updates of random rows, with waits, savepoints and rollbacks; each committed one counts in the row.
    private static func write(_ database: TestDatabase, seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let connection = try database.connect()
        for _ in 0..<60 {
            var script = "BEGIN;"
            // In the order of the ids, so that no two writers deadlock.
            let rows = (0..<Int.random(in: 1...3, using: &generator))
                .map { _ in Int.random(in: 1...20, using: &generator) }.sorted()
            for row in rows {
                script +=
                    "SAVEPOINT s; UPDATE tasks SET message = coalesce(message::int, 0) + 1 WHERE id = \(row);"
                if Int.random(in: 0..<5, using: &generator) == 0 { script += "ROLLBACK TO s;" }
                if Bool.random(using: &generator) {
                    script += "SELECT pg_sleep(\(Double.random(in: 0...0.02, using: &generator)));"
                }
            }
            script += Int.random(in: 0..<7, using: &generator) == 0 ? "ROLLBACK" : "COMMIT"
            try connection.runScript("test", script)
        }
    }
}

/// A thread whose error is thrown where it is joined.
final class WriterThread: @unchecked Sendable {
    // `@unchecked Sendable`: `outcome` is written by the thread before it signals, and read after that.
    private let done = DispatchSemaphore(value: 0)
    private var outcome: Result<Void, any Error> = .success(())

    init(_ body: @escaping @Sendable () throws -> Void) {
        let thread = Thread { [self] in
            outcome = Result { try body() }
            done.signal()
        }
        thread.stackSize = 1 << 20
        thread.start()
    }

    func join() throws {
        done.wait()
        try outcome.get()
    }
}
