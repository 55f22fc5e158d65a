import Foundation
import TestSupport
import Testing

/// What the compiler does not forbid: see docs/ARCHITECTURE.md.
@Suite struct Tidiness {
    /// C libraries, and the one folder that may import each.
    static let rooms: [(module: String, folder: String)] = [
        ("CLibPQ", "Sources/EventService/Postgres/"),
        ("CJose", "Sources/EventService/Auth/"),
        ("CCurl", "Sources/EventService/HTTP/"),
        ("CHiredis", "Sources/EventService/Redis/"),
        ("CRDKafka", "Sources/EventService/Kafka/"),
    ]

    private static func imports(of path: String) throws -> [String] {
        try Repository.text(path).split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            guard let index = words.firstIndex(of: "import"), index <= 2, index + 1 < words.count,
                words[..<index].allSatisfy({
                    $0.hasPrefix("@") || ["public", "internal", "package"].contains($0)
                })
            else { return nil }
            return String(words[index + 1])
        }
    }

    @Test func `the core imports nothing`() throws {
        for path in Repository.files(below: "Sources/EventCore", ending: ".swift") {
            #expect(try Self.imports(of: path) == [], "\(path)")
        }
    }

    @Test(arguments: rooms)
    func `a C library is imported in its own folder only`(module: String, folder: String) throws {
        for path in Repository.files(below: "Sources", ending: ".swift")
        where try Self.imports(of: path).contains(module) {
            #expect(path.hasPrefix(folder), "\(path) imports \(module)")
        }
    }

    @Test func `the service does without the whole of Foundation`() throws {
        for path in Repository.files(below: "Sources", ending: ".swift") {
            #expect(
                !(try Self.imports(of: path).contains("Foundation")),
                "\(path): FoundationEssentials")
        }
    }

    @Test func `files hold one thing`() throws {
        for folder in ["Sources", "Tests"] {
            for path in Repository.files(below: folder, ending: ".swift") {
                let lines = try Repository.text(path).split(
                    separator: "\n", omittingEmptySubsequences: false)
                #expect(lines.count <= 520, "\(path) has \(lines.count) lines")
            }
        }
    }

    @Test func `C shims let the C library own its types`() throws {
        for path in Repository.files(below: "Sources", ending: "shim.h") {
            let text = try Repository.text(path)
            #expect(text.contains("#pragma clang module import SwiftGlibc"), "\(path)")
        }
    }

    @Test(arguments: [
        ("TODO", "finish it, or say in an issue what is missing"),
        ("FIXME", "finish it, or say in an issue what is missing"),
        ("try!", "handle the error, or say with a precondition why there is none"),
        ("fatalError(", "preconditionFailure, on what our own code ordered wrongly"),
        ("DispatchQueue", "a loop, or structured concurrency"),
    ])
    func `banned words stay away`(word: String, instead: String) throws {
        for path in Repository.files(below: "Sources", ending: ".swift") {
            #expect(!(try Repository.text(path).contains(word)), "\(path): \(word) – \(instead)")
        }
    }

    @Test func `an unchecked promise names its guard`() throws {
        for path in Repository.files(below: "Sources", ending: ".swift") {
            let lines = try Repository.text(path).split(
                separator: "\n", omittingEmptySubsequences: false)
            for (index, line) in lines.enumerated()
            where line.contains("@unchecked Sendable") && !line.contains("///") {
                let above = lines[..<index].suffix(3).joined()
                #expect(above.contains("`@unchecked Sendable`:"), "\(path):\(index + 1)")
            }
        }
    }
}
