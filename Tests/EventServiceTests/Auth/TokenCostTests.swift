import EventCore
import Foundation
import TestSupport
import Testing

@testable import EventService

/// What a token costs the loop that checks it. Prints, and holds nothing but that it is not absurd:
///
///     TOKEN_COST=1 swift test -c release --scratch-path .build/bench --filter TokenCost
@Suite(.enabled(if: ProcessInfo.processInfo.environment["TOKEN_COST"] != nil))
struct TokenCost {
    @Test(arguments: ["HS256", "RS256", "PS256", "ES256"])
    func `a check of each algorithm`(_ algorithm: String) throws {
        let key = SigningKey(algorithm, id: "k", bits: algorithm == "HS256" ? 256 : 2048)
        let others = (0..<9).map { SigningKey("ES256", id: "other-\($0)").jwk() }
        let text = SigningKey.set([key.jwk(private: algorithm == "HS256")] + others)
        let document = try #require(JoseJSON.value(of: Array(text.utf8)))
        let verifier = TokenVerifier(try #require(KeySet(document, allowsSecrets: true)))
        let now = Int(Date().timeIntervalSince1970)
        let token = key.token([
            "iss": "https://issuer.example", "aud": "event-service", "sub": "user-4711",
            "sid": "0f6b7a1c-2c3d-4e5f-8a9b-0c1d2e3f4a5b", "jti": "a1b2c3d4", "iat": now,
            "exp": now + 600, "contexts": ["project-1", "project-2", "team:*"],
            "events": ["task.*"], "scope": "events:read events:publish",
        ])
        let rules = TokenRules(issuer: "https://issuer.example", audience: "event-service")
        var table = RevocationTable()
        for number in 0..<10_000 { table.insert(Revocation(user: "u\(number)", second: 1)) }
        func check() throws -> Principal {
            let claims = try verifier.claims(of: token)
            try rules.check(claims, now: Int64(now))
            let principal = Principal(claims, now: Int64(now), leeway: 30)
            #expect(!table.refuses(try #require(principal.identity)))
            return principal
        }
        for _ in 0..<200 { _ = try check() }
        let rounds = try (0..<9).map { _ in
            let began = MonotonicClock.now()
            for _ in 0..<500 { _ = try check() }
            return Double((MonotonicClock.now() - began).wholeNanoseconds) / 500 / 1000
        }.sorted()
        print(
            "token check \(algorithm): \(String(format: "%.1f", rounds[4])) µs, \(token.utf8.count) bytes"
        )
        #expect(rounds[4] < 5000)
    }
}
