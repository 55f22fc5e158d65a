import EventCore
import Foundation
import TestSupport
import Testing

@Suite struct `Pages of other origins` {
    private static let origin = "https://app.example"

    private static func service(_ database: TestDatabase) throws -> ServiceProcess {
        try Issuer.service(
            database, ["--allowed-origins", "\(origin),http://localhost:3000", "--demo"])
    }

    @Test(.timeLimit(.minutes(1)))
    func `every answer to an allowed origin can be read, errors too`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try Self.service(database)
            let token = Issuer.bearer(Issuer.token(["sub": "ann"]))
            let requests: [(method: String, target: String, fields: [String], status: Int)] = [
                ("GET", "/api/v1/events/history", token, 200),
                ("HEAD", "/api/v1/events/stream", token, 200),
                ("GET", "/api/v1/events/history", [], 401),
                ("GET", "/api/v1/events/history?context=x", token, 403),
                ("GET", "/api/v1/events/1-1", token, 404), ("GET", "/nothing", [], 404),
                ("DELETE", "/api/v1/events", token, 405),
                ("GET", "/api/v1/events/history", token + ["Accept: image/png"], 406),
                ("GET", "/api/v1/events/history?limit=x", token, 400),
                ("POST", "/api/v1/events", token, 403), ("GET", "/readyz", [], 200),
                ("GET", "/demo/demo.js", [], 200), ("POST", "/api/v1/auth/sse-token", token, 200),
                ("POST", "/api/v1/events", ["Content-Length: 9999999"], 413),
                ("GET", "/", ["X: " + String(repeating: "a", count: 20_000)], 431),
                ("GET", "/", ["Content-Length: x"], 400),
            ]
            for request in requests {
                for (origin, isAllowed) in [
                    (Self.origin, true), ("http://localhost:3000", true),
                    ("https://evil.example", false),
                    ("null", false), ("https://app.example.evil.example", false),
                ] {
                    let answer = try HTTPClient.request(
                        service.port, request.method, request.target,
                        fields: ["Origin: \(origin)"] + request.fields)
                    #expect(answer.status == request.status, "\(request)")
                    let allowed = answer.fields["access-control-allow-origin"]
                    #expect(allowed == (isAllowed ? origin : nil), "\(request) \(origin)")
                    #expect(answer.fields["vary"] == "Origin", "\(request)")
                    #expect(answer.fields["access-control-allow-credentials"] == nil)
                    #expect(
                        (answer.fields["access-control-expose-headers"]
                            == "Retry-After, X-Request-Id")
                            == isAllowed)
                }
            }
            let stream = try StreamClient(
                service.port, fields: token + ["Origin: \(Self.origin)"])
            #expect(stream.answer.fields["access-control-allow-origin"] == Self.origin)
            let ops = try HTTPClient.get(
                service.opsPort, "/readyz", fields: ["Origin: \(Self.origin)"])
            #expect(ops.fields["access-control-allow-origin"] == nil)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a preflight needs no token and says what the list says`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try Self.service(database)
            for (target, methods) in [
                ("/api/v1/events/stream", "GET, HEAD, OPTIONS"),
                ("/api/v1/events", "POST, OPTIONS"),
                ("/api/v1/auth/sse-token", "POST, OPTIONS"),
            ] {
                for (origin, isAllowed) in [
                    (Self.origin, true), ("https://evil.example", false), ("null", false),
                ] {
                    let answer = try HTTPClient.request(
                        service.port, "OPTIONS", target,
                        fields: [
                            "Origin: \(origin)",
                            "Access-Control-Request-Method: \(methods.prefix(3))",
                            "Access-Control-Request-Headers: authorization,last-event-id",
                        ])
                    #expect(answer.status == 204 && answer.body.isEmpty)
                    let names = ["allow-origin", "allow-methods", "allow-headers", "max-age"]
                    let values = names.map { answer.fields["access-control-" + $0] }
                    #expect(
                        values
                            == (isAllowed
                                ? [
                                    origin, methods,
                                    "authorization, last-event-id, content-type, traceparent",
                                    "7200",
                                ]
                                : [nil, nil, nil, nil]))
                    #expect(answer.fields["vary"] == "Origin")
                }
            }
            let without = try Issuer.service(database)
            let answer = try HTTPClient.request(
                without.port, "OPTIONS", "/api/v1/events/stream",
                fields: ["Origin: \(Self.origin)", "Access-Control-Request-Method: GET"])
            #expect(answer.status == 204)
            #expect(!answer.fields.keys.contains { $0.hasPrefix("access-control") || $0 == "vary" })
        }
    }

    @Test(arguments: [
        "null", "app.example", "https://app.example/", "https://app.example:443", "ftp://a",
        "https://*.example",
        "https://APP.example", "* ,x",
    ])
    func `an origin that no browser sends stops the start`(_ origin: String) throws {
        let run = try ToolRun(["serve", "--allowed-origins", origin])
        #expect(run.status == 2)
        #expect(run.error.contains("--allowed-origins") && run.error.contains("without a path"))
    }
}

@Suite struct `Response hygiene` {
    @Test(.timeLimit(.minutes(1)))
    func `no encoding of dots leads out of the files`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let ups = [
                "..", "%2e%2e", "%2E%2E", ".%2e", "%2e.", "..%2f..", "..%5c..", "..\\..",
                "%252e%252e", "....//",
                "..;", "%c0%ae%c0%ae", "..%00", "%2e%2e%2f", ".", "/", "//..", "..%20",
                "%ef%bc%8e%ef%bc%8e",
                "%uff0e%uff0e",
            ]
            let wanted = [
                "etc/passwd", "package.json", "Package.swift", "README.md", "demo/index.html",
            ]
            for base in ["/", "/demo/", "/client/", "/demo/../"] {
                for up in ups {
                    for depth in [1, 2, 6] {
                        let climb = Array(repeating: up, count: depth).joined(separator: "/")
                        for file in wanted {
                            let target = base + climb + "/" + file
                            let answer = try HTTPClient.get(service.port, target)
                            #expect([400, 404].contains(answer.status), "\(target)")
                            #expect(
                                !answer.text.contains("root:")
                                    && !answer.text.contains("swift-tools"))
                        }
                    }
                }
            }
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a request keeps a harmless name, and gets one otherwise`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try Issuer.service(database, ["--log-level", "debug"])
            for given in ["r-1", "A.b_c", String(repeating: "x", count: 64)] {
                let answer = try HTTPClient.get(
                    service.port, "/api/v1/events/history", fields: ["X-Request-Id: \(given)"])
                #expect(answer.fields["x-request-id"] == given)
                #expect(answer.json["request_id"] as? String == given)
                #expect(service.log.contains("request=\(given)"), "the log names it")
            }
            for given in [
                "", "a b", "a\"b", "ä", "<x>", String(repeating: "x", count: 65), "a,b", "a;b",
            ] {
                let answer = try HTTPClient.get(
                    service.port, "/readyz", fields: ["X-Request-Id: \(given)"])
                let name = try #require(answer.fields["x-request-id"])
                #expect(name != given && !name.isEmpty)
            }
        }
    }
}
