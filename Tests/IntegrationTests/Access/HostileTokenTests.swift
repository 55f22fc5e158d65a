import EventCore
import Foundation
import TestSupport
import Testing

/// What attackers and broken issuers send: RFC 8725's list, and what else there is.
@Suite struct `Hostile tokens` {
    private static let rsa = SigningKey("RS256", id: "rsa")
    private static let pss = SigningKey("PS256", id: "pss")
    private static let ec = SigningKey("ES256", id: "ec")
    private static let foreign = SigningKey("RS256", id: "rsa")
    private static var now: Int { Issuer.now() }
    private static let good = [
        "sub": "ann", "iss": "https://issuer.example", "aud": "event-service",
    ]

    /// All claims of a good token, and these.
    private static func everything(_ changes: [String: Any] = [:]) -> [String: Any] {
        var claims: [String: Any] = ["exp": now + 600, "iat": now]
        for (name, value) in good { claims[name] = value }
        return claims.merging(changes) { $1 }
    }

    /// A good token but for these claims; NSNull takes one away.
    private static func claims(_ changes: [String: Any]) -> String {
        Issuer.token(everything(changes), key: rsa)
    }

    /// Signed as it should be, with this header and this payload as they are.
    private static func raw(header: String, payload: String? = nil, key: SigningKey = rsa) -> String
    {
        key.sign(header: header, payload: payload ?? self.payload)
    }

    private static var payload: String {
        SigningKey.text(everything())
    }

    private static func header(_ changes: [String: Any?]) -> String {
        rsa.token(everything(), header: changes)
    }

    /// Parts that nobody has signed.
    private static func unsigned(
        _ header: String, _ payload: String? = nil, _ signature: String = ""
    ) -> String {
        [header, payload ?? self.payload].map { SigningKey.encode(Array($0.utf8)) }
            .joined(separator: ".") + "." + signature
    }

    private static func parts(_ token: String) -> [String] {
        token.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    }

    private static var rows: [(name: String, token: String)] {
        let token = claims([:])
        let part = parts(token)
        let publicKey = SigningKey.text(rsa.jwk())
        return structure(token, part) + algorithms(publicKey) + keys(part) + headers + wrongClaims
    }

    private static func structure(_ token: String, _ part: [String]) -> [(
        name: String, token: String
    )] {
        [
            ("empty", ""), ("a word", "token"), ("dots", ".."), ("four parts", token + ".e30"),
            ("two parts", part[0] + "." + part[1]), ("a JWE of five parts", token + ".e30.e30"),
            ("no signature", part[0] + "." + part[1] + "."),
            ("no payload", part[0] + ".." + part[2]),
            ("no header", "." + part[1] + "." + part[2]),
            ("cut short", String(token.dropLast(10))), ("cut by one", String(token.dropLast())),
            ("one byte more", token + "A"), ("padding", token + "="),
            (
                "base64 instead of base64url",
                token.replacing("-", with: "+").replacing("_", with: "/") + "+"
            ),
            ("a blank inside", part[0] + ". " + part[1] + "." + part[2]),
            ("oversize", claims(["x": String(repeating: "x", count: 9000)])),
            (
                "the JSON form",
                "{\"payload\":\"\(part[1])\",\"protected\":\"\(part[0])\",\"signature\":\"\(part[2])\"}"
            ),
            (
                "parts of two tokens",
                part[0] + "." + parts(claims(["sub": "bob"]))[1] + "." + part[2]
            ),
            (
                "another's signature",
                part[0] + "." + part[1] + "." + parts(claims(["sub": "bob"]))[2]
            ),
            ("a header that is no JSON", unsigned("alg=RS256", nil, part[2])),
            ("a header that is an array", unsigned("[\"RS256\"]", nil, part[2])),
            (
                "a payload that is no JSON",
                raw(header: #"{"alg":"RS256","kid":"rsa"}"#, payload: "sub=ann")
            ),
            (
                "a payload that is an array",
                raw(header: #"{"alg":"RS256","kid":"rsa"}"#, payload: "[\(payload)]")
            ),
            (
                "a payload that is a string",
                raw(header: #"{"alg":"RS256","kid":"rsa"}"#, payload: "\"ann\"")
            ),
            (
                "a token in a token",
                raw(header: #"{"alg":"RS256","kid":"rsa","cty":"JWT"}"#, payload: token)
            ),
            (
                "deep",
                raw(
                    header: #"{"alg":"RS256","kid":"rsa"}"#,
                    payload: String(repeating: "[", count: 4000))
            ),
        ]
    }

    private static func algorithms(_ publicKey: String) -> [(name: String, token: String)] {
        let confused = { (secret: String) in
            SigningKey(secret: secret, id: "rsa").token(everything())
        }
        return [
            ("alg none", unsigned(#"{"alg":"none"}"#)), ("alg None", unsigned(#"{"alg":"None"}"#)),
            ("alg nOnE", unsigned(#"{"alg":"nOnE","kid":"rsa"}"#)),
            (
                "alg none with a signature",
                unsigned(#"{"alg":"none","kid":"rsa"}"#, nil, parts(claims([:]))[2])
            ),
            ("alg empty", unsigned(#"{"alg":""}"#)), ("alg null", unsigned(#"{"alg":null}"#)),
            ("alg missing", unsigned(#"{"typ":"JWT"}"#, nil, parts(claims([:]))[2])),
            ("alg a list", unsigned(#"{"alg":["RS256"]}"#, nil, parts(claims([:]))[2])),
            (
                "alg in small letters",
                unsigned(#"{"alg":"rs256","kid":"rsa"}"#, nil, parts(claims([:]))[2])
            ),
            (
                "alg of no kind that is known",
                unsigned(#"{"alg":"RS512","kid":"rsa"}"#, nil, parts(claims([:]))[2])
            ),
            ("alg EdDSA", unsigned(#"{"alg":"EdDSA","kid":"ec"}"#, nil, "AAAA")),
            ("the public key as a secret: the JWK", confused(publicKey)),
            ("the public key as a secret: n", confused(rsa.jwk()["n"] as? String ?? "")),
            ("the public key as a secret: the set", confused(SigningKey.set([rsa.jwk()]))),
            (
                "an RS256 signature called PS256",
                unsigned(#"{"alg":"PS256","kid":"rsa"}"#, nil, parts(claims([:]))[2])
            ),
            (
                "an ES256 signature of zeros",
                unsigned(
                    #"{"alg":"ES256","kid":"ec"}"#, nil,
                    SigningKey.encode(Array(repeating: 0, count: 64)))
            ),
            (
                "an HS256 signature of an empty secret's length",
                unsigned(
                    #"{"alg":"HS256"}"#, nil, SigningKey.encode(Array(repeating: 0, count: 32)))
            ),
        ]
    }

    private static func keys(_ part: [String]) -> [(name: String, token: String)] {
        let with = { (changes: [String: Any?]) in
            foreign.token(everything(), header: changes)
        }
        return [
            ("another's key of the same kid", with([:])),
            ("another's key without kid", with(["kid": nil])),
            ("a kid that is unknown", with(["kid": "nobody"])),
            ("a kid that is a path", with(["kid": "../../dev/null"])),
            ("a kid that is SQL", with(["kid": "' UNION SELECT 'AAAA"])),
            ("a kid that is a number", header(["kid": 1])),
            ("a kid that is null", header(["kid": NSNull()])),
            ("an overlong kid", header(["kid": String(repeating: "k", count: 300)])),
            ("a good signature, another kid", header(["kid": "ec"])),
            ("a good signature, an unknown kid", header(["kid": "x"])),
            ("its own key in the header", with(["kid": "x", "jwk": foreign.jwk()])),
            ("a URL of its own keys", with(["kid": "x", "jku": "http://127.0.0.1:1/jwks"])),
            (
                "a certificate of its own",
                with(["kid": "x", "x5c": ["MIIB"], "x5u": "http://127.0.0.1:1/c"])
            ),
            (
                "a short secret",
                SigningKey(secret: "secret").token(everything())
            ),
        ]
    }

    private static var headers: [(name: String, token: String)] {
        [
            ("crit", header(["crit": ["exp"]])), ("crit empty", header(["crit": [String]()])),
            ("b64 false", header(["b64": false, "crit": ["b64"]])),
            ("compressed", header(["zip": "DEF"])),
            ("encrypted", header(["enc": "A128GCM"])),
            ("a logout token", header(["typ": "logout+jwt"])),
            ("a security event", header(["typ": "secevent+jwt"])),
            ("typ a number", header(["typ": 1])),
            ("kid twice", raw(header: #"{"alg":"RS256","kid":"rsa","kid":"ec"}"#)),
            (
                "exp twice",
                raw(
                    header: #"{"alg":"RS256","kid":"rsa"}"#,
                    payload: "{\"exp\":1,\"exp\":\(now + 600)}")
            ),
            (
                "sub twice",
                raw(
                    header: #"{"alg":"RS256","kid":"rsa"}"#,
                    payload: "{\"exp\":\(now + 600),\"sub\":\"ann\",\"sub\":\"bob\"}")
            ),
            (
                "sub twice, once escaped",
                raw(
                    header: #"{"alg":"RS256","kid":"rsa"}"#,
                    payload: "{\"exp\":\(now + 600),\"sub\":\"ann\",\"s\\u0075b\":\"bob\"}")
            ),
        ]
    }

    private static var wrongClaims: [(name: String, token: String)] {
        [
            ("no exp", claims(["exp": NSNull()])), ("expired", claims(["exp": now - 31])),
            ("expired long ago", claims(["exp": 0])), ("exp negative", claims(["exp": -1])),
            ("exp a string", claims(["exp": "\(now + 600)"])),
            ("exp a list", claims(["exp": [now + 600]])),
            ("exp true", claims(["exp": true])),
            ("exp for a year", claims(["exp": now + 365 * 86_400])),
            ("exp for ever", claims(["exp": 1e300])), ("nbf to come", claims(["nbf": now + 600])),
            ("nbf a string", claims(["nbf": "0"])), ("iat to come", claims(["iat": now + 600])),
            ("iat an object", claims(["iat": ["a": 1]])),
            ("iss missing", claims(["iss": NSNull()])),
            ("iss another", claims(["iss": "https://evil.example"])),
            ("iss longer", claims(["iss": "https://issuer.example/"])),
            ("iss a list", claims(["iss": ["https://issuer.example"]])),
            ("aud missing", claims(["aud": NSNull()])),
            ("aud another", claims(["aud": "billing"])),
            ("aud others", claims(["aud": ["billing", "mail"]])),
            ("aud in capitals", claims(["aud": "EVENT-SERVICE"])),
            ("aud a mixed list", claims(["aud": ["event-service", 1] as [Any]])),
            ("aud an object", claims(["aud": ["event-service": true]])),
            ("sub a number", claims(["sub": 7])),
            ("sub a list", claims(["sub": ["ann", "bob"]])),
            ("sub an object", claims(["sub": ["$ne": ""]])),
            ("sub with U+0000", claims(["sub": "ann\u{0}"])), ("sid true", claims(["sid": true])),
            ("jti a number", claims(["jti": 1])),
            ("contexts a string", claims(["contexts": "red"])),
            ("contexts mixed", claims(["contexts": ["red", 1] as [Any]])),
            ("events a string", claims(["events": "*"])),
            ("scope a list", claims(["scope": ["events:read"]])),
            ("publish_audiences a string", claims(["publish_audiences": "*"])),
        ]
    }

    @Test(.timeLimit(.minutes(1)))
    func `every one is refused, by header and by cookie`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let path = FileManager.default.temporaryDirectory.path + "/\(UUID()).json"
            defer { try? FileManager.default.removeItem(atPath: path) }
            try SigningKey.set([Self.rsa.jwk(), Self.pss.jwk(), Self.ec.jwk()])
                .write(toFile: path, atomically: true, encoding: .utf8)
            let service = try Issuer.service(
                database,
                [
                    "--jwt-jwks", path, "--jwt-issuer", "https://issuer.example", "--jwt-audience",
                    "event-service", "--auth-failure-rate", "0",
                ])
            for key in [Self.rsa, Self.pss, Self.ec, Issuer.key] {
                let answer = try Self.ask(service, Issuer.bearer(Issuer.token(Self.good, key: key)))
                #expect(answer.status == 200, "\(key.algorithm): what is good is let in")
            }
            let rows = Self.rows
            #expect(rows.count >= 60 && Set(rows.map(\.name)).count == rows.count)
            print("hostile tokens: \(rows.count)")
            for row in rows {
                let answer = try Self.ask(service, Issuer.bearer(row.token))
                #expect(answer.status == 401, "\(row.name)")
                let challenge = answer.fields["www-authenticate"] ?? ""
                #expect(
                    challenge.contains("error=\"invalid_token\", error_description="), "\(row.name)"
                )
                #expect(row.token.count < 9 || !answer.text.contains(row.token), "\(row.name)")
                guard !row.token.contains(" ") else { continue }
                let cookie = ["Cookie: __Host-event-service=\(row.token)"]
                #expect(try Self.ask(service, cookie).status == 401, "\(row.name), as cookie")
            }
            #expect(try Self.ask(service, Issuer.bearer(Self.claims([:]))).status == 200)
        }
    }

    private static func ask(_ service: ServiceProcess, _ fields: [String]) throws -> HTTPAnswer {
        try HTTPClient.get(service.port, "/api/v1/events/history", fields: fields)
    }
}
