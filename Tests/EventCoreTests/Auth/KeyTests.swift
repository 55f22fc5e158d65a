import EventCore
import Testing

@Suite struct Keys {
    private static let modulus = Base64URL.encode([0x80] + [UInt8](repeating: 1, count: 255))
    private static let coordinate = Base64URL.encode([UInt8](repeating: 7, count: 32))
    private static let rsa: [String: JSONValue] = [
        "kty": .string("RSA"), "n": .string(modulus), "e": .string("AQAB"),
    ]
    private static let curve: [String: JSONValue] = [
        "kty": .string("EC"), "crv": .string("P-256"), "x": .string(coordinate),
        "y": .string(coordinate),
    ]
    private static let secret: [String: JSONValue] = [
        "kty": .string("oct"), "k": .string(coordinate),
    ]

    private static func key(
        _ base: [String: JSONValue], _ changes: [String: JSONValue], allowsSecrets: Bool = true
    ) throws(UnusableKey) -> VerificationKey {
        try VerificationKey(base.merging(changes) { $1 }, allowsSecrets: allowsSecrets)
    }

    @Test func `the key says its algorithm`() throws {
        #expect(try Self.key(Self.rsa, [:]).algorithm == .rs256)
        #expect(try Self.key(Self.rsa, ["alg": .string("RS256")]).algorithm == .rs256)
        #expect(try Self.key(Self.rsa, ["alg": .string("PS256")]).algorithm == .ps256)
        #expect(try Self.key(Self.curve, [:]).algorithm == .es256)
        #expect(try Self.key(Self.secret, [:]).algorithm == .hs256)
        #expect(VerificationKey(secret: String(repeating: "s", count: 32))?.algorithm == .hs256)
        #expect(VerificationKey(secret: String(repeating: "s", count: 31)) == nil)
    }

    @Test func `nothing private is kept`() throws {
        let hidden: [String: JSONValue] = ["d": .string("AAAA"), "p": .string("AAAA")]
        #expect(Set(try Self.key(Self.rsa, hidden).members.keys) == ["kty", "n", "e"])
        #expect(Set(try Self.key(Self.curve, hidden).members.keys) == ["kty", "crv", "x", "y"])
    }

    @Test(
        arguments: [
            ("RSA", ["use": .string("enc")]), ("RSA", ["use": .integer(1)]),
            ("RSA", ["key_ops": .array([.string("sign")])]),
            ("RSA", ["key_ops": .string("verify")]),
            ("RSA", ["kid": .integer(1)]),
            ("RSA", ["kid": .string(String(repeating: "k", count: 257))]),
            ("RSA", ["alg": .string("HS256")]), ("RSA", ["alg": .string("ES256")]),
            ("RSA", ["alg": .string("none")]), ("RSA", ["alg": .string("RS512")]),
            ("RSA", ["alg": .string("rs256")]), ("RSA", ["alg": .null]),
            ("RSA", ["kty": .string("rsa")]), ("RSA", ["kty": .null]), ("RSA", ["n": .null]),
            ("RSA", ["n": .string(Base64URL.encode([UInt8](repeating: 255, count: 128)))]),
            ("RSA", ["n": .string(Base64URL.encode([UInt8](repeating: 255, count: 1025)))]),
            (
                "RSA",
                ["n": .string(Base64URL.encode([0, 0] + [UInt8](repeating: 255, count: 255)))]
            ),
            ("RSA", ["n": .string(modulus + "=")]), ("RSA", ["e": .string("AQ")]),
            ("RSA", ["e": .string("AA")]), ("RSA", ["e": .string("")]),
            ("RSA", ["e": .string("BA")]),
            ("RSA", ["e": .string("AQAAAAE")]), ("EC", ["crv": .string("P-384")]),
            ("EC", ["crv": .string("secp256k1")]), ("EC", ["x": .string("AAAA")]),
            ("EC", ["y": .null]), ("EC", ["alg": .string("RS256")]),
            ("EC", ["alg": .string("PS256")]), ("oct", ["k": .string("AAAA")]),
            ("oct", ["k": .integer(1)]), ("oct", ["alg": .string("RS256")]),
            ("oct", ["kty": .string("OKP")]),
        ] as [(String, [String: JSONValue])])
    func `a key of no use is left out`(kind: String, changes: [String: JSONValue]) {
        let base = ["RSA": Self.rsa, "EC": Self.curve, "oct": Self.secret][kind] ?? [:]
        #expect(throws: UnusableKey.self) { try Self.key(base, changes) }
    }

    @Test func `a set that anybody can fetch holds no secrets`() {
        #expect(throws: UnusableKey.self) {
            try Self.key(Self.secret, [:], allowsSecrets: false)
        }
        let document = JSONValue.object(["keys": .array([.object(Self.secret)])])
        #expect(KeySet(document, allowsSecrets: false) == nil)
        #expect(KeySet(document, allowsSecrets: true)?.keys.count == 1)
    }

    @Test func `of a set the good keys are used, and a bounded number`() {
        var reasons: [String] = []
        let mixed = JSONValue.object([
            "keys": .array([.null, .object(Self.rsa), .object([:]), .object(Self.curve)])
        ])
        let set = KeySet(mixed, allowsSecrets: false) { reasons.append($0.reason) }
        #expect(set?.keys.map(\.algorithm) == [.rs256, .es256])
        #expect(reasons.count == 2)
        let many = JSONValue.array((0..<5000).map { _ in .object(Self.rsa) })
        #expect(KeySet(.object(["keys": many]), allowsSecrets: false)?.keys.count == 100)
        for none in [.null, .array([]), .object([:]), .object(["keys": .object([:])])]
            as [JSONValue]
        {
            #expect(KeySet(none, allowsSecrets: true) == nil)
        }
    }

    private static func set() throws -> KeySet {
        KeySet([
            try key(rsa, ["kid": .string("r1")]), try key(rsa, ["kid": .string("r2")]),
            try key(rsa, ["kid": .string("p"), "alg": .string("PS256")]),
            try key(curve, ["kid": .string("e")]), try key(secret, [:]),
        ])
    }

    @Test(
        arguments: [
            ("RS256", "r1", [0]), ("RS256", "r2", [1]), ("PS256", "p", [2]), ("ES256", "e", [3]),
            ("HS256", "other", [4]), ("HS256", nil, [4]), ("RS256", nil, [0, 1]),
            ("ES256", nil, [3]),
        ] as [(String, String?, [Int])])
    func `a token is tried with the keys that it can mean`(
        algorithm: String, keyID: String?, places: [Int]
    ) throws {
        #expect(try Self.set().candidates(for: Self.header(algorithm, keyID)) == places)
    }

    /// Above all a public key is never the secret of HS256.
    @Test(
        arguments: [
            ("HS256", "r1", .algorithm), ("PS256", "r1", .algorithm), ("RS256", "p", .algorithm),
            ("ES256", "r1", .algorithm), ("RS256", "e", .algorithm), ("HS256", "e", .algorithm),
            ("RS256", "unknown", .key), ("ES256", "", .key), ("RS256", "R1", .key),
        ] as [(String, String, AuthenticationError.Cause)])
    func `a token that means another key is refused`(
        algorithm: String, keyID: String, cause: AuthenticationError.Cause
    ) throws {
        let set = try Self.set()
        let error = #expect(throws: AuthenticationError.self) {
            try set.candidates(for: Self.header(algorithm, keyID))
        }
        #expect(error?.cause == cause)
    }

    @Test func `a token that names no key is tried with a few at most`() throws {
        let set = KeySet(try (0..<50).map { try Self.key(Self.rsa, ["kid": .string("\($0)")]) })
        #expect(try set.candidates(for: Self.header("RS256", nil)).count == KeySet.mostCandidates)
    }

    private static func header(_ algorithm: String, _ keyID: String?) throws -> TokenHeader {
        var members: [String: JSONValue] = ["alg": .string(algorithm)]
        members["kid"] = keyID.map { .string($0) }
        return try TokenHeader(members)
    }

    @Test(arguments: [nil, "JWT", "jwt", "at+jwt", "application/at+jwt", "application/jwt"])
    func `a header may say that it is a token`(_ type: String?) throws {
        var members: [String: JSONValue] = ["alg": .string("RS256"), "jku": .string("http://evil")]
        members["typ"] = type.map { .string($0) }
        #expect(try TokenHeader(members).algorithm == .rs256)
    }

    @Test(
        arguments: [
            [:], ["alg": .null], ["alg": .integer(1)], ["alg": .string("none")],
            ["alg": .string("None")], ["alg": .string("")], ["alg": .string("hs256")],
            ["alg": .string("HS512")], ["alg": .string("EdDSA")],
            ["alg": .string("RS256"), "crit": .array([.string("exp")])],
            ["alg": .string("RS256"), "crit": .array([])],
            ["alg": .string("RS256"), "b64": .bool(false)],
            ["alg": .string("RS256"), "zip": .string("DEF")],
            ["alg": .string("RS256"), "enc": .string("A128GCM")],
            ["alg": .string("RS256"), "typ": .string("logout+jwt")],
            ["alg": .string("RS256"), "typ": .integer(1)], ["alg": .string("RS256"), "typ": .null],
            ["alg": .string("RS256"), "cty": .string("JWT")],
            ["alg": .string("RS256"), "kid": .integer(1)], ["alg": .string("RS256"), "kid": .null],
            ["alg": .string("RS256"), "kid": .string(String(repeating: "k", count: 257))],
        ] as [[String: JSONValue]])
    func `a header that is not understood to the last word is refused`(
        _ members: [String: JSONValue]
    ) {
        #expect(throws: AuthenticationError.self) { try TokenHeader(members) }
    }

    @Test(arguments: [
        "", ".", "..", "a.b", "e30.e30", "e30.e30.", "..e30", "e30.e30.e30.e30",
        "e30.e30.e30.e30.e30",
        "e30=.e30.e30", "e30. e30.e30", "e30.e30.e3\n", "e30.e31.e30", "ä.e30.e30", "e30.e30.e30 ",
    ])
    func `what is not three parts in base64url is no token`(_ text: String) {
        // An empty signature is a part, and that of nothing.
        guard text != "e30.e30." else { return }
        #expect(throws: AuthenticationError.self) { try CompactToken(text) }
    }

    @Test func `a token has a bounded length`() throws {
        let longest = "e30.e30." + String(repeating: "A", count: CompactToken.maximumBytes - 8)
        _ = try CompactToken(longest)
        #expect(throws: AuthenticationError.self) { try CompactToken(longest + "AAAA") }
    }

    @Test(
        arguments: [
            ("https://issuer.example/jwks", .url("https://issuer.example/jwks")),
            ("http://127.0.0.1:9/jwks", .url("http://127.0.0.1:9/jwks")),
            ("http://[::1]/k", .url("http://[::1]/k")),
            ("http://localhost", .url("http://localhost")),
            ("/etc/keys.json", .file("/etc/keys.json")), ("keys.json", .file("keys.json")),
        ] as [(String, KeySource)])
    func `keys come from a file or a URL`(text: String, source: KeySource) throws {
        #expect(try KeySource(text) == source)
    }

    @Test(arguments: [
        "http://issuer.example/jwks", "http://10.0.0.1/", "http://127.0.0.1.evil.example/",
        "http://127.0.0.1@evil.example/", "http://localhost.evil.example", "ftp://a/b",
        "file:///etc/passwd",
        "HTTP://a", "http:///x",
    ])
    func `keys do not come over a line that others can write on`(_ text: String) {
        #expect(throws: ConfigurationError.self) { try KeySource(text) }
    }
}

@Suite struct `Refreshing keys` {
    private static let start = MonotonicTime.zero

    @Test func `keys are fetched at the start, at intervals, and sooner after a failure`() {
        var machine = KeyRefresh()
        #expect(machine.timeReached() == .fetch)
        #expect(machine.timeReached() == .none, "one at a time")
        #expect(
            machine.failed(now: Self.start, random: 0)
                == .wait(until: Self.start + .milliseconds(500)))
        #expect(machine.timeReached() == .fetch)
        #expect(
            machine.failed(now: Self.start, random: 0.999)
                == .wait(until: Self.start + .nanoseconds(3_996_000_000)))
        #expect(machine.timeReached() == .fetch)
        #expect(machine.fetched(now: Self.start) == .wait(until: Self.start + .seconds(300)))
    }

    @Test func `unknown keys cost a bounded number of fetches`() {
        var machine = KeyRefresh()
        _ = machine.timeReached()
        _ = machine.fetched(now: Self.start)
        var fetches = 0
        // A thousand invented names a second, for ten minutes.
        for millisecond in 0..<600_000 {
            let now = Self.start + .milliseconds(millisecond)
            switch machine.unknownKeySeen(now: now) {
            case .fetch:
                fetches += 1
                #expect(machine.unknownKeySeen(now: now) == .none, "it waits for the one under way")
                _ = machine.fetched(now: now)
            case .answerAtOnce: break
            case .none, .wait: Issue.record("neither")
            }
        }
        #expect((40...44).contains(fetches))
    }
}
