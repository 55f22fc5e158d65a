import EventCore
import TestSupport
import Testing

@Suite struct Cursors {
    @Test(
        arguments: [
            ("1764000000-42", 1_764_000_000, 42), ("0-0", 0, 0), ("1-9223372036854775807", 1, .max),
        ] as [(String, Int64, Int64)])
    func `a cursor is read and written the same`(text: String, epoch: Int64, position: Int64) {
        #expect(Cursor(text) == Cursor(epoch: epoch, position: position))
        #expect(Cursor(epoch: epoch, position: position).description == text)
    }

    @Test(arguments: [
        "", "-", "1", "1-", "-1", "1--2", "1-2-3", "01-2", "1-02", "+1-2", "1- 2", " 1-2", "1-2 ",
        "1_2",
        "a-b", "1-9223372036854775808", "99999999999999999999-1", "١-٢", "1-2\u{0}",
    ])
    func `anything else is none`(_ text: String) {
        #expect(Cursor(text) == nil)
    }
}

@Suite struct `Audience labels` {
    @Test(arguments: ["*", "user:1", "session:a b", "context:x:y", "user:ä", "user: "])
    func `good labels are labels`(_ text: String) {
        #expect(AudienceLabel(text)?.text == text)
    }

    @Test(arguments: [
        "", "user", "user:", "User:1", "group:1", "**", "* ",
        "context:" + String(repeating: "x", count: 1017),
    ])
    func `bad labels are none`(_ text: String) {
        #expect(AudienceLabel(text) == nil)
    }

    @Test func `an empty name grants nothing`() {
        #expect(AudienceLabel(.user, "") == nil)
        #expect(AudienceLabel(.session, "s")?.text == "session:s")
    }
}

@Suite struct `Type patterns` {
    @Test(arguments: [
        ("task.created", "task.created", true), ("task.created", "task.created2", false),
        ("task.*", "task.created", true), ("task.*", "tasks.created", false),
        ("task*", "tasks.created", true),
        ("*", "a.b", true), ("a.b.*", "a.b", false),
    ])
    func `a star stands for the rest`(pattern: String, type: String, matches: Bool) throws {
        #expect(try #require(TypePattern(pattern)).matches(type) == matches)
    }

    @Test(arguments: ["", "*.created", "a.*.b", "a b", ".a", "a.b%", "ä.*"])
    func `what can match no type is no pattern`(_ text: String) {
        #expect(TypePattern(text) == nil)
    }

    @Test(arguments: [("task.created", "task.created"), ("a_b.*", "a\\_b.%"), ("*", "%")])
    func `SQL gets the same pattern`(pattern: String, like: String) throws {
        #expect(try #require(TypePattern(pattern)).likePattern == like)
    }

    @Test func `a set of patterns matches what one of them does`() {
        var random = SeededGenerator(seed: 11)
        func text() -> String {
            String(
                (0..<Int.random(in: 1...4, using: &random)).map { _ in
                    "ab.-".randomElement(using: &random) ?? "a"
                })
        }
        for _ in 0..<3000 {
            let patterns = (0..<Int.random(in: 0...8, using: &random)).compactMap { _ in
                TypePattern(text() + (Bool.random(using: &random) ? "*" : ""))
            }
            let set = TypePatternSet(patterns)
            let type = text()
            #expect(
                set.matches(type) == patterns.contains { $0.matches(type) },
                "\(patterns.map(\.text)) \(type)")
        }
    }

    @Test func `SQL is asked with few patterns, and none that another covers`() {
        func like(_ texts: [String]) -> [String]? {
            TypePatternSet(texts.compactMap { TypePattern($0) }).likePatterns
        }
        #expect(like([]) == [])
        #expect(like(["b.c", "a.*", "a.b", "b.c", "a.b.*"]) == ["a.%", "b.c"])
        #expect(like((0..<100).map { "a.b\($0)" })?.count == 100)
        #expect(like((0..<101).map { "a.b\($0)" }) == nil)
        #expect(like((0..<101).map { "a.b\($0)" } + ["*"]) == ["%"])
    }

    @Test(arguments: [("a.b", "a"), ("a.b.c", "a.b")])
    func `the topic is all before the last dot`(type: String, topic: String) {
        #expect(EventType.topic(of: type).elementsEqual(topic.utf8))
    }
}

@Suite struct Timestamps {
    @Test(
        arguments: [
            ("1970-01-01T00:00:00Z", 0), ("2026-11-23T21:04:05.123456Z", 1_795_467_845_123_456),
            ("2000-02-29T23:59:59.9Z", 951_868_799_900_000), ("1969-12-31T23:59:59.999999Z", -1),
            ("2026-11-23T22:04:05+01:00", 1_795_467_845_000_000),
            ("2026-11-23t21:04:05z", 1_795_467_845_000_000),
            ("2026-11-23 21:04:05-00:00", 1_795_467_845_000_000),
            ("2026-11-23T22:04:05 01:00", 1_795_467_845_000_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000_000),
            ("2026-11-23T21:04:05.1234567Z", 1_795_467_845_123_456),
        ] as [(String, Int64)])
    func `times of RFC 3339 are read`(text: String, microseconds: Int64) {
        #expect(Timestamp(rfc3339: text)?.microseconds == microseconds)
    }

    @Test(arguments: [
        "", "2026", "2026-11-23", "2026-11-23T21:04Z", "2026-11-23T21:04:05",
        "2026-13-01T00:00:00Z",
        "2026-02-29T00:00:00Z", "2026-00-01T00:00:00Z", "2026-11-31T00:00:00Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23T21:60:00Z", "2026-11-23T21:04:61Z", "2026-11-23T21:04:05.Z",
        "2026-11-23T21:04:05+1:00",
        "2026-11-23T21:04:05+24:00", "2026-11-23T21:04:05Zx", "+026-11-23T21:04:05Z", "1795467845",
        "now",
    ])
    func `anything else is no time`(_ text: String) {
        #expect(Timestamp(rfc3339: text) == nil)
    }

    @Test func `every day of four centuries is written and read the same`() {
        for day in stride(from: Int64(-100 * 366), through: 300 * 366, by: 1) {
            let time = Timestamp(microseconds: day * 86_400_000_000 + 45_296_000_789)
            #expect(Timestamp(rfc3339: time.description) == time)
        }
    }

    @Test func `the two clocks of PostgreSQL and of Unix agree`() {
        #expect(Timestamp(postgres: 0).description == "2000-01-01T00:00:00.000000Z")
        #expect(
            Timestamp(microseconds: 784_111_777_000_000).httpDate == "Sun, 06 Nov 1994 08:49:37 GMT"
        )
    }
}
