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
