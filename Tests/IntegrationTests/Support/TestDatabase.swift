import Foundation
import TestSupport

@testable import EventService

/// A database of its own on the server that `dev/with-postgres` started.
final class TestDatabase: DatabaseClient {
    let name: String
    let url: String

    /// Creates the database; migrated unless told otherwise.
    init(migrated: Bool = true) throws {
        name = "test_" + UUID().uuidString.lowercased().replacing("-", with: "")
        url = try Self.server + "/" + name
        try BlockingConnection(url: Self.server + "/postgres").runScript(
            "create", "CREATE DATABASE \(name)")
        if migrated { try migrate() }
    }

    deinit {
        _ = try? BlockingConnection(url: Self.server + "/postgres")
            .runScript("drop", "DROP DATABASE \(name) WITH (FORCE)")
    }

    /// The server's URL without a database.
    private static var server: String {
        get throws {
            guard let url = ProcessInfo.processInfo.environment["DATABASE_URL"],
                let slash = url.lastIndex(of: "/")
            else { throw TestFailure("run integration tests through dev/test integration") }
            return String(url[..<slash])
        }
    }
}

/// A test cannot go on.
struct TestFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
