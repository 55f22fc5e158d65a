import EventCore
import Foundation
import TestSupport
import Testing

@testable import EventService

@Suite struct `Token verifier` {
    private static let secret = "0123456789abcdef0123456789abcdef"
    private static let keys = [
        SigningKey("RS256", id: "rsa"), SigningKey("PS256", id: "pss"),
        SigningKey("ES256", id: "ec"), SigningKey(secret: secret),
    ]

    private static func verifier() throws -> TokenVerifier {
        let text = SigningKey.set(keys.prefix(3).map { $0.jwk() })
        let document = try #require(JoseJSON.value(of: Array(text.utf8)))
        let set = try #require(KeySet(document, allowsSecrets: false))
        let key = try #require(VerificationKey(secret: secret))
        return TokenVerifier(KeySet([key] + set.keys))
    }

    private static func cause(_ token: String) throws -> AuthenticationError.Cause? {
        let verifier = try verifier()
        do throws(AuthenticationError) {
            _ = try verifier.claims(of: token)
            return nil
        } catch {
            return error.cause
        }
    }

    @Test(arguments: keys)
    func `a signature of each algorithm is good, once`(_ key: SigningKey) throws {
        let token = key.token(["exp": 5, "sub": "ann"])
        let claims = try Self.verifier().claims(of: token)
        #expect(claims.subject == "ann" && claims.expiresAt == 5)
        // Each byte of each part, changed, makes it another token.
        let bytes = Array(token.utf8)
        for index in stride(from: 0, to: bytes.count, by: 7) where bytes[index] != UInt8(ascii: ".")
        {
            var changed = bytes
            changed[index] =
                changed[index] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            #expect(
                try Self.cause(String(decoding: changed, as: UTF8.self)) != nil, "byte \(index)")
        }
    }

    @Test func `a signature of another key is none`() throws {
        for algorithm in ["RS256", "PS256", "ES256"] {
            let id = ["RS256": "rsa", "PS256": "pss", "ES256": "ec"][algorithm]
            let foreign = SigningKey(algorithm, id: id)
            #expect(try Self.cause(foreign.token(["exp": 5])) == .signature)
        }
        let foreign = SigningKey(secret: String(repeating: "x", count: 32))
        #expect(try Self.cause(foreign.token(["exp": 5])) == .signature)
    }

    /// The oldest trick: the public key, which everybody has, as the secret of HS256.
    @Test func `a public key is no secret`() throws {
        for key in Self.keys.prefix(3) {
            let jwk = SigningKey.text(key.jwk())
            for text in [jwk, key.jwk()["n"] as? String ?? jwk, SigningKey.set([key.jwk()])] {
                let forger = SigningKey(secret: text)
                for id in [key.id, nil, "other"] {
                    let token = forger.token(["exp": 5], header: ["kid": id])
                    #expect([.algorithm, .signature].contains(try Self.cause(token)))
                }
            }
        }
    }

    @Test func `JSON with two members of one name is refused`() throws {
        let key = Self.keys[3]
        for payload in [
            #"{"exp":5,"exp":6}"#, #"{"exp":5,"sub":"a","sub":"b"}"#, #"{"exp":5,"\u0065xp":6}"#,
            #"{"exp":5,"x":{"a":1,"a":2}}"#,
        ] {
            let token = key.sign(header: #"{"alg":"HS256"}"#, payload: payload)
            #expect(try Self.cause(token) == .malformed, "\(payload)")
        }
    }

    @Test(arguments: [
        "", "null", "[]", "1", "\"exp\"", "{", "{\"exp\":5}x", "{\"exp\":5}{}", "{\"exp\":05}",
        "{'exp':5}",
        "{\"exp\":5,}", "{\"exp\":1e999}", "{\"exp\":99999999999999999999}",
        "{\"exp\":5,\"sub\":\"a\\u0000b\"}",
        "{\"exp\":5,\"sub\":\"\\ud800\"}", "{\"exp\":NaN}", String(repeating: "[", count: 5000),
    ])
    func `a payload that is not a JSON object is refused`(_ payload: String) throws {
        let token = Self.keys[3].sign(header: #"{"alg":"HS256"}"#, payload: payload)
        #expect(try Self.cause(token) == .malformed)
    }

    @Test func `bytes that are not UTF-8 are refused`() throws {
        let parts = Self.keys[3].token(["exp": 5]).split(separator: ".")
        let header = SigningKey.encode(
            Array("{\"alg\":\"HS256\",\"x\":\"".utf8) + [0xFF] + Array("\"}".utf8))
        #expect(try Self.cause("\(header).\(parts[1]).\(parts[2])") == .malformed)
    }

    @Test func `a key that libjose cannot use signs nothing`() throws {
        // 32 bytes each, but no point of the curve.
        let off = Base64URL.encode([UInt8](repeating: 1, count: 32))
        let jwk: [String: JSONValue] = [
            "kty": .string("EC"), "crv": .string("P-256"), "x": .string(off), "y": .string(off),
        ]
        let verifier = TokenVerifier(KeySet([try VerificationKey(jwk, allowsSecrets: false)]))
        let error = #expect(throws: AuthenticationError.self) {
            try verifier.claims(of: SigningKey("ES256").token(["exp": 5]))
        }
        #expect(error?.cause == .signature)
    }

    @Test func `a ticket is random, and only its hash is kept`() throws {
        let tickets = (0..<100).compactMap { _ in Ticket.new() }
        #expect(Set(tickets.map(\.text)).count == 100)
        #expect(Set(tickets.map(\.hash)).count == 100)
        for ticket in tickets {
            #expect(Ticket(ticket.text)?.hash == ticket.hash)
            #expect(!ticket.hash.contains(ticket.text) && ticket.hash.utf8.count == 43)
        }
        let text = tickets[0].text
        for other in [
            "", text.uppercased() + "A", String(text.dropLast()), text + "0", "a.b.c",
            text.dropLast() + "g",
        ] {
            #expect(Ticket(other) == nil)
        }
    }
}
