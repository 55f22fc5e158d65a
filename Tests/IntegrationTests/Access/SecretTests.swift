import EventCore
import Foundation
import TestSupport
import Testing

@Suite struct Secrets {
    /// Whatever is said of a request, nothing secret is said: not in logs of any level and format, not in
    /// answers, not when the process dies.
    @Test(.timeLimit(.minutes(1)))
    func `secrets and tokens are in no log, no answer and no crash`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            try database.run("CREATE ROLE es_login LOGIN SUPERUSER PASSWORD 'database-password'")
            let url = database.url.replacing("//postgres@", with: "//es_login:database-password@")
            for format in ["text", "json"] {
                let service = try ServiceProcess(
                    database: url, ["--log-level", "trace", "--log-format", format],
                    auth: "required",
                    environment: ["EVENT_SERVICE_JWT_SECRET": Issuer.secret])
                let token = Issuer.token(["sub": format, "scope": "events:read"])
                let forged = Issuer.token(["sub": "ann"], key: SigningKey("HS256", bits: 256))
                let expired = Issuer.token(["sub": "ann", "exp": 5])
                let ticket = try Issuer.ticket(service.port, token)
                var answers: [String] = []
                for credential in [token, forged, expired, ticket] {
                    let ways: [(fields: [String], query: String)] = [
                        (Issuer.bearer(credential), ""),
                        (["Authorization: Basic \(credential)"], ""),
                        (
                            [
                                "Cookie: __Host-event-service=\(credential)",
                                "Origin: http://evil.example",
                            ], ""
                        ),
                        (["Cookie: __Host-event-service=\(credential)"], ""),
                        ([], "access_token=\(credential)"),
                        ([], "sse_token=\(credential)"),
                        (Issuer.bearer(credential), "sse_token=\(credential)"),
                        (["X: \(credential)"], ""),
                    ]
                    for way in ways {
                        // With a parameter that is wrong, so that no answer goes on for ever.
                        for target in [
                            "/api/v1/events/stream?gap=x&", "/api/v1/events/history?limit=x&",
                            "/api/v1/events/1-1?", "/nothing?",
                        ] {
                            let answer = try HTTPClient.get(
                                service.port, target + way.query, fields: way.fields)
                            answers.append("\(answer.fields) \(answer.text)")
                        }
                    }
                }
                try database.run("SELECT event_service.revoke('\(format)')")
                try eventually("refused") {
                    try HTTPClient.get(
                        service.port, "/api/v1/events/history", fields: Issuer.bearer(token)
                    ).status == 401 ? true : nil
                }
                // Dies with a token in its hands.
                let dying = try StreamClient(
                    service.port,
                    fields: Issuer.bearer(Issuer.token(["sub": "bob", "iat": Issuer.now() + 5])))
                #expect(dying.answer.status == 200)
                service.signal(SIGSEGV)
                try eventually("it has ended") { service.isRunning ? nil : true }
                let everything = service.log + answers.joined()
                #expect(service.log.contains("auth: refused") && service.log.contains("listening"))
                for (name, secret) in [
                    ("jwt_secret", Issuer.secret), ("the password", "database-password"),
                    ("a token", token), ("a forged token", forged), ("an old token", expired),
                    ("a ticket", ticket),
                ] {
                    // Of a token its signature, without which the rest is worth nothing.
                    let core = secret.split(separator: ".").last.map(String.init) ?? secret
                    #expect(!everything.contains(core), "\(name), \(format)")
                }
            }
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `what stops the start does not show what it was given`() throws {
        let password = "postgresql://u:hunter2@127.0.0.1:1/x"
        for (arguments, environment) in [
            (["serve", "--jwt-secret", "hunter2"], [:]),
            (["serve"], ["EVENT_SERVICE_JWT_SECRET": "hunter2"]),
            (["serve", "--jwt-jwks", "http://u:hunter2@issuer.example/"], [:]),
            (["migrate", "--database-url", password], [:]),
        ] as [([String], [String: String])] {
            let run = try ToolRun(arguments, environment: environment)
            #expect(run.status != 0)
            #expect(!run.error.isEmpty)
            #expect(!(run.error + run.output).contains("hunter2"), "\(arguments): \(run.error)")
        }
    }
}
