import Foundation
import TestSupport
import Testing

@Suite struct `Security page` {
    private static let path = "docs/security.md"

    @Test func `the matrix on the page is the one of the tests`() throws {
        let text = try Repository.text(Self.path)
        let (begin, end) = ("dev/test unit -->\n", "<!-- end of matrix -->")
        let start = try #require(text.range(of: begin))
        let stop = try #require(text.range(of: end))
        let wanted =
            text[..<start.upperBound] + "\n" + AccessMatrix.markdown + "\n\n"
            + text[stop.lowerBound...]
        if ProcessInfo.processInfo.environment["UPDATE_FIXTURES"] != nil {
            try String(wanted).write(
                to: Repository.root.appendingPathComponent(Self.path), atomically: true,
                encoding: .utf8)
        }
        #expect(
            try Repository.text(Self.path) == wanted,
            "write it with UPDATE_FIXTURES=1 dev/test unit")
    }

    @Test func `the matrix is whole`() {
        for audience in AccessMatrix.audiences {
            let marks = audience.marks.filter { $0 != " " }
            #expect(marks.count == AccessMatrix.subscribers.count, "\(audience.name)")
            #expect(marks.allSatisfy { $0 == "x" || $0 == "." })
        }
        for way in AccessMatrix.waysIn {
            #expect(way.statuses.count == AccessMatrix.requests.count, "\(way.name)")
        }
    }

    /// A claim without a test is a wish.
    @Test func `every test that the page names is there`() throws {
        let text = try Repository.text(Self.path)
        let tests =
            try Repository.files(below: "Tests", ending: ".swift").map { try Repository.text($0) }
            + Repository.files(below: "Tests/SQL", ending: ".sql").map { try Repository.text($0) }
        let all = tests.joined()
        // In italics, and so many words that it is no emphasis.
        let plain = text.replacing(/`[^`]*`/, with: "").replacing("\\*", with: "")
        let names = plain.replacing("**", with: "").split(
            separator: "*", omittingEmptySubsequences: false
        )
        .enumerated().filter { $0.offset % 2 == 1 }
        .map { $0.element.replacing("\n", with: " ") }.filter {
            $0.split(separator: " ").count >= 4
        }
        #expect(names.count > 40)
        for name in names {
            #expect(all.contains("func `\(name)`") || all.contains("'\(name)'"), "\(name)")
        }
    }
}
