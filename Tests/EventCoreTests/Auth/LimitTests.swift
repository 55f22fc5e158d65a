import EventCore
import TestSupport
import Testing

@Suite struct Rates {
    @Test(arguments: [
        ("0", 0, 1), ("20", 20, 1), ("20/s", 20, 1), ("100/m", 100, 60), ("5/h", 5, 3600),
    ])
    func `rates are read`(text: String, count: Int, seconds: Int) {
        #expect(Rate(text) == Rate(count: count, period: .seconds(seconds)))
    }

    @Test(arguments: ["", "/s", "-1/s", "1.5/s", "1/d", "1/ s", " 1/s", "1/s/m", "9999999/s", "x"])
    func `anything else is none`(_ text: String) {
        #expect(Rate(text) == nil)
    }

    @Test func `a bucket lets its count through at once, and then one an interval`() throws {
        var limiter = RateLimiter<String>(Rate(count: 10, period: .seconds(10)))
        let start = MonotonicTime(nanoseconds: 5_000_000_000)
        for _ in 0..<10 { #expect(limiter.take("a", now: start) == nil) }
        #expect(limiter.take("a", now: start) == .seconds(1))
        #expect(limiter.take("b", now: start) == nil, "each has its own")
        #expect(limiter.take("a", now: start + .milliseconds(400)) == .milliseconds(600))
        #expect(limiter.take("a", now: start + .seconds(1)) == nil)
        #expect(limiter.take("a", now: start + .seconds(1)) == .seconds(1))
        for _ in 0..<10 { #expect(limiter.take("a", now: start + .seconds(60)) == nil) }
        #expect(limiter.take("a", now: start + .seconds(60)) != nil, "it never holds more")
    }

    @Test func `what costs more than is there is let through once, and owed`() {
        var limiter = RateLimiter<String>(Rate(count: 5, period: .seconds(1)))
        #expect(limiter.take("a", cost: 1000, now: .zero) == nil)
        #expect(limiter.take("a", now: .zero + .seconds(100)) != nil)
        #expect(limiter.take("a", now: .zero + .seconds(200)) == nil)
    }

    @Test func `over a long time no more comes through than the rate`() {
        var random = SeededGenerator(seed: 3)
        var limiter = RateLimiter<Int>(Rate(count: 7, period: .seconds(3)))
        var now = MonotonicTime.zero
        var passed = 0
        for _ in 0..<20_000 {
            now = now + .milliseconds(Int.random(in: 0...50, using: &random))
            if limiter.take(0, now: now) == nil { passed += 1 }
        }
        let allowed = Double((now - .zero).wholeMilliseconds) / 1000 * 7 / 3 + 7
        #expect(Double(passed) <= allowed && Double(passed) > allowed * 0.98)
    }

    @Test func `no limit takes no notice, and memory is bounded`() {
        var none = RateLimiter<Int>(.unlimited)
        for _ in 0..<1000 { #expect(none.take(0, now: .zero) == nil) }
        #expect(none.count == 0)
        var limiter = RateLimiter<Int>(Rate(count: 2, period: .seconds(1)), capacity: 100)
        for key in 0..<100_000 {
            #expect(limiter.take(key, now: .zero) == nil)
            #expect(limiter.count <= 100)
        }
        let later = MonotonicTime.zero + .seconds(5)
        for key in 0..<60 { _ = limiter.take(key, now: later) }
        #expect(limiter.count <= 100)
    }

    /// As from a network of version 6, which has an address for each request: when all buckets are in
    /// use, one or two have just become full.
    @Test func `new keys without end do not have all buckets looked at for each`() {
        var limiter = RateLimiter<Int>(Rate(count: 1, period: .seconds(1)), capacity: 1000)
        for key in 0..<100_000 {
            let now = MonotonicTime.zero + .microseconds(key * 1002)
            #expect(limiter.take(key, now: now) == nil)
            #expect(limiter.count <= 1000)
        }
        #expect(limiter.looks <= 200)
    }
}

@Suite struct Revocations {
    private static let identity = TokenIdentity(
        user: "u", session: "s", tokenID: "t", issuedAt: 1000)

    @Test(
        arguments: [
            (Revocation(user: "u", second: 1000), true),
            (Revocation(user: "u", second: 999), false),
            (Revocation(user: "u", second: 5000), true),
            (Revocation(user: "v", second: 5000), false),
            (Revocation(session: "s", second: 1000), true),
            (Revocation(session: "u", second: 1000), false),
            (Revocation(tokenID: "t", second: 1), true),
            (Revocation(tokenID: "s", second: 5000), false),
            (Revocation(user: "u", session: "s", second: 1000), true),
            (Revocation(user: "u", session: "x", second: 5000), false),
            (Revocation(user: "x", session: "s", second: 5000), false),
            (Revocation(user: "u", tokenID: "t", second: 1), true),
            (Revocation(user: "x", tokenID: "t", second: 5000), false),
            (Revocation(user: "u", session: "s", tokenID: "t", second: 0), true),
            (Revocation(user: "u", session: "s", tokenID: "x", second: 5000), false),
            (Revocation(second: 5000), false),
        ] as [(Revocation, Bool)])
    func `all that is named must match, up to the second of the call`(
        revocation: Revocation, refused: Bool
    ) {
        var table = RevocationTable()
        #expect(!table.refuses(Self.identity))
        table.insert(Revocation(user: "somebody", session: "else", second: 9999))
        table.insert(revocation)
        #expect(table.refuses(Self.identity) == refused)
    }

    @Test func `a token that does not say when it was issued is refused`() {
        var table = RevocationTable()
        table.insert(Revocation(user: "u", second: 5))
        #expect(table.refuses(TokenIdentity(user: "u")))
        #expect(!table.refuses(TokenIdentity(user: "u", issuedAt: 6)))
        #expect(!table.refuses(TokenIdentity(session: "u", tokenID: "u")))
        #expect(!table.refuses(TokenIdentity()))
    }

    @Test func `the latest of the same names counts, and the old are forgotten`() {
        var table = RevocationTable()
        let changes = [10, 10, 5, 20].map { table.insert(Revocation(user: "u", second: $0)) }
        #expect(changes == [true, false, false, true])
        #expect(table.count == 1)
        #expect(table.refuses(TokenIdentity(user: "u", issuedAt: 15)))
        table.removeAll(before: 20)
        #expect(table.count == 1)
        table.removeAll(before: 21)
        #expect(table.count == 0)
        #expect(!table.refuses(TokenIdentity(user: "u", issuedAt: 15)))
    }

    /// Whoever could be accepted still meets the revocation that concerns him.
    @Test func `a revocation is kept as long as a token that it concerns can live`() {
        let rules = TokenRules(leeway: 30, maximumLifetime: 3600)
        let revoked: Int64 = 1_000_000
        for issued in stride(from: revoked - 4000, through: revoked, by: 7) {
            for lifetime in stride(from: Int64(1), through: 4000, by: 53) {
                var claims = TokenClaims(expiresAt: issued + lifetime)
                claims.issuedAt = issued
                let afterSweep = revoked + rules.revocationLifetime
                #expect(throws: AuthenticationError.self) {
                    try rules.check(claims, now: afterSweep)
                }
            }
        }
    }
}
