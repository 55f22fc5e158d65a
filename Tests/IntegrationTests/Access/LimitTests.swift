import EventCore
import Foundation
import TestSupport
import Testing

@Suite struct `Limits of access` {
    private static func status(
        _ service: ServiceProcess, _ fields: [String], target: String = "/api/v1/events/history"
    ) throws -> HTTPAnswer {
        try HTTPClient.get(service.port, target, fields: fields)
    }

    private static func isTooMany(_ answer: HTTPAnswer, _ kind: String) -> Bool {
        answer.status == 429 && (Int(answer.fields["retry-after"] ?? "") ?? 0) > 0
            && answer.fields["content-type"] == "application/problem+json"
            && (answer.json["type"] as? String)?.hasSuffix(":" + kind) == true
    }

    @Test(.timeLimit(.minutes(1)))
    func `a user has so many streams, over all loops, and gives them back`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try Issuer.service(
                database, ["--max-connections-per-user", "5", "--workers", "3"])
            let fields = Issuer.bearer(Issuer.token(["sub": "ann"]))
            var streams = try (0..<5).map { _ in try StreamClient(service.port, fields: fields) }
            #expect(streams.allSatisfy { $0.answer.status == 200 })
            for target in ["/api/v1/events/stream", "/api/v1/events/history?wait=5"] {
                let refused = try Self.status(service, fields, target: target)
                #expect(Self.isTooMany(refused, "too-many-streams"), "\(refused)")
            }
            #expect(
                try Self.status(service, fields).status == 200, "what does not last is no stream")
            let other = try StreamClient(
                service.port, fields: Issuer.bearer(Issuer.token(["sub": "bob"])))
            #expect(other.answer.status == 200)
            for _ in 0..<30 {
                let nameless = try StreamClient(
                    service.port, fields: Issuer.bearer(Issuer.token([:])))
                #expect(nameless.answer.status == 200, "a token without sub is no user")
            }
            try database.run("INSERT INTO tasks (title, user_id) VALUES ('x', 'ann')")
            for stream in streams { #expect(try stream.events(1).count == 1, "nobody is evicted") }
            streams.removeLast(2)
            for _ in 0..<2 {
                streams.append(
                    try eventually("a place is free") {
                        let stream = try StreamClient(service.port, fields: fields)
                        return stream.answer.status == 200 ? stream : nil
                    })
            }
            #expect(try StreamClient(service.port, fields: fields).answer.status == 429)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `an address has so many streams, the client's where a proxy is trusted`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            for auth in ["required", "none"] {
                let service = try ServiceProcess(
                    database: database.url,
                    ["--max-connections-per-address", "3", "--trusted-proxies", "127.0.0.0/8"],
                    auth: auth, environment: ["EVENT_SERVICE_JWT_SECRET": Issuer.secret])
                let token = Issuer.bearer(Issuer.token([:]))
                func open(_ forwarded: String?) throws -> StreamClient {
                    try StreamClient(
                        service.port,
                        fields: token + (forwarded.map { ["X-Forwarded-For: \($0)"] } ?? []))
                }
                var streams: [StreamClient] = []
                for address in ["9.9.9.9", "8.8.8.8", nil, "2001:db8::1"] {
                    for number in 0..<4 {
                        // Within a /64 an address is as good as any other.
                        let given = address.map { $0.hasSuffix("::1") ? "2001:db8::\(number)" : $0 }
                        let stream = try open(given)
                        #expect(
                            stream.answer.status == (number < 3 ? 200 : 429), "\(address ?? "")")
                        streams.append(stream)
                    }
                }
                // What a client puts in front of the proxy's own word changes nothing.
                #expect(try open("1.1.1.1, 9.9.9.9").answer.status == 429)
            }
            let untrusted = try Issuer.service(database, ["--max-connections-per-address", "1"])
            let token = Issuer.bearer(Issuer.token([:]))
            let first = try StreamClient(untrusted.port, fields: token)
            #expect(first.answer.status == 200)
            for field in ["X-Forwarded-For: 9.9.9.9", "Forwarded: for=9.9.9.9"] {
                let second = try StreamClient(untrusted.port, fields: token + [field])
                #expect(
                    second.answer.status == 429, "a field that anybody can send is not believed")
            }
            withExtendedLifetime(first) {}
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `an address opens streams, and a user publishes, at a rate`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try Issuer.service(
                database, ["--connect-rate", "10/h", "--publish-rate", "10/h"])
            let token = Issuer.token([
                "sub": "ann", "scope": "events:read events:publish", "publish_audiences": ["*"],
            ])
            let answers = try (0..<12).map { _ in
                try StreamClient(service.port, fields: Issuer.bearer(token)).answer
            }
            #expect(answers.prefix(10).allSatisfy { $0.status == 200 })
            #expect(answers.suffix(2).allSatisfy { $0.status == 429 })
            let late = try Self.status(service, [], target: "/api/v1/events/stream")
            #expect(Self.isTooMany(late, "connecting-too-fast"))
            #expect((340...360).contains(Int(late.fields["retry-after"] ?? "") ?? 0))
            #expect(try Self.status(service, Issuer.bearer(token)).status == 200)

            func publish(_ count: Int, as token: String) throws -> HTTPAnswer {
                let item = #"{"type":"a.b","audience":["*"],"data":1}"#
                return try HTTPClient.request(
                    service.port, "POST", "/api/v1/events",
                    fields: Issuer.bearer(token) + ["Content-Type: application/json"],
                    body: "[" + (0..<count).map { _ in item }.joined(separator: ",") + "]")
            }
            #expect(try publish(4, as: token).status == 202)
            #expect(try publish(4, as: token).status == 202)
            #expect(try publish(4, as: token).status == 202, "a batch may owe")
            #expect(Self.isTooMany(try publish(1, as: token), "publishing-too-fast"))
            let other = Issuer.token([
                "sub": "bob", "scope": "events:publish", "publish_audiences": ["*"],
            ])
            #expect(try publish(1, as: other).status == 202)
            let session = Issuer.token([
                "sid": "ann", "scope": "events:publish", "publish_audiences": ["*"],
            ])
            #expect(try publish(1, as: session).status == 202, "a session is not a user")
            let nameless = Issuer.token(["scope": "events:publish", "publish_audiences": ["*"]])
            #expect(try publish(10, as: nameless).status == 202)
            #expect(
                Self.isTooMany(try publish(1, as: nameless), "publishing-too-fast"),
                "who has no name is counted by address")
            #expect(
                try eventually("sequenced") {
                    let count = try database.ids().count
                    return count == 24 ? count : nil
                } == 24)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `who fails too often is slowed down, and a good token never is`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try Issuer.service(
                database, ["--auth-failure-rate", "20/h", "--trusted-proxies", "127.0.0.1"])
            let good = Issuer.bearer(Issuer.token(["sub": "ann"]))
            let bad = Issuer.bearer(
                Issuer.token(["sub": "ann"], key: SigningKey("HS256", bits: 256)))
            var statuses: [Int] = []
            for attempt in 0..<25 {
                statuses.append(try Self.status(service, attempt % 2 == 0 ? bad : []).status)
            }
            #expect(statuses == Array(repeating: 401, count: 20) + Array(repeating: 429, count: 5))
            #expect(Self.isTooMany(try Self.status(service, bad), "too-many-failures"))
            for _ in 0..<30 { #expect(try Self.status(service, good).status == 200) }
            let elsewhere = bad + ["X-Forwarded-For: 9.9.9.9"]
            #expect(try Self.status(service, elsewhere).status == 401, "each address for itself")
            #expect(try Self.status(service, good + ["X-Forwarded-For: 9.9.9.9"]).status == 200)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a user's tickets that wait are bounded`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try Issuer.service(database)
            let token = Issuer.token(["sub": "ann"])
            for _ in 0..<100 { _ = try Issuer.ticket(service.port, token) }
            let refused = try HTTPClient.request(
                service.port, "POST", "/api/v1/auth/sse-token", fields: Issuer.bearer(token))
            #expect(Self.isTooMany(refused, "too-many-tickets"))
            _ = try Issuer.ticket(service.port, Issuer.token(["sub": "bob"]))
        }
    }
}
