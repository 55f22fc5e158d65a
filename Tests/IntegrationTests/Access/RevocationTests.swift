import EventCore
import Foundation
import TestSupport
import Testing

@testable import EventService

@Suite struct `Revoked tokens` {
    /// The bar is a second; what is measured is printed, what is held is generous.
    @Test(.timeLimit(.minutes(3)))
    func `a revocation ends streams on two nodes, 100 times of 100`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let nodes = [try Issuer.service(database), try Issuer.service(database)]
            let admin = try database.connect()
            let bystanders = try nodes.map {
                try Self.stream($0, ["sub": "bystander", "sid": "other"])
            }
            var longest = 0.0
            for round in 0..<100 {
                let claims: [String: Any] = [
                    "sub": "u\(round)", "sid": "s\(round)", "jti": "t\(round)",
                ]
                let streams = try nodes.map { try Self.stream($0, claims) }
                let call = [
                    "'u\(round)'", "session_id => 's\(round)'", "token_id => 't\(round)'",
                    "'u\(round)', 's\(round)'", "'u\(round)', 's\(round)', 't\(round)'",
                ][round % 5]
                try admin.run("revoke", "SELECT event_service.revoke(\(call))")
                let began = Date()
                for stream in streams {
                    let end = try stream.next("stream.end", within: 10)
                    #expect(end.json["reason"] as? String == "revoked")
                    longest = max(longest, Date().timeIntervalSince(began))
                }
            }
            print("revocation: longest of 100 on two nodes \(Int(longest * 1000)) ms")
            #expect(longest < 5)
            try database.run("SELECT event_service.publish('a.b', '1', '{*}')")
            for stream in bystanders { #expect(try stream.events(1).count == 1) }
        }
    }

    /// Opens a stream and waits until it is live.
    static func stream(_ service: ServiceProcess, _ claims: [String: Any]) throws -> StreamClient {
        let stream = try StreamClient(
            service.port, fields: Issuer.bearer(Issuer.token(claims)))
        guard stream.answer.status == 200 else { throw TestFailure(stream.answer.text) }
        _ = try stream.next("stream.live")
        return stream
    }

    private static func status(_ service: ServiceProcess, _ claims: [String: Any]) throws -> Int {
        try HTTPClient.get(
            service.port, "/api/v1/events/history", fields: Issuer.bearer(Issuer.token(claims))
        ).status
    }

    @Test(.timeLimit(.minutes(1)))
    func `tokens up to the second of the call are refused, also after restarts`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let first = try Issuer.service(database)
            let old: [String: Any] = ["sub": "ann", "jti": "j", "iat": Issuer.now() - 10]
            #expect(try Self.status(first, old) == 200)
            try database.run("SELECT event_service.revoke('ann')")
            let second = Int(
                try database.value(
                    "SELECT floor(extract(epoch FROM at))::text FROM event_service.revocation"))
            let revoked = try #require(second)
            try eventually("the node has heard") { try Self.status(first, old) == 401 ? true : nil }
            let rows: [(claims: [String: Any], status: Int)] = [
                (["sub": "ann", "iat": revoked - 1], 401), (["sub": "ann", "iat": revoked], 401),
                (["sub": "ann", "iat": Double(revoked) + 0.9], 401),
                (["sub": "ann", "iat": NSNull()], 401), (["sub": "ann", "iat": revoked + 1], 200),
                (["sub": "anna", "iat": revoked - 1], 200),
                (["sid": "ann", "iat": revoked - 1], 200),
                (["sub": "Ann", "iat": NSNull()], 200),
            ]
            // From the next second on new tokens are good; a clock that is ahead is within the leeway.
            let again = try Issuer.service(database)
            for service in [first, again] {
                for row in rows {
                    #expect(try Self.status(service, row.claims) == row.status, "\(row.claims)")
                }
            }
            try database.run("SELECT event_service.revoke(token_id => 'k')")
            let late: [String: Any] = ["sub": "bob", "jti": "k", "iat": revoked + 20]
            try eventually("whatever its iat") { try Self.status(first, late) == 401 ? true : nil }
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a revocation is heard of without its notification`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try Issuer.service(database)
            let stream = try Self.stream(service, ["sub": "ann"])
            let waiting = try ClientSocket(port: service.port)
            try waiting.send(
                "GET /api/v1/events/history?wait=30 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                    + Issuer.bearer(Issuer.token(["sub": "ann"]))[0] + "\r\n\r\n")
            let began = Date()
            // What revoke() does, but for NOTIFY.
            try database.run("INSERT INTO event_service.revocation (user_id) VALUES ('ann')")
            #expect(try stream.next("stream.end").json["reason"] as? String == "revoked")
            print(
                "revocation without notification: \(Int(Date().timeIntervalSince(began) * 1000)) ms"
            )
            let answer = try HTTPAnswer.read(try waiting.receiveToEnd()).answer
            #expect(answer.status == 401, "who waits for history is told as well")
        }
    }

    /// What opens is not in the hub yet when the node hears of the revocation, so nothing ends it there.
    @Test(.timeLimit(.minutes(1)))
    func `what is being opened when its token is revoked is refused`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try Issuer.service(database, ["--ring-bytes", "0", "--workers", "1"])
            try database.run("SELECT event_service.publish('a.b', '1', '{*}')")
            let id = try eventually("sequenced") { try database.ids().first }
            let claims: [String: Any] = ["sub": "ann"]
            let token = Issuer.bearer(Issuer.token(claims))[0]
            let holder = try database.connect()
            try holder.runScript(
                "hold", "BEGIN; LOCK TABLE event_service.log IN ACCESS EXCLUSIVE MODE")
            var sockets: [ClientSocket] = []
            // The first two share one query for a page.
            for (target, queries) in [
                ("stream?since=earliest", 1), ("history?since=earliest&wait=5", 1), (id, 2),
            ] {
                let socket = try ClientSocket(port: service.port)
                try socket.send(
                    "GET /api/v1/events/\(target) HTTP/1.1\r\nHost: localhost\r\n\(token)\r\n\r\n")
                sockets.append(socket)
                try eventually("it waits for the log") {
                    let waiting = try database.value(
                        """
                        SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                        AND datname = current_database() AND query ~ 'replay|event_at'
                        """)
                    return waiting == "\(queries)" ? true : nil
                }
            }
            try database.run("SELECT event_service.revoke('ann')")
            try eventually("the node has heard") {
                try Self.status(service, claims) == 401 ? true : nil
            }
            try holder.run("let go", "COMMIT")
            for socket in sockets {
                let line = String(decoding: socket.receive()?.prefix(12) ?? [], as: UTF8.self)
                #expect(line == "HTTP/1.1 401")
            }
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `what was revoked while a node was cut off is applied when it is back`() async throws {
        try await onOwnThread {
            let cluster = try TestCluster()
            let run = try ToolRun(["migrate", "--database-url", cluster.url])
            #expect(run.status == 0, "\(run.error)")
            let service = try ServiceProcess(
                database: cluster.url, auth: "required",
                environment: ["EVENT_SERVICE_JWT_SECRET": Issuer.secret])
            let stream = try Self.stream(service, ["sub": "ann"])
            let other = try Self.stream(service, ["sub": "bob"])
            try cluster.stop()
            // New streams are served from memory meanwhile; nobody can revoke.
            try eventually("the loss is noticed") {
                try HTTPClient.get(service.port, "/readyz").status == 503 ? true : nil
            }
            #expect(
                try StreamClient(
                    service.port, fields: Issuer.bearer(Issuer.token(["sub": "ann"]))
                ).answer.status == 200)
            try cluster.start()
            let shell = try ToolRun(
                "/usr/bin/psql",
                ["-X", "-q", "-c", "SELECT event_service.revoke('ann')", cluster.url],
                ToolRun.cleanEnvironment)
            #expect(shell.status == 0, "\(shell.error)")
            #expect(try stream.next("stream.end").json["reason"] as? String == "revoked")
            #expect(other.takeWaiting().allSatisfy { $0.type != "stream.end" })
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a stream ends at the end of its token`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try Issuer.service(database)
            let exp = Issuer.now() + 3
            let claims: [String: Any] = ["sub": "ann", "exp": exp]
            let stream = try Self.stream(service, claims)
            let ticket = try Issuer.ticket(service.port, Issuer.token(claims))
            let byTicket = try StreamClient(service.port, "sse_token=" + ticket)
            for stream in [stream, byTicket] {
                let end = try stream.next("stream.end", within: 20)
                #expect(end.json["reason"] as? String == "expired")
                #expect(!end.lastEventID.isEmpty)
                #expect(Date().timeIntervalSince1970 >= Double(exp))
            }
            let page = try HTTPClient.get(
                service.port, "/api/v1/events/history?wait=30",
                fields: Issuer.bearer(Issuer.token(["sub": "ann", "exp": Issuer.now() + 2])),
            )
            #expect(page.status == 200 && (page.json["events"] as? [Any])?.isEmpty == true)
            let tooLong = Issuer.token(["sub": "ann", "exp": Issuer.now() + 31 * 86_400])
            let refused = try HTTPClient.get(
                service.port, "/api/v1/events/history", fields: Issuer.bearer(tooLong))
            #expect(refused.status == 401)
            #expect(refused.text.contains("max_token_lifetime"))
        }
    }
}

@Suite struct Tickets {
    @Test(.timeLimit(.minutes(1)))
    func `a ticket opens one stream, on any node, with the token's grants`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let nodes = [try Issuer.service(database), try Issuer.service(database)]
            let token = Issuer.token(["sub": "ann", "contexts": ["red"]])
            for (from, to) in [(0, 0), (0, 1), (1, 0)] {
                let ticket = try Issuer.ticket(nodes[from].port, token)
                let stream = try StreamClient(nodes[to].port, "context=red&sse_token=" + ticket)
                #expect(stream.answer.status == 200)
                for node in nodes {
                    let again = try StreamClient(node.port, "sse_token=" + ticket)
                    #expect(again.answer.status == 401, "once")
                }
                try database.run(
                    "INSERT INTO tasks (title, context) VALUES ('no', 'blue'), ('yes', 'red')")
                let event = try stream.events(1)[0]
                #expect((event.json["new"] as? [String: Any])?["title"] as? String == "yes")
            }
            let narrow = try Issuer.ticket(nodes[0].port, token)
            let other = try StreamClient(nodes[0].port, "context=blue&sse_token=" + narrow)
            #expect(other.answer.status == 403, "it grants no more than its token")
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `of many that come with one ticket at once one gets in`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let nodes = [try Issuer.service(database), try Issuer.service(database)]
            for _ in 0..<5 {
                let ticket = try Issuer.ticket(nodes[0].port, Issuer.token(["sub": "ann"]))
                let sockets = try (0..<20).map { try ClientSocket(port: nodes[$0 % 2].port) }
                for socket in sockets {
                    try socket.send(
                        "GET /api/v1/events/stream?sse_token=\(ticket) HTTP/1.1\r\nHost: localhost\r\n\r\n"
                    )
                }
                let statuses = sockets.map {
                    String(decoding: $0.receive()?.prefix(12) ?? [], as: UTF8.self)
                }
                #expect(statuses.count { $0 == "HTTP/1.1 200" } == 1)
                #expect(statuses.count { $0 == "HTTP/1.1 401" } == 19)
            }
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a ticket is void once its token is revoked`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try Issuer.service(database)
            for call in ["'ann'", "session_id => 's'", "token_id => 't'"] {
                let token = Issuer.token([
                    "sub": "ann", "sid": "s", "jti": "t", "iat": Issuer.now() - 5,
                ])
                try database.run("TRUNCATE event_service.revocation")
                let again = try Issuer.service(database)
                let ticket = try Issuer.ticket(again.port, token)
                try database.run("SELECT event_service.revoke(\(call))")
                #expect(try StreamClient(service.port, "sse_token=" + ticket).answer.status == 401)
            }
            #expect(try database.value("SELECT count(*) FROM event_service.ticket") == "0")
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `without tokens a ticket is given and ignored`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let answer = try HTTPClient.request(service.port, "POST", "/api/v1/auth/sse-token")
            #expect(answer.status == 200 && answer.json["expires_in"] as? Int == 60)
            #expect((answer.json["token"] as? String)?.utf8.count == 64)
            for query in [
                "sse_token=x.y.z", "sse_token=" + (answer.json["token"] as? String ?? ""),
            ] {
                #expect(try StreamClient(service.port, query).answer.status == 200)
            }
            let bad = try StreamClient(service.port, fields: Issuer.bearer("nonsense"))
            #expect(bad.answer.status == 200, "tokens are not read")
        }
    }
}
