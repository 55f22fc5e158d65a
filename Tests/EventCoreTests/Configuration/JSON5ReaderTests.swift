import EventCore
import TestSupport
import Testing

@Suite struct `JSON5` {
    private static func value(_ text: String) throws -> SettingValue? {
        try JSON5Reader.object("{a: \(text)}")["a"]
    }

    @Test(arguments: [
        ("'b'", "b"), ("\"b'c\"", "b'c"), (#"'it\'s'"#, "it's"), (#"'\x41\u00e9\t\0'"#, "Aé\t\0"),
        (#"'\ud83d\ude00'"#, "😀"), ("'one\\\n two'", "one two"), ("'one\\\r\n two'", "one two"),
        ("'// no comment'", "// no comment"), (#"'\q\/'"#, "q/"), ("''", ""), ("'é😀'", "é😀"),
        ("15", "15"), ("-7", "-7"), ("+7", "7"), ("0", "0"), ("0x1F", "31"), ("-0x10", "-16"),
        (".5", "0.5"), ("5.", "5"), ("1e3", "1000"), ("1.5e-1", "0.15"), ("2E+2", "200"),
        ("true", "true"), ("false", "false"),
    ])
    func `a text, a number and a truth value come out as a text`(text: String, wanted: String)
        throws
    {
        #expect(try Self.value(text) == .text(wanted))
    }

    @Test func `lists and objects, comments, commas at the end, names with and without quotes`()
        throws
    {
        let text = """
            \u{FEFF}// first
            {
              "a": [1, 'b', [],], /* within
              lines **/ 'c d': { $e_1: {}, é: "f", },
              listen:'127.0.0.1:0' // last
            }

            """
        #expect(
            try JSON5Reader.object(text) == [
                "a": .list([.text("1"), .text("b"), .list([])]),
                "c d": .object(["$e_1": .object([:]), "é": .text("f")]),
                "listen": .text("127.0.0.1:0"),
            ])
        #expect(try JSON5Reader.object(" { } ") == [:])
        #expect(try JSON5Reader.object("{a: 1}// end") == ["a": .text("1")])
    }

    @Test(arguments: [
        ("", 1, 1, "begins with {"), ("[]", 1, 1, "begins with {"),
        ("listen: 1", 1, 1, "begins with {"),
        ("{", 1, 1, "never closed"), ("{a: [1, 2}", 1, 10, "a comma or ] is missing"),
        ("{\n  a: 1\n  b: 2\n}", 3, 3, "a comma or } is missing"),
        ("{a: 1} x", 1, 8, "nothing may follow"),
        ("{a 1}", 1, 4, "a colon is missing"), ("{a}", 1, 3, "a colon is missing"),
        ("{a: }", 1, 5, "a value is missing"), ("{a: b}", 1, 5, "texts stand in quotes"),
        ("{: 1}", 1, 2, "a name is missing"), ("{,}", 1, 2, "a name is missing"),
        ("{a: 1,, b: 2}", 1, 7, "a name is missing"), ("{1a: 2}", 1, 2, "a name is missing"),
        ("{a: [,]}", 1, 6, "a value is missing"), ("{a: null}", 1, 5, "leave the line out"),
        ("{a: NaN}", 1, 5, "a value is missing"), ("{a: -Infinity}", 1, 5, "no number"),
        ("{\n a: 1,\n 'a': 2}", 3, 2, "stands in the object already"),
        ("{\r\n  a: 'SECRET,\r\n}", 2, 6, "not closed on its line"),
        ("{a: 'SECRET", 1, 5, "never closed"),
        ("{a: 'SECRET\\", 1, 5, "never closed"), ("{a: 127.0.0.1}", 1, 5, "no number"),
        ("{a: 15s}", 1, 5, "no number"), ("{a: 007}", 1, 5, "no number"),
        ("{a: 0x}", 1, 5, "no number"),
        ("{a: 1e}", 1, 5, "no number"), ("{a: .}", 1, 5, "no number"),
        ("{a: 1e999}", 1, 5, "no number"),
        ("{a: --1}", 1, 5, "no number"), ("{a: +}", 1, 5, "no number"),
        (#"{a: '\x4'}"#, 1, 6, "2 hexadecimal digits"),
        (#"{a: '\u00g0'}"#, 1, 6, "4 hexadecimal digits"),
        (#"{a: '\ud83d'}"#, 1, 6, "half a character"),
        (#"{a: '\ude00'}"#, 1, 6, "half a character"),
        (#"{a: '\ud83d\u0041'}"#, 1, 6, "half a character"), (#"{a: '\1'}"#, 1, 6, "no digit"),
        (#"{a: '\01'}"#, 1, 6, "no digit"), ("{a: 1} /* x", 1, 8, "never closed"),
        ("{a: 1, / b: 2}", 1, 8, "a comment begins"),
        ("{a: 1 # b\n}", 1, 7, "a comma or } is missing"),
    ])
    func `what is wrong is said with its place`(
        text: String, line: Int, column: Int, problem: String
    ) {
        let fault = #expect(throws: JSON5Fault.self) { try JSON5Reader.object(text) }
        #expect(fault?.line == line && fault?.column == column, "\(fault?.description ?? "")")
        #expect(fault?.problem.contains(problem) == true, "\(fault?.description ?? "")")
        #expect(fault?.description.contains("SECRET") == false)
    }

    @Test func `nesting has a bound`() throws {
        func nested(_ depth: Int) -> String {
            "{a: " + String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
                + "}"
        }
        _ = try JSON5Reader.object(nested(JSON5Reader.deepestNesting - 1))
        #expect(throws: JSON5Fault.self) {
            try JSON5Reader.object(nested(JSON5Reader.deepestNesting))
        }
        #expect(throws: JSON5Fault.self) { try JSON5Reader.object(nested(100_000)) }
    }

    @Test func `any text is an object or a fault`() {
        let pieces = [
            "{", "}", "[", "]", ":", ",", "'", "\"", "\\", "/", "*", "\n", " ", "a", "u", "0", "-",
            "e", "é",
        ]
        var generator = SeededGenerator(seed: 5)
        for _ in 0..<20_000 {
            let count = Int.random(in: 0..<12, using: &generator)
            let text = (0..<count).map { _ in pieces.randomElement(using: &generator) ?? "" }
                .joined()
            do throws(JSON5Fault) {
                _ = try JSON5Reader.object("{" + text)
            } catch {
                #expect(error.line > 0 && error.column > 0)
            }
        }
    }
}
