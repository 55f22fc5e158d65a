import EventCore
import Foundation
import TestSupport
import Testing

@Suite struct `Key sets` {
    private static func service(
        _ database: TestDatabase, _ jwks: String, _ arguments: [String] = []
    ) throws -> ServiceProcess {
        try ServiceProcess(
            database: database.url, ["--jwt-jwks", jwks] + arguments, auth: "required")
    }

    private static func status(_ service: ServiceProcess, _ key: SigningKey) throws -> HTTPAnswer {
        try HTTPClient.get(
            service.port, "/api/v1/events/history",
            fields: Issuer.bearer(Issuer.token(["sub": "ann"], key: key)))
    }

    @Test(.timeLimit(.minutes(1)))
    func `each algorithm is accepted from a file, and a new file without a restart`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let keys = ["RS256", "PS256", "ES256", "HS256"].map {
                SigningKey($0, id: $0.lowercased(), bits: $0 == "HS256" ? 256 : 2048)
            }
            let path = FileManager.default.temporaryDirectory.path + "/\(UUID()).json"
            defer { try? FileManager.default.removeItem(atPath: path) }
            func write(_ keys: some Sequence<SigningKey>) throws {
                let set = SigningKey.set(keys.map { $0.jwk(private: $0.algorithm == "HS256") })
                try set.write(toFile: path, atomically: true, encoding: .utf8)
            }
            try write(keys.prefix(3))
            let service = try Self.service(database, path)
            for key in keys.prefix(3) { #expect(try Self.status(service, key).status == 200) }
            #expect(try Self.status(service, keys[3]).status == 401)
            try write(keys)
            #expect(
                try Self.status(service, keys[3]).status == 200, "read at once for an unknown kid")
            try "{".write(toFile: path, atomically: true, encoding: .utf8)
            #expect(try Self.status(service, SigningKey("ES256", id: "new")).status == 401)
            for key in keys { #expect(try Self.status(service, key).status == 200, "kept") }
            let broken = try ToolRun(["serve", "--jwt-jwks", path])
            #expect(broken.status == 1)
            #expect(broken.error.contains("jwt_jwks") && broken.error.contains(path))
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a key that the issuer has just made is fetched while its token waits`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let (old, new) = (SigningKey("RS256", id: "1"), SigningKey("ES256", id: "2"))
            let issuer = try KeyServer(keys: SigningKey.set([old.jwk()]))
            let service = try Self.service(database, issuer.url)
            try eventually("the keys are there") {
                try Self.status(service, old).status == 200 ? true : nil
            }
            issuer.set(keys: SigningKey.set([old.jwk(), new.jwk()]))
            #expect(try Self.status(service, new).status == 200, "the first token with it already")
            #expect(try Self.status(service, old).status == 200)
            // A thousand invented kids are not a thousand requests.
            let before = issuer.requests
            for number in 0..<200 {
                let forger = SigningKey(secret: Issuer.secret, id: "invented-\(number)")
                #expect([401, 429].contains(try Self.status(service, forger).status))
            }
            #expect(issuer.requests - before <= 4, "\(issuer.requests - before) fetches")
            issuer.stop()
            #expect(try Self.status(service, new).status == 200, "known keys stay")
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `before the keys are there nobody is let in, and then everybody`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let key = SigningKey("RS256", id: "1")
            let down = try KeyServer(keys: "")
            let (url, port) = (down.url, down.port)
            down.stop()
            let service = try Self.service(database, url)
            let early = try Self.status(service, key)
            #expect(early.status == 503 && early.fields["retry-after"] != nil)
            #expect((early.json["type"] as? String)?.hasSuffix(":keys") == true)
            let issuer = try KeyServer(keys: SigningKey.set([key.jwk()]), port: port)
            try eventually("the keys are read") {
                try Self.status(service, key).status == 200 ? true : nil
            }
            #expect(issuer.requests >= 1)
        }
    }

    /// Down, slow, lying, enormous – all at once, each on a service of its own.
    @Test(.timeLimit(.minutes(2)))
    func `whatever the issuer does, known keys work and nothing waits or grows`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let known = SigningKey("RS256", id: "known")
            let set = SigningKey.set([known.jwk()])
            let manners = KeyServer.Manner.allCases.filter { $0 != .good }
            let cases = try manners.map { manner in
                let issuer = try KeyServer(keys: set)
                let service = try Self.service(
                    database, issuer.url, ["--workers", "1", "--drain", "1s"])
                try eventually("the keys are there") {
                    try Self.status(service, known).status == 200 ? true : nil
                }
                let stream = try StreamClient(
                    service.port, fields: Issuer.bearer(Issuer.token(["sub": "ann"], key: known)))
                _ = try stream.next("stream.live")
                issuer.set(manner)
                return (manner: manner, issuer: issuer, service: service, stream: stream)
            }
            let memory = try cases.map { try $0.service.kilobytes("VmRSS") }
            // A token whose key must be asked for, on every service, and nobody reads the answers yet.
            let asking = try cases.map { entry in
                let socket = try ClientSocket(port: entry.service.port, timeout: 40)
                let token = Issuer.token(["sub": "ann"], key: SigningKey("ES256", id: "unknown"))
                try socket.send(
                    "GET /api/v1/events/history HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                        + "Authorization: Bearer \(token)\r\n\r\n")
                return socket
            }
            for entry in cases {
                try eventually("\(entry.manner): the issuer is asked") {
                    entry.issuer.requests >= 2 ? true : nil
                }
                let began = Date()
                for _ in 0..<10 { #expect(try Self.status(entry.service, known).status == 200) }
                try database.run(
                    "INSERT INTO tasks (title, user_id) VALUES ('\(entry.manner)', 'ann')")
                var title: String?
                while title != "\(entry.manner)" {
                    let event = try entry.stream.events(1)[0]
                    title = (event.json["new"] as? [String: Any])?["title"] as? String
                }
                let elapsed = Date().timeIntervalSince(began)
                #expect(elapsed < 5, "\(entry.manner): the loop was held up for \(elapsed) s")
            }
            for (index, entry) in cases.enumerated() {
                let answer = try HTTPAnswer.read(try asking[index].receiveToEnd()).answer
                #expect(answer.status == 401, "\(entry.manner): \(answer.text)")
                #expect(try Self.status(entry.service, known).status == 200, "\(entry.manner)")
                let grown = try entry.service.kilobytes("VmRSS") - memory[index]
                #expect(grown < 16_384, "\(entry.manner): \(grown) kB more")
                if entry.manner == .uselessKeys {
                    // The secret stood in the set, where anybody could read it.
                    let forger = SigningKey(secret: Issuer.secret + "!")
                    #expect(try Self.status(entry.service, forger).status == 401)
                }
                #expect(entry.service.log.contains("keys: not read, the last ones stay"))
                #expect(!entry.service.log.contains("root:"))
            }
            // A fetch that is under way does not hold up the end.
            let slow = cases.filter { $0.manner == .silent || $0.manner == .dripping }
            for entry in slow {
                let began = Date()
                #expect(entry.service.terminate() == 0)
                #expect(Date().timeIntervalSince(began) < 8)
            }
        }
    }
}
