import EventCore
import Foundation
import TestSupport
import Testing

@Suite struct `HTTP interface` {
    @Test(.timeLimit(.minutes(1)))
    func `requests that make no sense are told why`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let rows: [(method: String, target: String, fields: [String], status: Int)] = [
                ("GET", "/nothing", [], 404), ("POST", "/nothing", [], 404),
                ("GET", "/api/v1/events/", [], 404),
                ("GET", "/api/v1/events/1-1", [], 404), ("GET", "/api/v1/events/x", [], 404),
                ("GET", "/api/v2/events/stream", [], 404),
                ("GET", "/..%2f..%2fetc/passwd", [], 404),
                ("GET", "/%2e%2e/%2e%2e/etc/passwd", [], 404),
                ("GET", "/client/../../Package.swift", [], 404),
                ("GET", "/metrics", [], 404),
                ("POST", "/api/v1/events/stream", [], 405), ("DELETE", "/api/v1/events", [], 405),
                ("GET", "/api/v1/events", [], 405), ("PUT", "/readyz", [], 405),
                ("BREW", "/livez", [], 405),
                ("GET", "/api/v1/events/stream", ["Accept: application/json"], 406),
                ("GET", "/api/v1/events/history", ["Accept: text/event-stream"], 406),
                ("POST", "/api/v1/events", ["Content-Type: text/plain"], 415),
                ("POST", "/api/v1/events", [], 415),
                ("GET", "/api/v1/events/stream?since=x", [], 400),
                ("GET", "/api/v1/events/stream?gap=x", [], 400),
                ("GET", "/api/v1/events/stream?type=*x", [], 400),
                ("GET", "/api/v1/events/stream?a=%zz", [], 400),
                ("GET", "/api/v1/events/history?limit=0", [], 400),
                ("GET", "/api/v1/events/history?limit=1001", [], 400),
                ("GET", "/api/v1/events/history?wait=31", [], 400),
                ("GET", "/api/v1/events/history?since=", [], 400),
                ("GET", "/api/v1/events/history?key=a%00", [], 400),
                ("GET", "/api/v1/events/history?context=%00", [], 400),
                ("GET", "/", ["X: " + String(repeating: "a", count: 20_000)], 431),
                (
                    "POST", "/api/v1/events",
                    ["Content-Type: application/json", "Content-Length: 2000000"], 413
                ),
            ]
            for row in rows {
                let answer = try HTTPClient.request(
                    service.port, row.method, row.target, fields: row.fields)
                #expect(answer.status == row.status, "\(row.method) \(row.target)")
                #expect(answer.fields["content-type"] == "application/problem+json")
                #expect(answer.fields["x-request-id"] == answer.json["request_id"] as? String)
                #expect(answer.json["status"] as? Int == row.status)
                #expect((answer.json["detail"] as? String)?.isEmpty == false)
                #expect((answer.fields["allow"] != nil) == (row.status == 405))
            }
            #expect(try HTTPClient.get(service.port, "/readyz").status == 200)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `HEAD is GET without a body, and OPTIONS says what there is`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            for target in ["/readyz", "/livez", "/api/v1/events/history", "/", "/nothing"] {
                let (get, head) = (
                    try HTTPClient.get(service.port, target),
                    try HTTPClient.request(service.port, "HEAD", target)
                )
                #expect(get.status == head.status)
                #expect(head.body.isEmpty)
                #expect(get.fields["content-type"] == head.fields["content-type"])
            }
            let stream = try HTTPClient.request(service.port, "HEAD", "/api/v1/events/stream")
            #expect(stream.status == 200)
            #expect(stream.fields["content-type"] == "text/event-stream")
            #expect(stream.fields["content-length"] == nil)
            let options = try HTTPClient.request(service.port, "OPTIONS", "/api/v1/events")
            #expect(options.status == 204)
            #expect(options.fields["allow"] == "POST, OPTIONS")
            #expect(try HTTPClient.request(service.port, "OPTIONS", "*").status == 204)
            #expect(try HTTPClient.request(service.port, "OPTIONS", "/nothing").status == 404)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `without tokens only this machine is answered`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            for (host, status) in [
                ("localhost", 200), ("LOCALHOST:1", 200), ("127.0.0.1", 200), ("[::1]:8080", 200),
                ("evil.example", 421),
                ("127.0.0.1.evil.example", 421), ("localhost.", 421), ("", 421), ("10.0.0.1", 421),
            ] {
                let socket = try ClientSocket(port: service.port)
                try socket.send("GET /livez HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n")
                #expect(
                    try HTTPAnswer.read(try socket.receiveToEnd()).answer.status == status,
                    "\(host)")
            }
            let open = try ServiceProcess(database: database.url, ["--allow-insecure"])
            let answer = try HTTPClient.request(open.port, "GET", "/livez", fields: [])
            #expect(answer.status == 200)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `with tokens required, nothing is shown without one`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            for auth in ["required", nil] {
                let service = try ServiceProcess(database: database.url, auth: auth)
                for (method, target) in [
                    ("GET", "/api/v1/events/stream"), ("GET", "/api/v1/events/history"),
                    ("GET", "/api/v1/events/1-1"),
                    ("POST", "/api/v1/events"),
                ] {
                    for fields in [
                        [], ["Authorization: Bearer x.y.z"], ["Authorization: Basic YTpi"],
                    ] {
                        let answer = try HTTPClient.request(
                            service.port, method, target,
                            fields: fields + ["Content-Type: application/json"],
                            body: method == "POST"
                                ? #"{"type":"a.b","audience":["*"],"data":1}"# : nil)
                        #expect(answer.status == 401, "\(method) \(target)")
                        #expect(answer.fields["www-authenticate"]?.hasPrefix("Bearer") == true)
                    }
                }
                #expect(try HTTPClient.get(service.port, "/readyz").status == 200)
                #expect(try HTTPClient.get(service.port, "/").status == 404, "no demo")
            }
            #expect(try database.value("SELECT count(*) FROM event_service.inbox") == "0")
            #expect(try database.value("SELECT count(*) FROM event_service.log") == "0")
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `past the cap no stream is opened, live ones stay, and health is told`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url, ["--max-connections", "3"])
            let streams = try (0..<3).map { _ in
                try eventually("a stream") { () -> StreamClient? in
                    let stream = try StreamClient(service.port)
                    return stream.answer.status == 200 ? stream : nil
                }
            }
            for target in ["/api/v1/events/stream", "/api/v1/events/history?wait=5"] {
                let refused = try HTTPClient.get(service.port, target)
                #expect(refused.status == 503)
                #expect(refused.fields["retry-after"] != nil)
                #expect(refused.fields["content-type"] == "application/problem+json")
            }
            #expect(try HTTPClient.get(service.port, "/readyz").status == 200)
            #expect(try HTTPClient.get(service.opsPort, "/readyz").status == 200)
            try database.run("INSERT INTO tasks (title) VALUES ('x')")
            for stream in streams { #expect(try stream.events(1).count == 1) }
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `the page and its parts are served with a strict policy`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let page = try HTTPClient.get(service.port, "/")
            #expect(page.status == 200)
            #expect(page.fields["content-type"] == "text/html; charset=utf-8")
            #expect(page.fields["x-content-type-options"] == "nosniff")
            let policy = try #require(page.fields["content-security-policy"])
            #expect(policy.contains("default-src 'none'") && !policy.contains("unsafe"))
            #expect(!page.text.contains("<script>") && !page.text.contains("style="))
            for part in ["/demo/demo.js", "/demo/demo.css"] {
                #expect(page.text.contains(String(part.dropFirst())))
                let answer = try HTTPClient.get(service.port, part)
                #expect(answer.status == 200)
                let tag = try #require(answer.fields["etag"])
                let again = try HTTPClient.get(
                    service.port, part, fields: ["If-None-Match: \(tag)"])
                #expect(again.status == 304 && again.body.isEmpty)
            }
            let without = try ServiceProcess(database: database.url, ["--demo=false"])
            #expect(try HTTPClient.get(without.port, "/").status == 404)
        }
    }
}

@Suite struct History {
    @Test(.timeLimit(.minutes(1)))
    func `pages follow each other by their cursors`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            for ring in ["64MiB", "0"] {
                let service = try ServiceProcess(database: database.url, ["--ring-bytes", ring])
                let watcher = try StreamClient(service.port)
                try database.run(
                    "INSERT INTO tasks (title, context) SELECT 'x', chr(97 + i % 2) FROM generate_series(1, 250) i"
                )
                _ = try watcher.events(250)
                var since = "earliest"
                var seen: [String] = []
                var pages = 0
                while true {
                    let page = try HTTPClient.get(
                        service.port, "/api/v1/events/history?since=\(since)&limit=60&context=a"
                    ).json
                    let events = try #require(page["events"] as? [[String: Any]])
                    #expect(events.count <= 60)
                    #expect(page["reset"] is NSNull)
                    seen += events.compactMap { $0["id"] as? String }
                    since = try #require(page["next"] as? String)
                    pages += 1
                    if page["has_more"] as? Bool == false { break }
                }
                let expected = try database.column(
                    "SELECT id FROM event_service.events WHERE 'context:a' = ANY (audience) ORDER BY split_part(id, '-', 2)::bigint"
                )
                #expect(seen == expected)
                #expect(pages >= 3)
                #expect(since == (try database.value("SELECT event_service.cursor()")))
                let single = try HTTPClient.get(service.port, "/api/v1/events/\(seen[0])")
                #expect(single.json["id"] as? String == seen[0])
                #expect(single.json["op"] as? String == "insert")
            }
        }
    }

    @Test(.timeLimit(.minutes(3)))
    func `a page goes on where the log's pages end and the ring begins`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            try database.run("INSERT INTO tasks (title) SELECT 'before' FROM generate_series(1, 3)")
            do {
                let service = try ServiceProcess(database: database.url)
                try eventually("sequenced") { try database.ids().count == 3 ? true : nil }
                withExtendedLifetime(service) {}
            }
            // Its ring begins behind the three, so that they come from a page, which is then kept.
            let service = try ServiceProcess(database: database.url)
            func ids() throws -> [String] {
                let page = try HTTPClient.get(
                    service.port, "/api/v1/events/history?since=earliest")
                #expect(page.json["reset"] is NSNull)
                return (page.json["events"] as? [[String: Any]])?.compactMap { $0["id"] as? String }
                    ?? []
            }
            #expect(try ids() == (try database.ids()))
            try database.run("INSERT INTO tasks (title) SELECT 'after' FROM generate_series(1, 2)")
            let all = try eventually("all five") { () -> [String]? in
                let ids = try ids()
                return ids.count == 5 ? ids : nil
            }
            #expect(all == (try database.ids()))
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a page ends at a megabyte`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            try database.run(
                "INSERT INTO tasks (title, message) SELECT 'x', repeat('y', 50000) FROM generate_series(1, 50)"
            )
            try eventually("sequenced") { try database.ids().count == 50 ? true : nil }
            let page = try eventually("served") {
                let page = try HTTPClient.get(
                    service.port, "/api/v1/events/history?since=earliest&limit=1000")
                return page.json["has_more"] as? Bool == true ? page : nil
            }
            #expect(page.body.count < 1_100_000)
            let count = (page.json["events"] as? [Any])?.count ?? 0
            #expect((15...21).contains(count))
            #expect((page.json["next"] as? String)?.hasSuffix("-\(count)") == true)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `who waits gets the first event that it may see`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let empty = try HTTPClient.get(service.port, "/api/v1/events/history?wait=0.3")
            #expect((empty.json["events"] as? [Any])?.isEmpty == true)
            let since = try #require(empty.json["next"] as? String)
            let writer = WriterThread {
                usleep(300_000)
                try database.run("INSERT INTO tasks (title, context) VALUES ('not seen', 'b')")
                usleep(200_000)
                try database.run("INSERT INTO tasks (title, context) VALUES ('seen', 'a')")
            }
            let began = Date()
            let page = try HTTPClient.get(
                service.port, "/api/v1/events/history?since=\(since)&wait=20&context=a")
            try writer.join()
            #expect((0.4..<15).contains(Date().timeIntervalSince(began)))
            let events = try #require(page.json["events"] as? [[String: Any]])
            #expect(events.count == 1)
            #expect(page.json["next"] as? String == events[0]["id"] as? String)
            let at = try HTTPClient.get(
                service.port, "/api/v1/events/history?since=\(since)&wait=20&context=a")
            #expect((at.json["events"] as? [Any])?.count == 1, "what is there needs no wait")
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a database that fails at once is told at once, too`() async throws {
        try await onOwnThread {
            let cluster = try TestCluster()
            _ = try ToolRun(["migrate", "--database-url", cluster.url])
            // A socket that is not there refuses without a moment's wait.
            try cluster.run("ALTER SYSTEM SET unix_socket_directories = '/tmp'")
            try cluster.stop()
            try cluster.start()
            let service = try ServiceProcess(
                database: "host=/tmp port=\(cluster.port) user=postgres dbname=postgres",
                ["--ring-bytes", "0"])
            let stream = try StreamClient(service.port)
            try cluster.run("INSERT INTO tasks (title) VALUES ('1'), ('2')")
            let first = try stream.events(2)[0].lastEventID
            try cluster.stop("immediate")
            for _ in 0..<5 {
                #expect(
                    try HTTPClient.get(service.port, "/api/v1/events/history?since=\(first)").status
                        == 503)
            }
            #expect(service.terminate() == 0)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `who waits and goes gives the place back, who ends only its side is answered`()
        async throws
    {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(
                database: database.url,
                ["--max-connections-per-address", "2", "--workers", "1", "--ring-bytes", "0"])
            func ask(_ wait: Int, since: String = "now") throws -> ClientSocket {
                let socket = try ClientSocket(port: service.port)
                try socket.send(
                    "GET /api/v1/events/history?wait=\(wait)&since=\(since) HTTP/1.1\r\n"
                        + "Host: localhost\r\n\r\n")
                return socket
            }
            for _ in 0..<3 {
                var waiting = try [ask(30), ask(30)]
                try eventually("both wait") {
                    try HTTPClient.get(service.port, "/api/v1/events/history?wait=0.1").status
                        == 429
                        ? true : nil
                }
                waiting = []
                try eventually("both places are free", within: 10) {
                    try HTTPClient.get(service.port, "/api/v1/events/history?wait=0.1").status
                        == 200
                        ? true : nil
                }
                _ = waiting
            }
            // Also where the end comes while it is still looked up where the page begins.
            for since in ["now", "2000-01-01T00:00:00Z"] {
                let half = try ask(30, since: since)
                half.endSending()
                half.setTimeout(milliseconds: 10_000)
                let answer = try #require(half.receive())
                #expect(String(decoding: answer, as: UTF8.self).hasPrefix("HTTP/1.1 200"))
            }
        }
    }
}

@Suite struct Publishing {
    @Test(.timeLimit(.minutes(1)))
    func `what is published reaches streams, digits and all`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let stream = try StreamClient(service.port)
            let one = try HTTPClient.publish(
                service.port,
                #"{"type":"invoice.paid","audience":["user:7","context:x"],"data":{"amount":12.50,"n":12345678901234567890},"key":"i-1"}"#
            )
            #expect(one.status == 202)
            let id = try #require(
                (one.json["events"] as? [[String: Any]])?.first?["event_id"] as? String)
            let event = try stream.events(1)[0]
            #expect(event.type == "invoice.paid")
            #expect(event.json["event_id"] as? String == id)
            #expect(event.json["op"] as? String == "publish")
            #expect(event.json["key"] as? String == "i-1")
            #expect(event.data.contains("12.50") && event.data.contains("12345678901234567890"))
            let many = try HTTPClient.publish(
                service.port,
                #"[{"type":"a.b","audience":["*"],"data":null},{"type":"a.c","audience":["*"],"data":[1],"key":null}]"#
            )
            #expect((many.json["events"] as? [Any])?.count == 2)
            #expect(try stream.events(2).map(\.type) == ["a.b", "a.c"])
            #expect(try HTTPClient.publish(service.port, "[]").status == 202)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a repeated dedup_key adds nothing and gives the same id`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let body = #"{"type":"a.b","audience":["*"],"data":1,"dedup_key":"k"}"#
            let ids = try (0..<3).map { _ in
                (try HTTPClient.publish(service.port, body).json["events"] as? [[String: Any]])?
                    .first?["event_id"] as? String
            }
            #expect(Set(ids).count == 1 && ids[0] != nil)
            try eventually("sequenced") { try database.ids().count == 1 ? true : nil }
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `one bad item refuses all and is named`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let good = #"{"type":"a.b","audience":["*"],"data":1}"#
            for (bad, mention) in [
                (#"{"type":"a","audience":["*"],"data":1}"#, "item 1"),
                (#"{"type":"stream.x","audience":["*"],"data":1}"#, "item 1"),
                (#"{"type":"a.b","audience":[],"data":1}"#, "item 1"),
                (#"{"type":"a.b","audience":["u"],"data":1}"#, "item 1"),
                (#"{"type":"a.b","audience":"*","data":1}"#, "item 1: audience"),
                (#"{"type":"a.b","audience":["*"]}"#, "item 1: data is missing"),
                (#"{"audience":["*"],"data":1}"#, "item 1: type is missing"),
                (#"{"type":7,"audience":["*"],"data":1}"#, "item 1: type"),
                (#"{"type":"a.b","audience":["*"],"data":1,"dedupkey":"x"}"#, "item 1: dedupkey"),
                (
                    #"{"type":"a.b","audience":["*"],"data":["\\\u0000"]}"#,
                    "item 1: it holds U+0000"
                ),
                (#"{"type":"a.b","audience":["*"],"data":1,"key":"\u0000"}"#, "item 1: it holds"),
                ("7", "item 1"), ("null", "item 1"), ("[]", "item 1"),
            ] {
                let answer = try HTTPClient.publish(service.port, "[\(good),\(bad)]")
                #expect(answer.status == 400, "\(bad)")
                #expect(
                    (answer.json["detail"] as? String)?.contains(mention) == true,
                    "\(bad): \(answer.text)")
            }
            for bad in [
                "", "{", "[1", "nonsense", "7", "\"a\"", "{}", "[\(good),]", good + "x",
                "\u{FEFF}x",
            ] {
                #expect(try HTTPClient.publish(service.port, bad).status == 400, "\(bad)")
            }
            let many = "[" + Array(repeating: good, count: 1001).joined(separator: ",") + "]"
            #expect(try HTTPClient.publish(service.port, many).status == 400)
            #expect(try database.value("SELECT count(*) FROM event_service.inbox") == "0")
            #expect(try database.ids().isEmpty)
        }
    }
}
