import EventCore
import Testing

@Suite struct Claims {
    private static let now: Int64 = 1_764_000_000

    private static func claims(_ members: [String: JSONValue]) throws -> TokenClaims {
        try TokenClaims(members.merging(["exp": .integer(now + 60)]) { given, _ in given })
    }

    @Test func `all claims that mean something are read`() throws {
        let claims = try Self.claims([
            "nbf": .integer(1), "iat": .number(2.7), "iss": .string("i"),
            "aud": .array([.string("a"), .string("b")]), "sub": .string("u"),
            "sid": .string("s"), "jti": .string("t"),
            "contexts": .array([.string("c"), .string("p-*")]),
            "events": .array([.string("task.*"), .string("no type")]),
            "scope": .string("events:publish openid  events:read"),
            "publish_audiences": .array([.string("user:*")]), "email": .null,
        ])
        #expect(claims.notBefore == 1)
        #expect(claims.issuedAt == 2)
        #expect(claims.audience == ["a", "b"])
        #expect(claims.types?.map(\.text) == ["task.*"])
        #expect(claims.scopes == [.publish, .read])
        let grants = Grants(claims)
        #expect(grants.labels.map(\.text).sorted() == ["context:c", "session:s", "user:u"])
        #expect(grants.contextPrefixes == ["p-"])
        #expect(!grants.everything)
    }

    @Test func `a token that says nothing sees what is for everyone`() throws {
        let grants = Grants(try Self.claims([:]))
        #expect(grants.labels.isEmpty && grants.contextPrefixes.isEmpty)
        #expect(grants.scopes == [.read])
        #expect(grants.types == nil)
        #expect(!grants.grantsPublishing(to: .everyone))
    }

    /// Deny by default: what is empty, too long or impossible grants nothing.
    @Test(
        arguments: [
            ["sub": .string("")], ["sid": .string("")], ["contexts": .array([.string("")])],
            ["contexts": .array([])], ["sub": .string(String(repeating: "x", count: 1020))],
        ] as [[String: JSONValue]])
    func `an empty name grants no label`(_ members: [String: JSONValue]) throws {
        #expect(Grants(try Self.claims(members)).labels.isEmpty)
    }

    @Test(
        arguments: [
            ["events": .array([])], ["events": .array([.string("not a type")])],
        ] as [[String: JSONValue]])
    func `a list of no types is no type, not all`(_ members: [String: JSONValue]) throws {
        let subscription = try Subscription(
            grants: Grants(try Self.claims(members)), filter: EventFilter())
        #expect(
            !subscription.admits(
                type: "a.b", key: nil, audience: [.everyone], hiddenFrom: []))
        #expect(subscription.narrowing.likePatterns == [])
    }

    @Test func `a scope that is there without events:read may not read`() throws {
        #expect(try Self.claims(["scope": .string("")]).scopes == [])
        #expect(try Self.claims(["scope": .string("events:publish")]).scopes == [.publish])
        #expect(try Self.claims(["scope": .string("events:reader EVENTS:READ")]).scopes == [])
    }

    @Test(
        arguments: [
            ("exp", .string("1764000060")), ("exp", .null), ("exp", .bool(true)),
            ("exp", .array([.integer(1)])), ("exp", .number(.infinity)), ("exp", .number(1e300)),
            ("exp", .integer(.max)), ("nbf", .string("0")), ("iat", .object([:])), ("iat", .null),
            ("iss", .integer(1)), ("iss", .array([.string("i")])), ("aud", .integer(1)),
            ("aud", .array([.integer(1)])), ("aud", .object(["a": .string("b")])),
            ("sub", .integer(7)), ("sub", .null), ("sub", .array([.string("ann")])),
            ("sid", .bool(false)), ("jti", .integer(1)), ("contexts", .string("a")),
            ("contexts", .array([.string("a"), .null])), ("contexts", .null),
            ("events", .string("task.*")), ("events", .object([:])), ("events", .null),
            ("scope", .array([.string("events:read")])), ("scope", .null),
            ("publish_audiences", .string("*")), ("publish_audiences", .array([.array([])])),
        ] as [(String, JSONValue)])
    func `a claim of the wrong type is never a claim that is not there`(
        name: String, value: JSONValue
    ) {
        let error = #expect(throws: AuthenticationError.self) {
            try Self.claims([name: value])
        }
        #expect(error?.cause == .claims)
        #expect(error?.detail.contains(name) == true)
    }

    /// `revoke()` takes no longer ones, so nobody could withdraw such a token.
    @Test(arguments: ["sub", "sid", "jti"])
    func `nobody has a name that is too long to be revoked`(claim: String) throws {
        _ = try Self.claims([claim: .string(String(repeating: "x", count: 1024))])
        let error = #expect(throws: AuthenticationError.self) {
            try Self.claims([claim: .string(String(repeating: "x", count: 1023) + "ü")])
        }
        #expect(
            error == AuthenticationError(.claims, "The claim \(claim) has more than 1024 bytes."))
    }

    @Test func `claims are written as they are read`() throws {
        let claims = try Self.claims([
            "nbf": .integer(-5), "iat": .integer(2), "iss": .string("i\"\n"), "aud": .string("a"),
            "sub": .string("ü"), "sid": .string("s"), "jti": .string("t"),
            "contexts": .array([.string("c,d")]), "events": .array([]), "scope": .string(""),
            "publish_audiences": .array([.string("*")]),
        ])
        #expect(
            String(decoding: claims.json, as: UTF8.self)
                == #"{"exp":1764000060,"nbf":-5,"iat":2,"iss":"i\"\n","sub":"ü","sid":"s","jti":"t","#
                + #""aud":["a"],"contexts":["c,d"],"events":[],"publish_audiences":["*"],"scope":""}"#
        )
    }
}

@Suite struct `Token rules` {
    private static let now: Int64 = 1_764_000_000

    private static func cause(
        _ rules: TokenRules = TokenRules(), _ change: (inout TokenClaims) -> Void
    ) -> AuthenticationError.Cause? {
        var claims = TokenClaims(expiresAt: now + 60)
        change(&claims)
        do throws(AuthenticationError) {
            try rules.check(claims, now: now)
            return nil
        } catch {
            return error.cause
        }
    }

    @Test(
        arguments: [
            (60, nil), (1, nil), (0, nil), (-29, nil), (-30, .expired), (-3600, .expired),
            (30 * 86_400, nil), (30 * 86_400 + 1, .lifetime), (1 << 50, .lifetime),
        ] as [(Int64, AuthenticationError.Cause?)])
    func `a token is good from now to its end, and for so long at most`(
        left: Int64, cause: AuthenticationError.Cause?
    ) {
        #expect(Self.cause { $0.expiresAt = Self.now + left } == cause)
    }

    @Test(
        arguments: [
            (nil, nil, nil), (0, 0, nil), (-86_400, -86_400, nil), (30, 30, nil),
            (31, nil, .early), (nil, 31, .early), (nil, 86_400, .early),
            (nil, -30 * 86_400, .lifetime), (nil, -30 * 86_400 + 60, nil),
        ] as [(Int64?, Int64?, AuthenticationError.Cause?)])
    func `nbf and iat lie no further ahead than clocks may differ`(
        notBefore: Int64?, issuedAt: Int64?, cause: AuthenticationError.Cause?
    ) {
        let found = Self.cause {
            $0.notBefore = notBefore.map { Self.now + $0 }
            $0.issuedAt = issuedAt.map { Self.now + $0 }
        }
        #expect(found == cause)
    }

    @Test(
        arguments: [
            (nil, nil, nil), ("i", nil, nil), ("i", "i", nil), (nil, "i", .issuer),
            ("I", "i", .issuer), ("i/", "i", .issuer), ("", "i", .issuer),
            ("\u{e9}", "e\u{301}", .issuer),
        ] as [(String?, String?, AuthenticationError.Cause?)])
    func `the issuer is the one that is set`(
        given: String?, wanted: String?, cause: AuthenticationError.Cause?
    ) {
        #expect(Self.cause(TokenRules(issuer: wanted)) { $0.issuer = given } == cause)
    }

    @Test(
        arguments: [
            (nil, nil, nil), (["a"], "a", nil), (["b", "a"], "a", nil), (nil, "a", .audience),
            ([], "a", .audience), (["b"], "a", .audience), (["A"], "a", .audience),
            (["a"], nil, .audience), ([], nil, .audience),
        ] as [([String]?, String?, AuthenticationError.Cause?)])
    func `the audience names this service, and without a name there is none`(
        given: [String]?, wanted: String?, cause: AuthenticationError.Cause?
    ) {
        #expect(Self.cause(TokenRules(audience: wanted)) { $0.audience = given } == cause)
    }

    @Test func `what a token opens ends with it`() {
        var claims = TokenClaims(expiresAt: Self.now + 60)
        #expect(Principal(claims, now: Self.now, leeway: 30).endsAt == Self.now + 60)
        claims.expiresAt = Self.now - 10
        #expect(Principal(claims, now: Self.now, leeway: 30).endsAt == Self.now + 20)
        claims.subject = ""
        #expect(Principal(claims, now: Self.now, leeway: 30).identity?.user == nil)
        #expect(Principal.anyone.identity == nil && Principal.anyone.endsAt == nil)
    }
}

@Suite struct Challenges {
    @Test func `keys are no oracle, and good signatures get a reason`() {
        let before: [AuthenticationError.Cause] = [.algorithm, .key, .signature]
        let answers = before.map { AuthenticationError($0, "secret reason of \($0)").problem }
        #expect(Set(answers.map(\.detail)).count == 1)
        #expect(answers.allSatisfy { $0 == answers[0] })
        #expect(
            AuthenticationError(.expired, "The token expired 5 s ago.").problem.detail.contains(
                "5 s"))
    }

    @Test(arguments: AuthenticationError.Cause.allCases)
    func `every failure has a challenge`(_ cause: AuthenticationError.Cause) {
        let problem = AuthenticationError(cause, "a \"quoted\" \\ reason\r\nX: y").problem
        #expect(problem.status == (cause == .ambiguous ? 400 : 401))
        let value = problem.fields.first { $0.name == "WWW-Authenticate" }?.value ?? ""
        #expect(value.hasPrefix("Bearer realm=\"event-service\""))
        #expect(!value.contains("\r") && !value.contains("\n") && !value.contains("\\"))
        #expect(value.filter { $0 == "\"" }.count % 2 == 0)
        let saysError = value.contains("error=")
        #expect(saysError == (cause != .missing && cause != .cookie))
    }

    @Test func `a scope that is lacking is named`() {
        let problem = Problem.insufficientScope(.publish)
        #expect(problem.status == 403)
        #expect(
            problem.fields.first?.value.contains(
                "error=\"insufficient_scope\", error_description=\"The token lacks the scope events:publish.\", scope=\"events:publish\""
            ) == true)
    }
}

@Suite struct `Label patterns` {
    @Test(arguments: [
        ("user:ann", "user:ann", true), ("user:ann", "user:anna", false),
        ("user:*", "user:ann", true),
        ("user:*", "session:ann", false), ("user:a*", "user:bob", false), ("*", "user:ann", true),
        ("*", "*", true), ("user:*", "*", false), ("", "user:ann", false), ("user:ann", "*", false),
        ("context:team:*", "context:team:7", true), ("context:team:*", "context:team", false),
        ("user:**", "user:*x", true), ("user:**", "user:x", false),
    ])
    func `a trailing star stands for the rest`(pattern: String, label: String, matches: Bool) throws
    {
        let grants = Grants(publishAudiences: [LabelPattern(pattern)])
        #expect(grants.grantsPublishing(to: try #require(AudienceLabel(label))) == matches)
    }
}
