import EventCore
import Foundation
import TestSupport
import Testing

@Suite struct `Admin interface` {
    private static func connections(_ service: ServiceProcess, _ fields: [String]) throws
        -> [[String: Any]]
    {
        let answer = try HTTPClient.get(service.opsPort, "/admin/connections", fields: fields)
        guard answer.status == 200 else { throw TestFailure(answer.text) }
        return answer.json["connections"] as? [[String: Any]] ?? []
    }

    @Test(.timeLimit(.minutes(1)))
    func `streams are listed, and ended by user, session or id`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try Issuer.service(database, ["--workers", "2"])
            let admin = Issuer.bearer(Issuer.token(["scope": "events:admin"]))
            let streams = try [("ann", "s1"), ("ann", "s2"), ("bob", "s3"), ("carl", "s4")].map {
                try `Revoked tokens`.stream(service, ["sub": $0.0, "sid": $0.1])
            }
            let list = try Self.connections(service, admin)
            #expect(list.map { $0["user"] as? String } == ["ann", "ann", "bob", "carl"])
            #expect(list.map { $0["session"] as? String } == ["s1", "s2", "s3", "s4"])
            for entry in list {
                #expect(
                    Set(entry.keys) == [
                        "id", "user", "session", "address", "since", "cursor", "unsent_bytes",
                    ])
                #expect(entry["address"] as? String == "127.0.0.1")
                #expect((entry["cursor"] as? String).flatMap { Cursor($0) } != nil)
                #expect(entry["unsent_bytes"] as? Int == 0)
                #expect((entry["since"] as? String).flatMap { Timestamp(rfc3339: $0) } != nil)
            }
            func end(_ query: String) throws -> Int? {
                try HTTPClient.request(
                    service.opsPort, "DELETE", "/admin/connections?\(query)", fields: admin
                ).json["ended"] as? Int
            }
            #expect(try end("user=ann&session=s2") == 1)
            #expect(try streams[1].next("stream.end").json["reason"] as? String == "shutdown")
            #expect(try end("user=ann") == 1)
            #expect(try streams[0].next("stream.end").json["reason"] as? String == "shutdown")
            let id = try #require(list[2]["id"] as? String)
            #expect(try end("id=\(id)") == 1)
            #expect(try end("id=\(id)") == 0)
            try database.run("SELECT event_service.publish('a.b', '1', '{*}')")
            #expect(try streams[3].events(1).count == 1, "who was not meant stays")
            #expect(try Self.connections(service, admin).map { $0["user"] as? String } == ["carl"])
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `only operators may, on the ops listener, and must say which`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try Issuer.service(database)
            let admin = Issuer.bearer(Issuer.token(["sub": "root", "scope": "events:admin"]))
            let reader = Issuer.bearer(Issuer.token(["sub": "ann"]))
            let path = "/admin/connections"
            let rows: [(port: UInt16, method: String, target: String, [String], status: Int)] = [
                (service.opsPort, "GET", path, [], 401),
                (service.opsPort, "GET", path, reader, 403),
                (service.opsPort, "GET", path, admin, 200),
                (service.opsPort, "DELETE", path + "?user=ann", [], 401),
                (service.opsPort, "DELETE", path + "?user=ann", reader, 403),
                (service.opsPort, "DELETE", path + "?user=ann", admin, 200),
                (service.opsPort, "DELETE", path, admin, 400),
                (service.opsPort, "DELETE", path + "?usr=ann", admin, 400),
                (service.opsPort, "POST", path, admin, 405),
                (service.port, "GET", path, admin, 404),
                (service.port, "DELETE", path + "?user=ann", admin, 404),
            ]
            for (port, method, target, fields, status) in rows {
                let answer = try HTTPClient.request(port, method, target, fields: fields)
                #expect(answer.status == status, "\(method) \(target)")
            }
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `top shows what the service does, and says when there is none`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let stream = try StreamClient(service.port)
            _ = try stream.next("stream.live")
            let url = "http://127.0.0.1:\(service.opsPort)"
            let top = try ToolRun(["top", "--once", "--interval", "100ms", "--url", url])
            #expect(top.status == 0)
            #expect(top.output.hasPrefix("event-service  ready, sequences"))
            #expect(top.output.contains("open 1 "))
            #expect(!top.output.contains("\u{1B}"), "a pipe gets no control characters")
            let wrong = try ToolRun(["top", "--url", "http://127.0.0.1:\(service.port)"])
            #expect(wrong.status == 1)
            #expect(wrong.error.contains("404"))
            #expect(try ToolRun(["top", "--url", "http://127.0.0.1:1"]).status == 1)
            #expect(try ToolRun(["top", "--interval", "0"]).status == 2)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `top goes on when the service comes back`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let output = FileManager.default.temporaryDirectory.path + "/top-\(UUID())"
            defer { try? FileManager.default.removeItem(atPath: output) }
            let ops = "127.0.0.1:\(service.opsPort)"
            let top = try ChildProcess(
                ToolRun.executable.path, ["top", "--interval", "100ms", "--url", "http://\(ops)"],
                environment: ToolRun.cleanEnvironment, output: output)
            defer { Self.end(top) }
            func wait(for text: String, after shown: Int = 0) throws -> Int {
                try eventually("top shows: \(text)") {
                    let all = try String(contentsOfFile: output, encoding: .utf8)
                    return all.dropFirst(shown).contains(text) ? all.count : nil
                }
            }
            _ = try wait(for: "ready, sequences")
            service.kill()
            let shown = try wait(for: "no answer, trying again")
            let again = try ChildProcess(
                ToolRun.executable.path,
                [
                    "serve", "--auth", "none", "--listen", "127.0.0.1:0", "--ops-listen", ops,
                    "--database-url", database.url, "--log-level", "error",
                ], environment: ToolRun.cleanEnvironment)
            defer { Self.end(again) }
            _ = try wait(for: "ready, sequences", after: shown)
            #expect(top.isRunning)
        }
    }

    private static func end(_ process: ChildProcess) {
        process.signal(SIGKILL)
        process.wait()
    }
}
