import Foundation
import TestSupport
import Testing

/// A part of a page of the docs that is made from the code.
struct GeneratedSection {
    let path: String
    let name: String

    /// Compares the part with what the code says; with `UPDATE_FIXTURES` set it is written anew.
    func check(_ wanted: String) throws {
        let page = try Repository.text(path)
        let start = try #require(page.range(of: "<!-- \(name): begin -->\n")).upperBound
        let stop = try #require(page.range(of: "<!-- \(name): end -->\n")).lowerBound
        if ProcessInfo.processInfo.environment["UPDATE_FIXTURES"] != nil {
            try (page[..<start] + wanted + page[stop...]).write(
                to: Repository.root.appendingPathComponent(path), atomically: true, encoding: .utf8)
        }
        #expect(
            String(page[start..<stop]) == wanted,
            "UPDATE_FIXTURES=1 writes it anew: look at the difference")
    }
}
