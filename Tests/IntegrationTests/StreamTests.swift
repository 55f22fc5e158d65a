import EventCore
import Foundation
import TestSupport
import Testing

@Suite struct Streams {
    @Test(.timeLimit(.minutes(1)))
    func `a committed row change reaches an open stream`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let stream = try StreamClient(service.port)
            let open = try stream.next()
            #expect(open.type == "stream.open")
            #expect(open.json["resumed"] as? String == "fresh")
            #expect(open.json["head"] as? String == open.lastEventID)
            #expect(stream.retryMilliseconds != nil)
            #expect(try stream.next().type == "stream.live")
            #expect(stream.answer.fields["content-type"] == "text/event-stream")
            #expect(stream.answer.fields["cache-control"] == "no-store, no-transform")
            #expect(stream.answer.fields["x-accel-buffering"] == "no")

            try database.run("INSERT INTO tasks (title, user_id) VALUES ('a', 'u')")
            try database.run("BEGIN; UPDATE tasks SET title = 'never'; ROLLBACK")
            try database.run("UPDATE tasks SET status = 'running', progress = 1")
            let events = try stream.events(2)
            #expect(events.map(\.type) == ["task.created", "task.status-changed"])
            #expect(events.map(\.lastEventID) == (try database.ids()))
            let changed = events[1].json
            #expect(changed["changed"] as? [String] == ["status", "progress"])
            #expect((changed["new"] as? [String: Any])?["title"] as? String == "a")
            #expect((changed["old"] as? [String: Any])?["status"] as? String == "pending")
            #expect(changed["op"] as? String == "update")
            #expect(changed["key"] as? String == "1")
            #expect(changed["topic"] as? String == "task")
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `filters narrow by type, key and context`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let byType = try StreamClient(service.port, "type=task.deleted,note.*")
            let byKey = try StreamClient(service.port, "key=2")
            let byContext = try StreamClient(service.port, "context=a")
            try database.run(
                """
                INSERT INTO tasks (title, context) VALUES ('1', 'a'), ('2', 'b');
                UPDATE tasks SET context = 'b' WHERE id = 1;
                SELECT event_service.publish('note.added', '1', '{context:a}', key => '2');
                SELECT event_service.publish('memo.added', '1', '{*}');
                DELETE FROM tasks WHERE id = 2;
                SELECT event_service.publish('end.reached', '1', '{context:a}', key => '2')
                """)
            #expect(try byType.events(2).map(\.type) == ["note.added", "task.deleted"])
            #expect(
                try byKey.events(4).map(\.type) == [
                    "task.created", "note.added", "task.deleted", "end.reached",
                ])
            #expect(
                try byContext.events(4).map(\.type) == [
                    "task.created", "task.left", "note.added", "end.reached",
                ])
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a row that moves leaves one context and enters the other`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let everything = try StreamClient(service.port)
            let old = try StreamClient(service.port, "context=a")
            let new = try StreamClient(service.port, "context=b")
            try database.run(
                "INSERT INTO tasks (title, user_id, context) VALUES ('secret', 'u', 'a')")
            try database.run("UPDATE tasks SET context = 'b'")
            let left = try old.events(2)[1]
            #expect(left.type == "task.left")
            #expect(left.json["op"] as? String == "leave")
            #expect(
                left.json["new"] == nil && left.json["old"] == nil && left.json["changed"] == nil)
            let entered = try new.events(1)[0]
            #expect(entered.type == "task.entered")
            #expect((entered.json["new"] as? [String: Any])?["title"] as? String == "secret")
            #expect(entered.json["old"] == nil && entered.json["changed"] == nil)
            #expect(
                try everything.events(2)[1].type == "task.updated",
                "it has a label in both: the user's")
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `an idle stream gets heartbeats, without a blank line`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url, ["--heartbeat", "200ms"])
            let stream = try StreamClient(service.port)
            let open = try stream.next()
            #expect(open.json["heartbeat_seconds"] as? Double == 0.2)
            _ = try stream.next("stream.live")
            try eventually("three heartbeats") {
                stream.readMore()
                return stream.heartbeats >= 3 ? true : nil
            }
            #expect(
                String(decoding: stream.payload, as: UTF8.self).hasSuffix("\n\n: hb\n: hb\n: hb\n"))
            try database.run("INSERT INTO tasks (title) VALUES ('after heartbeats')")
            #expect(try stream.events(1)[0].type == "task.created")
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `the cursor of a stream that sees little keeps up with the log`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url, ["--heartbeat", "200ms"])
            let stream = try StreamClient(service.port, "type=never.seen")
            try database.run("INSERT INTO tasks (title) SELECT 'x' FROM generate_series(1, 10000)")
            let cursor = try stream.next("stream.cursor")
            #expect(cursor.data == "{}")
            let position = try #require(Cursor(cursor.lastEventID)).position
            #expect(position == 10_000)
            let resumed = try StreamClient(
                service.port, "type=never.seen", lastEventID: cursor.lastEventID)
            #expect(try resumed.next().json["resumed"] as? String == "complete")
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a stream ends as planned after its lifetime`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url, ["--stream-lifetime", "1s"])
            let stream = try StreamClient(service.port)
            let opened = Date()
            let end = try stream.next("stream.end")
            #expect(Date().timeIntervalSince(opened) > 0.7)
            #expect(end.json["reason"] as? String == "lifetime")
            #expect(end.lastEventID == (try database.value("SELECT event_service.cursor()")))
            #expect(stream.retryMilliseconds != 2000, "random, so that not all come back together")
            try eventually("the last chunk") {
                stream.readMore()
                return stream.isEnded ? true : nil
            }
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `HTTP 1.0 gets the same stream without chunks`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            try database.run("INSERT INTO tasks (title) VALUES ('1'), ('2')")
            let stream = try StreamClient(service.port, "since=earliest", version: "1.0")
            #expect(stream.answer.fields["transfer-encoding"] == nil)
            #expect(stream.answer.fields["connection"] == "close")
            #expect(try stream.events(2).map(\.lastEventID) == (try database.ids()))
            try database.run("INSERT INTO tasks (title) VALUES ('3')")
            #expect(try stream.events(1)[0].type == "task.created")
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `since takes now, earliest, an id and a time`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url, ["--ring-bytes", "0"])
            let watcher = try StreamClient(service.port)
            try database.run("INSERT INTO tasks (title) VALUES ('1')")
            _ = try watcher.events(1)
            usleep(1_100_000)
            let time = try database.value(
                "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
            )
            try database.run("INSERT INTO tasks (title) VALUES ('2'), ('3')")
            _ = try watcher.events(2)
            let ids = try database.ids()
            for (since, expected, resumed) in [
                ("earliest", ids, "fresh"), (ids[0], Array(ids[1...]), "complete"),
                (time, Array(ids[1...]), "fresh"), ("now", [], "fresh"),
                ("2100-01-01T00:00:00Z", [], "fresh"),
                ("2000-01-01T00:00:00Z", ids, "fresh"),
                ("0000-01-01T00:00:00Z", ids, "fresh"),
                ("9999-12-31T23:59:59-23:00", [], "fresh"),
            ] {
                let stream = try StreamClient(service.port, "since=\(since)")
                let open = try stream.next()
                #expect(open.json["resumed"] as? String == resumed, "\(since)")
                var seen: [String] = []
                while true {
                    let message = try stream.next()
                    if message.type == "stream.live" { break }
                    seen.append(message.lastEventID)
                }
                #expect(seen == expected, "\(since)")
                if let first = expected.first, let cursor = Cursor(open.lastEventID),
                    let event = Cursor(first)
                {
                    #expect(
                        cursor.position < event.position,
                        "the cursor is never past an event to come")
                }
            }
            #expect(
                try HTTPClient.get(service.port, "/api/v1/events/stream?since=yesterday").status
                    == 400)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `events past the size on the wire say where they are whole`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url, ["--max-event-bytes", "2KiB"])
            let stream = try StreamClient(service.port)
            try database.run("INSERT INTO tasks (title, message) VALUES ('big', repeat('x', 5000))")
            let event = try stream.events(1)[0].json
            #expect(event["new"] == nil)
            let oversize = try #require(event["oversize"] as? [String: Any])
            #expect((oversize["bytes"] as? Int ?? 0) > 5000)
            let href = try #require(oversize["href"] as? String)
            let whole = try HTTPClient.get(service.port, href)
            #expect(whole.status == 200)
            #expect(((whole.json["new"] as? [String: Any])?["message"] as? String)?.count == 5000)
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `a client that catches up and does not read costs no more than its backlog`() async throws
    {
        try await onOwnThread {
            let database = try TestDatabase()
            let limit = 64 << 10
            let service = try ServiceProcess(
                database: database.url,
                [
                    "--max-backlog-bytes", String(limit), "--ring-bytes", "0", "--slow-grace",
                    "60s",
                ])
            let watcher = try StreamClient(service.port)
            try database.run(
                "INSERT INTO tasks (title, message) SELECT i, repeat(md5(i::text), 250) FROM generate_series(1, 900) i"
            )
            #expect(try watcher.events(900).count == 900)
            let slow = try (0..<2).map { _ in
                try StreamClient(service.port, "since=earliest", isSlow: true)
            }
            func backlogs() throws -> [Int] {
                let list = try HTTPClient.get(service.opsPort, "/admin/connections").json
                return (list["connections"] as? [[String: Any]] ?? []).compactMap {
                    $0["unsent_bytes"] as? Int
                }
            }
            try eventually("they do not keep up") {
                try backlogs().count { $0 > 0 } == 2 ? true : nil
            }
            #expect(try backlogs().allSatisfy { $0 < limit + 20_000 })
            let ids = try database.ids()
            for stream in slow { #expect(try stream.events(900).map(\.lastEventID) == ids) }
        }
    }

    @Test(.timeLimit(.minutes(2)))
    func `a client that stops reading falls behind, loses nothing, and ends with slow in the end`()
        async throws
    {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(
                database: database.url,
                [
                    "--max-backlog-bytes", "64KiB", "--ring-bytes", "256KiB", "--slow-grace", "4s",
                    "--log-level", "debug",
                ])
            let slow = try StreamClient(service.port, isSlow: true)
            let other = try StreamClient(service.port)
            let insert =
                "INSERT INTO tasks (title, message) SELECT 'row ' || i, repeat('x', 500) FROM generate_series(1, 8000) i"
            try database.run(insert)
            #expect(try other.events(8000).count == 8000, "the others do not wait")
            try eventually("it fell behind") {
                service.log.contains("stream: fell behind") ? true : nil
            }
            #expect(try slow.events(8000).map(\.lastEventID) == (try database.ids()))
            #expect(try service.kilobytes("VmRSS") < 120_000)
            // Now it reads nothing at all.
            try database.run(insert)
            _ = try other.events(8000)
            try eventually("it was ended", within: 20) {
                service.log.contains("reason=slow") ? true : nil
            }
            #expect(try HTTPClient.get(service.port, "/readyz").status == 200)
        }
    }
}
