import EventCore
import Foundation
import TestSupport
import Testing

@testable import EventService

/// What clients were given, to find an id that was given to two events.
private final class Witness {
    private var events: [String: String] = [:]
    private(set) var contradictions: [String] = []

    /// Takes the next events of a stream, and returns their ids.
    @discardableResult
    func take(_ count: Int, from stream: StreamClient) throws -> [String] {
        try stream.events(count).map { note($0.lastEventID, $0.json) }
    }

    /// Takes the events of a page of history.
    func take(_ answer: HTTPAnswer) throws -> [String] {
        try (answer.json["events"] as? [[String: Any]] ?? []).map { event in
            note(try #require(event["id"] as? String), event)
        }
    }

    private func note(_ id: String, _ event: [String: Any]) -> String {
        let title = (event["new"] as? [String: Any])?["title"] ?? ""
        let text = "\(event["event_id"] ?? "") \(event["time"] ?? "") \(title)"
        if let known = events.updateValue(text, forKey: id), known != text {
            contradictions.append(id)
        }
        return id
    }
}

extension DatabaseClient {
    /// Inserts tasks, of which each is one event.
    fileprivate func addTasks(_ count: Int, _ title: String, context: String = "a") throws {
        try run(
            """
            INSERT INTO tasks (title, context) SELECT '\(title) ' || i, '\(context)'
            FROM generate_series(1, \(count)) i
            """)
    }

    /// The titles of the tasks whose creation stands in the log, by id.
    fileprivate func titles() throws -> [String] {
        try column(
            """
            SELECT data -> 'new' ->> 'title' FROM event_service.events
            WHERE type = 'task.created' ORDER BY split_part(id, '-', 2)::bigint
            """)
    }
}

/// How a stream that asks for a position begins.
private func beginning(
    _ service: ServiceProcess, _ lastEventID: String, _ query: String = ""
) throws -> (resumed: String, reason: String?, stream: StreamClient) {
    let stream = try StreamClient(service.port, query, lastEventID: lastEventID)
    let resumed = try stream.next("stream.open").json["resumed"] as? String ?? ""
    guard resumed == "gap" else { return (resumed, nil, stream) }
    return (resumed, try stream.next("stream.reset").json["reason"] as? String, stream)
}

/// Records an issue unless these cursors are resumed without a gap, and those are reset.
private func expect(
    _ service: ServiceProcess, resumes good: [String], resets bad: [String],
    at location: SourceLocation = #_sourceLocation
) throws {
    for id in good {
        #expect(try beginning(service, id).resumed == "complete", "\(id)", sourceLocation: location)
    }
    for id in bad {
        let reason = try beginning(service, id).reason
        #expect(reason == "unknown-epoch", "\(id)", sourceLocation: location)
        let history = try HTTPClient.get(
            service.port, "/api/v1/events/history?last_event_id=\(id)")
        #expect(
            (history.json["reset"] as? [String: Any])?["reason"] as? String == "unknown-epoch",
            sourceLocation: location)
        #expect(
            try HTTPClient.get(service.port, "/api/v1/events/\(id)").status == 404,
            sourceLocation: location)
    }
}

/// A request for history that waits on a thread of its own.
private final class LongPoll: Sendable {
    private let thread: WriterThread
    private let file = FileManager.default.temporaryDirectory.path + "/\(UUID())"

    init(_ service: ServiceProcess, _ query: String) {
        let (port, file) = (service.port, file)
        thread = WriterThread {
            let answer = try HTTPClient.get(port, "/api/v1/events/history?wait=30&\(query)")
            try Data(answer.body).write(to: URL(fileURLWithPath: file))
        }
    }

    func answer() throws -> [String: Any] {
        try thread.join()
        defer { try? FileManager.default.removeItem(atPath: file) }
        let body = try Data(contentsOf: URL(fileURLWithPath: file))
        return try #require(try JSONSerialization.jsonObject(with: body) as? [String: Any])
    }
}

@Suite struct Failover {
    @Test(.timeLimit(.minutes(2)))
    func
        `a standby that lags is promoted: what it has goes on, what it lacks is told, nothing comes twice`()
        async throws
    {
        try await onOwnThread {
            let primary = try TestCluster()
            try primary.migrate()
            let standby = try TestCluster(.standby(of: primary))
            let url = TestCluster.url(of: primary, standby)
            let (one, two) = (
                try ServiceProcess(database: url), try ServiceProcess(database: url)
            )
            let witness = Witness()
            let seer = try StreamClient(one.port)
            let other = try StreamClient(two.port, "context=b")
            for stream in [seer, other] { _ = try stream.next("stream.live") }
            try primary.addTasks(10, "early")
            try primary.addTasks(1, "shared", context: "b")
            let early = try witness.take(11, from: seer)
            #expect(try witness.take(1, from: other) == [early[10]])

            // Committed and copied, but not sequenced: the sequencer's lock is held.
            let holder = try primary.connect()
            try holder.run("hold", "SELECT pg_advisory_lock(1163284052, 2)")
            try primary.addTasks(5, "kept")
            try primary.waitForReplay(by: standby)
            try standby.cutReplication()
            try holder.run("let go", "SELECT pg_advisory_unlock(1163284052, 2)")
            try primary.addTasks(7, "lost")
            let void = try witness.take(12, from: seer)
            try eventually("both nodes have it") {
                try HTTPClient.get(two.port, "/api/v1/events/\(void[11])").status == 200
                    ? true : nil
            }
            let goodPoll = LongPoll(two, "since=\(early[10])&context=b")
            let voidPoll = LongPoll(one, "since=\(void[11])")
            usleep(200_000)

            try primary.stop("immediate")
            try standby.promote()
            let reset = try seer.next("stream.reset")
            #expect(reset.json["reason"] as? String == "unknown-epoch")
            #expect(reset.json["requested"] as? String == void[11])
            // What the standby had, and what the other node may have sequenced of it already.
            let head = try #require(Cursor(reset.lastEventID)).position
            #expect((11...16).contains(head), "\(reset.lastEventID)")
            #expect(head > 11 || reset.lastEventID == early[10])
            let seen = try witness.take(Int(16 - head), from: seer)
            try standby.addTasks(2, "after", context: "b")
            let after = try witness.take(2, from: seer)
            let kept = try Array(standby.ids()[11..<16])
            #expect(kept.suffix(seen.count) == seen)
            #expect(try witness.take(2, from: other) == after)
            #expect(!String(decoding: other.payload, as: UTF8.self).contains("stream.reset"))
            #expect(try standby.ids() == early + kept + after)
            let titles = try standby.titles()
            #expect(titles[11...].prefix(5) == ["kept 1", "kept 2", "kept 3", "kept 4", "kept 5"])
            #expect(titles.count == 18)
            let epoch = try #require(Cursor(kept[0])).epoch
            #expect(epoch > Cursor(early[0])?.epoch ?? 0)
            #expect(
                (kept + after).map { Cursor($0) }
                    == (12...18).map { Cursor(epoch: epoch, position: $0) })

            for service in [one, two] {
                try expect(service, resumes: early + kept + after, resets: void)
                let resumed = try beginning(service, early[4]).stream
                #expect(try witness.take(13, from: resumed) == Array(early[5...]) + kept + after)
                #expect(
                    try HTTPClient.get(service.port, "/api/v1/events/\(early[3])").status == 200)
            }
            let good = try goodPoll.answer()
            #expect(good["reset"] is NSNull)
            #expect((good["events"] as? [[String: Any]])?.first?["id"] as? String == after[0])
            let answer = try voidPoll.answer()
            #expect((answer["reset"] as? [String: Any])?["reason"] as? String == "unknown-epoch")
            #expect((answer["reset"] as? [String: Any])?["requested"] as? String == void[11])
            #expect(witness.contradictions.isEmpty)
            #expect(one.log.contains("the history of the log forked"))
        }
    }

    @Test(.timeLimit(.minutes(3)))
    func
        `a node that hangs on the old primary serves no cursor of the new one, and finds it by itself`()
        async throws
    {
        try await onOwnThread {
            let old = try TestCluster()
            try old.migrate()
            let new = try TestCluster(.standby(of: old))
            let left = try ServiceProcess(database: TestCluster.url(of: old, new))
            let right = try ServiceProcess(
                database: new.url, ["--log-level", "debug"], waitUntilReady: false)
            let witness = Witness()
            let stuck = try StreamClient(left.port)
            _ = try stuck.next("stream.live")
            try old.addTasks(5, "common")
            let common = try witness.take(5, from: stuck)
            try old.waitForReplay(by: new)
            try new.cutReplication()
            try new.promote()
            try eventually("the other node is ready") {
                try HTTPClient.get(right.port, "/readyz").status == 200 ? true : nil
            }
            let moved = try StreamClient(right.port)
            _ = try moved.next("stream.live")
            // Both take writes, and give the same positions.
            try old.addTasks(3, "old")
            try new.addTasks(2, "new")
            let void = try witness.take(3, from: stuck)
            let fresh = try witness.take(2, from: moved)
            #expect(Cursor(void[0])?.position == Cursor(fresh[0])?.position)
            try expect(left, resumes: common + void, resets: fresh)
            try expect(right, resumes: common + fresh, resets: void)

            // The old one answers no new connection, and those of the pool break. The listener's stands:
            // what the pool finds on the new one is not taken for the old one's.
            let administrator = try old.connect()
            try old.freeze()
            defer { try? old.killFrozen() }
            try administrator.runScript(
                "test",
                """
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name = 'event-service' AND pid <> pg_backend_pid() AND pid NOT IN (
                    SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 3)
                """)
            let whole = try eventually("the new one is read") { () -> [String]? in
                // For a time the database is asked, whatever the node has in memory.
                let answer = try HTTPClient.get(
                    left.port, "/api/v1/events/history?since=2020-01-01T00:00:00Z")
                return answer.status == 200 ? try witness.take(answer) : nil
            }
            #expect(whole == common + fresh)
            let reset = try stuck.next("stream.reset")
            #expect(reset.json["reason"] as? String == "unknown-epoch")
            #expect(reset.json["requested"] as? String == void[2])
            #expect(reset.lastEventID == fresh[1])
            try expect(left, resumes: common + fresh, resets: void)
            // It comes back, and is the first in the list: the node stays where it is.
            try old.thaw()
            try old.addTasks(1, "of nobody")
            try new.addTasks(1, "last")
            let last = try witness.take(1, from: moved)
            #expect(try witness.take(1, from: stuck) == last)
            try expect(left, resumes: common + fresh + last, resets: void)
            #expect(witness.contradictions.isEmpty)
            _ = try HTTPClient.publish(
                left.port, #"{"type":"a.b","audience":["*"],"data":1,"key":"published"}"#)
            #expect(try witness.take(1, from: moved) == witness.take(1, from: stuck))
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func
        `a copy of the files has ids of its own, also in the place of the original, and a restart loses nothing`()
        async throws
    {
        try await onOwnThread {
            let original = try TestCluster()
            try original.migrate()
            let service = try ServiceProcess(database: original.url)
            let witness = Witness()
            let stream = try StreamClient(service.port)
            _ = try stream.next("stream.live")
            try original.addTasks(5, "common")
            let common = try witness.take(5, from: stream)
            let copy = try TestCluster(.copy(of: original))
            let older = try TestCluster(.copy(of: original))

            let second = try ServiceProcess(database: copy.url)
            let timeline = "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)"
            #expect(
                try copy.value(timeline) == original.value(timeline),
                "nothing else tells them apart")
            let copied = try StreamClient(second.port)
            _ = try copied.next("stream.live")
            try original.addTasks(2, "original")
            try copy.addTasks(2, "copy")
            let mine = try witness.take(2, from: stream)
            let theirs = try witness.take(2, from: copied)
            #expect(Set(mine).isDisjoint(with: theirs))
            try expect(service, resumes: common + mine, resets: theirs)
            try expect(second, resumes: common + theirs, resets: mine)

            // A restart is not a fork: all that was given stays good, and goes on.
            try original.stop("immediate")
            try original.start()
            try original.addTasks(1, "restarted")
            let restarted = try witness.take(1, from: stream)
            #expect(Cursor(restarted[0])?.position == 8)
            #expect(!String(decoding: stream.payload, as: UTF8.self).contains("stream.reset"))
            try expect(service, resumes: common + mine + restarted, resets: theirs)

            // An older state of the disk, under the same name.
            try original.stop()
            try older.stop()
            try original.replaceFiles(with: older)
            try original.start()
            let reset = try stream.next("stream.reset")
            #expect(reset.json["reason"] as? String == "unknown-epoch")
            #expect(reset.json["requested"] as? String == restarted[0])
            #expect(reset.lastEventID == common[4])
            try original.addTasks(2, "again")
            let again = try witness.take(2, from: stream)
            #expect(Set(again).isDisjoint(with: mine + theirs + restarted))
            try expect(service, resumes: common + again, resets: mine + theirs + restarted)
            #expect(try original.ids() == common + again)
            #expect(witness.contradictions.isEmpty)
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func
        `a dump restored into another cluster goes on, and what waited in the inbox comes exactly once`()
        async throws
    {
        try await onOwnThread {
            let source = try TestCluster()
            try source.migrate()
            let witness = Witness()
            let node = try ServiceProcess(database: source.url)
            let stream = try StreamClient(node.port)
            _ = try stream.next("stream.live")
            // The ids of transactions are ahead of where those of another cluster begin.
            try source.run(
                "DO $$ BEGIN FOR i IN 1 .. 20000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
            )
            try source.addTasks(4, "common")
            let common = try witness.take(4, from: stream)
            let holder = try source.connect()
            try holder.run("hold", "SELECT pg_advisory_lock(1163284052, 2)")
            try source.addTasks(3, "waits")

            let target = try TestCluster()
            try source.dump(into: target)
            try holder.run("let go", "SELECT pg_advisory_unlock(1163284052, 2)")
            let void = try witness.take(3, from: stream)
            #expect(try target.value("SELECT bool_or(drifted) FROM event_service.watched") == "f")

            // Others write while the node attaches: some began before, some commit meanwhile.
            let open = try target.connect()
            try open.runScript("test", "BEGIN; INSERT INTO tasks (title) VALUES ('open')")
            let writer = WriterThread {
                for number in 1...150 {
                    try target.addTasks(1, "written \(number)")
                    usleep(10_000)
                }
            }
            // What waits is stamped anew; others commit between that and the rest.
            let locker = try target.connect()
            try locker.runScript("test", "BEGIN; SELECT FROM event_service.inbox FOR UPDATE")
            let restored = try ServiceProcess(database: target.url, waitUntilReady: false)
            try eventually("the node attaches") {
                try target.value(
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%attach()%'"
                ) == "1" ? true : nil
            }
            usleep(100_000)
            try locker.runScript("test", "ROLLBACK")
            try eventually("ready") {
                try HTTPClient.get(restored.port, "/readyz").status == 200 ? true : nil
            }
            let (resumed, _, continued) = try beginning(restored, common[3])
            #expect(resumed == "complete")
            try open.runScript("test", "COMMIT")
            try writer.join()
            let all = try witness.take(154, from: continued)
            #expect(Array(try target.ids()[4...]) == all)
            let titles = try target.titles()
            #expect(titles.count == 158 && Set(titles).count == 158)
            #expect(titles.filter { $0.hasPrefix("waits") } == ["waits 1", "waits 2", "waits 3"])
            #expect(try target.value("SELECT count(*) FROM event_service.inbox") == "0")
            try expect(restored, resumes: common + all.suffix(1), resets: void)
            #expect(witness.contradictions.isEmpty)
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `a log that is replaced under a running node is noticed`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let (one, two) = (
                try ServiceProcess(database: database.url),
                try ServiceProcess(database: database.url)
            )
            let witness = Witness()
            let streams = try [one, two].map { try StreamClient($0.port) }
            for stream in streams { _ = try stream.next("stream.live") }
            try database.addTasks(3, "common")
            let common = try streams.map { try witness.take(3, from: $0) }[0]
            let file = FileManager.default.temporaryDirectory.path + "/\(UUID()).sql"
            defer { try? FileManager.default.removeItem(atPath: file) }
            try Tool.run("pg_dump", ["-f", file, database.url])
            try database.addTasks(3, "void")
            let void = try streams.map { try witness.take(3, from: $0) }[0]
            try Tool.run(
                "psql",
                [
                    "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-c",
                    "SET client_min_messages = warning; DROP SCHEMA event_service CASCADE; DROP TABLE tasks",
                    "-f", file, database.url,
                ])
            for stream in streams {
                let reset = try stream.next("stream.reset")
                #expect(reset.json["reason"] as? String == "unknown-epoch")
                #expect(reset.lastEventID == common[2])
            }
            try database.addTasks(2, "again")
            let again = try streams.map { try witness.take(2, from: $0) }
            #expect(again[0] == again[1])
            for service in [one, two] {
                try expect(service, resumes: common + again[0], resets: void)
            }
            #expect(witness.contradictions.isEmpty)
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `a clock that goes backwards, and two epochs in one second, give no id twice`()
        async throws
    {
        try await onOwnThread {
            let cluster = try TestCluster()
            try cluster.migrate()
            let witness = Witness()
            let service = try ServiceProcess(database: cluster.url)
            let stream = try StreamClient(service.port)
            _ = try stream.next("stream.live")
            try cluster.addTasks(2, "before")
            var ids = try witness.take(2, from: stream)
            for clock in ["-40m", "+0", "-2h"] {
                try cluster.stop("immediate")
                try cluster.start(clock: clock)
                try cluster.addTasks(2, "clock \(clock)")
                ids += try witness.take(2, from: stream)
            }
            let epochs = ids.compactMap { Cursor($0)?.epoch }
            #expect(epochs == epochs.sorted() && Set(epochs).count == 4)
            try expect(service, resumes: ids, resets: [])
            #expect(try cluster.ids() == ids)
            #expect(!String(decoding: stream.payload, as: UTF8.self).contains("stream.reset"))
            #expect(witness.contradictions.isEmpty)

            // Nothing is given in the second that an epoch is named after.
            try cluster.stop("immediate")
            try cluster.start()
            for _ in 0..<2 {
                let row = try cluster.connect().run(
                    "test",
                    """
                    UPDATE event_service.epoch SET identity[5] = '0'
                    WHERE epoch = (SELECT max(epoch) FROM event_service.epoch);
                    """)
                #expect(row.isEmpty)
                let opened = try cluster.connect().run(
                    "test",
                    "SELECT max(epoch) < extract(epoch FROM clock_timestamp()) - 0.99 FROM event_service.attach()"
                )
                #expect(opened[0][0] == "t")
            }
        }
    }
}
