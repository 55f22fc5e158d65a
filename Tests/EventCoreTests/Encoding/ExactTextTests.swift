import EventCore
import TestSupport
import Testing

@Suite struct `Exact texts` {
    /// é as one scalar, and as e with an accent: equal for Swift, two users for PostgreSQL.
    private static let (composed, decomposed) = ("user:\u{e9}", "user:e\u{301}")

    @Test func `two spellings of one text are two`() {
        #expect(Self.composed == Self.decomposed, "what this guards against")
        #expect(ExactText(Self.composed) != ExactText(Self.decomposed))
        #expect(ExactText(Self.composed) == ExactText("user:\u{e9}"))
        #expect(AudienceLabel(Self.composed) != AudienceLabel(Self.decomposed))
        #expect(!"a\u{301}".isIdentical(to: "\u{e1}"))
        #expect("a\u{301}bc".begins(with: "a"), "where hasPrefix would say no")
    }

    @Test func `nobody sees another's events by another spelling of the name`() throws {
        let held = try #require(AudienceLabel(Self.composed))
        let other = try #require(AudienceLabel(Self.decomposed))
        let subscription = try Subscription(
            grants: Grants(labels: [held]), filter: EventFilter())
        #expect(
            !subscription.admits(type: "a.b", key: nil, audience: [other], hiddenFrom: []))
        #expect(
            subscription.admits(type: "a.b", key: nil, audience: [held], hiddenFrom: [other]))
        var table = RevocationTable()
        table.insert(Revocation(user: Self.composed, second: 5))
        #expect(!table.refuses(TokenIdentity(user: Self.decomposed)))
        #expect(LabelPattern(Self.composed).matches(held))
        #expect(!LabelPattern(Self.composed).matches(other))
        #expect(TokenIdentity(user: Self.composed) != TokenIdentity(user: Self.decomposed))
        let identities: Set = [
            TokenIdentity(tokenID: Self.composed), TokenIdentity(tokenID: Self.decomposed),
        ]
        #expect(identities.count == 2, "each is asked about")
    }

    /// The index is all that stands between an event and a stream that lets all types and keys through.
    @Test func `the index tells two spellings of a pattern apart`() throws {
        final class Member {}
        let (composed, decomposed) = (Member(), Member())
        var index = AudienceIndex<Member>()
        var memberships = [
            index.insert(composed, reach: .labels([], contextPrefixes: ["\u{e9}"])),
            index.insert(decomposed, reach: .labels([], contextPrefixes: ["e\u{301}"])),
        ]
        func found(_ name: String) throws -> [ObjectIdentifier] {
            var found: [ObjectIdentifier] = []
            index.forEach(concernedBy: [try #require(AudienceLabel(.context, name))]) {
                found.append(ObjectIdentifier($0))
            }
            return found
        }
        #expect(try found("\u{e9}-7") == [ObjectIdentifier(composed)])
        #expect(try found("e\u{301}-7") == [ObjectIdentifier(decomposed)])
        index.remove(memberships.removeFirst())
        #expect(try found("\u{e9}-7").isEmpty)
        #expect(try found("e\u{301}-7") == [ObjectIdentifier(decomposed)])
        let both = Member()
        _ = index.insert(both, reach: .labels([], contextPrefixes: ["\u{e9}", "e\u{301}"]))
        #expect(try found("\u{e9}") == [ObjectIdentifier(both)])
        #expect(try found("e\u{301}").count == 2)
    }

    /// U+0600 binds to what follows: with the star it is one character, which must not go as a whole.
    @Test func `only the star of a pattern stands for the rest`() throws {
        var claims = TokenClaims(expiresAt: 0)
        claims.contexts = ["\u{600}*", "a\u{600}*"]
        let grants = Grants(claims)
        #expect(
            grants.contextPrefixes.map { Array($0.utf8) } == [[0xD8, 0x80], [0x61, 0xD8, 0x80]])
        #expect(!grants.grantsContext("b") && !grants.grantsContext("a"))
        #expect(grants.grantsContext("a\u{600}b"))
        let pattern = LabelPattern("context:\u{600}*")
        #expect(!pattern.matches(try #require(AudienceLabel("context:x"))))
        #expect(pattern.matches(try #require(AudienceLabel("context:\u{600}x"))))
    }
}

@Suite struct `Base64URL texts` {
    @Test(
        arguments: [
            ("", []), ("AA", [0]), ("AAA", [0, 0]), ("-_-_", [0xFB, 0xFF, 0xBF]),
            ("Zm9v", [102, 111, 111]),
            ("Zm8", [102, 111]), ("_w", [255]),
        ] as [(String, [UInt8])])
    func `bytes are read and written the same`(text: String, bytes: [UInt8]) {
        #expect(Base64URL.decode(text) == bytes)
        #expect(Base64URL.encode(bytes) == text)
    }

    @Test(arguments: ["A", "AAAAA", "AB", "AAB", "AA==", "A+", "A/", "A A", "A\n", "ä", "A.", "_x"])
    func `another spelling is none`(_ text: String) {
        #expect(Base64URL.decode(text) == nil)
    }

    @Test func `whatever is written is read back`() {
        var random = SeededGenerator(seed: 7)
        for length in 0..<200 {
            let bytes = (0..<length).map { _ in UInt8.random(in: .min ... .max, using: &random) }
            #expect(Base64URL.decode(Base64URL.encode(bytes)) == bytes)
        }
    }
}
