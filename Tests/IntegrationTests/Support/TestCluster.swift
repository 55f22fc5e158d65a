import Foundation
import TestSupport

@testable import EventService

/// A PostgreSQL server of its own, for tests that stop it.
final class TestCluster: Sendable {
    private let folder: URL
    /// The URL of the database `postgres`, the same after every start.
    let url: String

    init() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "es-\(UUID().uuidString)")
        url = try Self.tool(["start", folder.path])
    }

    deinit {
        _ = try? Self.tool(["destroy", folder.path])
    }

    func start() throws {
        let now = try Self.tool(["start", folder.path])
        guard now == url else { throw TestFailure("the port was taken meanwhile") }
    }

    func stop(_ mode: String = "fast") throws {
        _ = try Self.tool(["stop", folder.path, mode])
    }

    @discardableResult
    private static func tool(_ arguments: [String]) throws -> String {
        let run = try ToolRun(
            Repository.root.path + "/dev/postgres", arguments, ProcessInfo.processInfo.environment)
        guard run.status == 0 else { throw TestFailure("dev/postgres \(arguments): \(run.error)") }
        return run.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
