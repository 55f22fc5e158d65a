import Foundation
import TestSupport
import Testing

@testable import EventCore

@Suite struct `JSON documents` {
    private static func fault(_ text: String) -> JSONFault? {
        #expect(throws: JSONFault.self) { try JSONDocument(Array(text.utf8)) }
    }

    @Test(arguments: [
        (#"\u0000"#, true), (#"a\u0000b"#, true), (#"\\\u0000"#, true), (#"\n\u0000"#, true),
        (#"\\u0000"#, false), (#"\u0001"#, false), (#"\u000"#, false), (#"\u00\u0000"#, false),
        ("u0000", false), ("", false), (#"\"#, false),
    ])
    func `U+0000 is found by its escape`(text: String, holds: Bool) {
        #expect(text.utf8.holdsEscapedNUL == holds)
    }

    @Test(arguments: [
        ("", "value", 0), (" ", "value", 1), ("nul", "value", 3), ("nulls", "end", 4),
        ("tru1", "value", 3), ("+1", "value", 0), ("-", "value", 1), ("01", "end", 1),
        ("1.", "digit", 2), ("1e", "digit", 2), ("1e+", "digit", 3), (".5", "value", 0),
        ("NaN", "value", 0), ("\"", "end of a string", 1), ("\"\\", "escape", 2),
        ("\"\\x\"", "escape", 2), ("\"\\u12g4\"", "hexadecimal digit", 5),
        ("\"\u{1}\"", "character of a string", 1), ("\"\n\"", "character of a string", 1),
        ("'a'", "value", 0), ("[", "value", 1), ("[1", "comma or ]", 2), ("[1,]", "value", 3),
        ("[,1]", "value", 1), ("[1 2]", "comma or ]", 3), ("[1}", "comma or ]", 2),
        ("]", "value", 0),
        ("{", "member name", 1), ("{\"a\"", "colon", 4), ("{\"a\":", "value", 5),
        ("{\"a\":1", "comma or }", 6), ("{\"a\":1,}", "member name", 7),
        ("{a:1}", "member name", 1),
        ("{1:1}", "member name", 1), ("{\"a\":1]", "comma or }", 6), ("{} {}", "end", 3),
        ("// c\n1", "value", 0), ("[1]]", "end", 3), ("\u{FEFF}1", "value", 0),
    ])
    func `what is no JSON is refused where it ends to be`(
        text: String, wanted: String, offset: Int
    ) {
        #expect(Self.fault(text) == JSONFault(offset: offset, wanted: wanted), "\(text)")
    }

    @Test func `what is no UTF-8 is refused`() {
        for bytes: [UInt8] in [
            [0x22, 0xFF, 0x22], [0x22, 0xC0, 0x80, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22],
        ] {
            #expect(throws: JSONFault(offset: nil, wanted: "UTF-8")) { try JSONDocument(bytes) }
        }
    }

    @Test func `nesting has an end, whatever is nested`() throws {
        for (opening, closing) in [("[", "]"), ("{\"a\":", "}")] {
            func nested(_ depth: Int) -> String {
                String(repeating: opening, count: depth) + "1"
                    + String(repeating: closing, count: depth)
            }
            _ = try JSONDocument(Array(nested(JSONDocument.deepestNesting).utf8))
            let fault = Self.fault(nested(JSONDocument.deepestNesting + 1))
            #expect(fault?.wanted == "end of nesting after 128 levels")
        }
        // As deep as a message may be long, without running out of stack.
        #expect(Self.fault(String(repeating: "[", count: 1 << 20)) != nil)
    }

    /// Foundation reads the same, and takes nothing that is not taken here, on texts that are nearly JSON.
    @Test func `another parser agrees on what is JSON`() throws {
        var random = SeededGenerator(seed: 6)
        let alphabet = Array("{}[]\",:0123456789-+.eE\\utrfalsn \n\té".unicodeScalars)
        let seeds = [
            "{\"a\":[1,-2.5e3,{\"b\":\"\\u00e9\\n\"}],\"c\":null}", "[true,false,null,\"\",{},[]]",
            "{\"x\":{\"y\":{\"z\":0}}}", "-0.1e-7", "\"\\\\\\\"\"",
        ]
        for round in 0..<20_000 {
            var scalars = Array(seeds[round % seeds.count].unicodeScalars)
            for _ in 0..<Int.random(in: 0...2, using: &random) {
                let index = Int.random(in: 0..<scalars.count, using: &random)
                scalars[index] = alphabet.randomElement(using: &random) ?? " "
            }
            var text = String.UnicodeScalarView()
            text.append(contentsOf: scalars)
            let bytes = Array(String(text).utf8)
            let ours = (try? JSONDocument(bytes)) != nil
            let theirs = Self.foundationReads(bytes)
            #expect(ours == theirs, "\(String(text))")
        }
    }

    private static func foundationReads(_ bytes: [UInt8]) -> Bool {
        (try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)) != nil
    }

    @Test(arguments: [
        ("\"plain\"", "plain"), ("\"\"", ""), ("\"é😀\"", "é😀"),
        ("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\u{8}\u{C}\n\r\t"), ("\"\\u00e9\\u00E9\"", "éé"),
        ("\"\\ud83d\\ude00!\"", "😀!"), ("\"a\\u0041\"", "aA"),
    ])
    func `a string stands for a text`(json: String, text: String) throws {
        let document = try JSONDocument(Array(json.utf8))
        #expect(document.text(of: document.root) == text)
    }

    @Test(arguments: [
        "\"\\u0000\"", "\"\\ud83d\"", "\"\\ude00\"", "\"\\ud83d\\u0041\"", "\"\\ud83dx\"", "12",
    ])
    func `what PostgreSQL's text does not take stands for none`(json: String) throws {
        let document = try JSONDocument(Array(json.utf8))
        #expect(document.text(of: document.root) == nil)
    }
}
