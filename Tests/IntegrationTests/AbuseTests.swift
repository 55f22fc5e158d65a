import EventCore
import Foundation
import TestSupport
import Testing

@testable import EventService

@Suite struct `Limits and abuse` {
    @Test(.timeLimit(.minutes(5)))
    func `without descriptors accepting pauses, streams go on, and it recovers`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url, descriptorLimit: 240)
            let stream = try StreamClient(service.port)
            _ = try stream.next("stream.live")
            // The ops listener has no cap of its own: what it takes, the process lacks.
            var flood: [ClientSocket] = []
            for _ in 0..<400 { flood.append(try ClientSocket(port: service.opsPort)) }
            try eventually("no descriptor is left") {
                service.log.contains("no descriptor left") ? true : nil
            }
            try database.run("INSERT INTO tasks (title) VALUES ('meanwhile')")
            #expect(try stream.events(1)[0].type == "task.created")
            flood = []
            let back = try eventually("streams are opened again") { () -> StreamClient? in
                try? StreamClient(service.port, timeout: 2)
            }
            _ = try back.next("stream.live")
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `large bodies that do not end are refused before they take all memory`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url, ["--workers", "1"])
            let head =
                "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            let part = [UInt8](repeating: 0x20, count: 1_048_000)
            var flood: [ClientSocket] = []
            for _ in 0..<60 {
                let socket = try ClientSocket(port: service.port)
                flood.append(socket)
                try socket.send(head + "Content-Length: 1048576\r\n\r\n")
                // Refused, it is reset while it goes on to send.
                try? socket.send(part)
            }
            let event = #"{"type":"a.b","audience":["*"],"data":1}"#
            func publish(after blanks: Int = 0) throws -> Int {
                try HTTPClient.request(
                    service.port, "POST", "/api/v1/events",
                    fields: ["Content-Type: application/json"],
                    body: String(repeating: " ", count: blanks) + event
                ).status
            }
            // 32 fit, and 18 KiB.
            for socket in flood { socket.setTimeout(milliseconds: 20) }
            var waiting = flood
            try eventually("the others are refused") {
                waiting = waiting.filter { $0.receive() == nil }
                return waiting.count == 32 ? true : nil
            }
            #expect(try publish(after: 100_000) == 503)
            #expect(try service.kilobytes("VmRSS") < 120_000)
            #expect(try publish() == 202, "small ones go on")
            (flood, waiting) = ([], [])
            try eventually("large ones, too, when those are gone") {
                try publish(after: 100_000) == 202 ? true : nil
            }
        }
    }

    @Test(.timeLimit(.minutes(3)))
    func `heads that drip are cut off, and delay nobody`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(
                database: database.url, ["--header-timeout", "1s", "--max-connections", "120"])
            let stream = try StreamClient(service.port)
            _ = try stream.next("stream.live")
            let drips = try (0..<100).map { _ in try ClientSocket(port: service.port) }
            let head = Array("GET /api/v1/events/stream HTTP/1.1\r\nHost: localhost\r\nX-A: ".utf8)
            let began = Date()
            for byte in head.prefix(25) {
                for drip in drips { try? drip.send([byte]) }
                usleep(60_000)
            }
            for drip in drips {
                let answer = String(decoding: try drip.receiveToEnd(), as: UTF8.self)
                #expect(answer.hasPrefix("HTTP/1.1 408 "))
            }
            #expect(Date().timeIntervalSince(began) < 20)
            try database.run("INSERT INTO tasks (title) VALUES ('meanwhile')")
            #expect(try stream.events(1).count == 1)
        }
    }

    @Test(.timeLimit(.minutes(3)))
    func `a thousand pipelined requests are answered in their order`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let socket = try ClientSocket(port: service.port)
            let requests = (0..<1000).map {
                "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: n\($0)\r\n\r\n"
            }
            try socket.send(requests.joined())
            var bytes: [UInt8] = []
            for number in 0..<1000 {
                while true {
                    if let (answer, rest) = try? HTTPAnswer.read(bytes) {
                        #expect(answer.fields["x-request-id"] == "n\(number)")
                        bytes = rest
                        break
                    }
                    bytes += socket.receive() ?? []
                }
            }
        }
    }

    @Test(.timeLimit(.minutes(3)))
    func `a stream whose client has ended its side is over, and leaves nothing`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let open = try service.descriptorCount()
            for _ in 0..<50 {
                let socket = try ClientSocket(port: service.port)
                try socket.send("GET /api/v1/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
                _ = socket.receive()
                socket.endSending()
                _ = try socket.receiveToEnd()
            }
            try eventually("no descriptor is left over") {
                try service.descriptorCount() <= open ? true : nil
            }
        }
    }

    @Test(.timeLimit(.minutes(5)))
    func `a slow stream is given only the newest of what conflates, and all else`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            try database.run(
                """
                SELECT event_service.watch('tasks', topic => 'task', columns => '{*}',
                    types => '{"status": "status-changed", "progress": "progress-updated"}',
                    user_column => 'user_id', conflate => '{progress-updated}');
                INSERT INTO tasks (title, message) VALUES ('large', repeat('x', 4000)), ('other', 'y');
                """)
            let service = try ServiceProcess(
                database: database.url,
                ["--max-backlog-bytes", "64KiB", "--log-level", "debug", "--slow-grace", "60s"])
            let start = 2
            try eventually("the rows are sequenced") {
                try database.ids().count == start ? true : nil
            }
            let slow = try StreamClient(service.port, isSlow: true)
            _ = try slow.next("stream.live")
            // 3,000 steps of progress of one row, with a change of status after each thousand.
            try database.run(
                """
                DO $$ BEGIN
                    FOR i IN 1..3000 LOOP
                        UPDATE tasks SET progress = i % 100 WHERE title = 'large';
                        IF i % 1000 = 0 THEN
                            UPDATE tasks SET status = CASE status WHEN 'running' THEN 'pending' ELSE 'running' END
                            WHERE title = 'large';
                        END IF;
                        COMMIT;
                    END LOOP;
                    UPDATE tasks SET progress = 77 WHERE title IN ('large', 'other');
                END $$
                """)
            let all = try eventually("all are sequenced") { () -> ArraySlice<String>? in
                let ids = try database.ids().dropFirst(start)
                return ids.count == 3005 ? ids : nil
            }
            try eventually("it fell behind") {
                service.log.contains("stream: fell behind") ? true : nil
            }
            var got: [EventStreamParser.Message] = []
            while got.last?.lastEventID != all.last { got += try slow.events(1) }
            #expect(got.count < 2900, "\(got.count) of 3005")
            let positions = got.compactMap { Cursor($0.lastEventID)?.position }
            #expect(positions == positions.sorted())
            #expect(got.filter { $0.type == "task.status-changed" }.count == 3)
            let newest = Dictionary(
                got.map { ($0.json["key"] as? String ?? "", $0) }, uniquingKeysWith: { $1 })
            #expect(newest.count == 2)
            for message in newest.values {
                #expect((message.json["new"] as? [String: Any])?["progress"] as? Int == 77)
            }
        }
    }
}
