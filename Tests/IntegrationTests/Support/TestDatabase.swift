import Foundation
import TestSupport

@testable import EventService

/// A database of its own on the server that `dev/with-postgres` started.
final class TestDatabase: Sendable {
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

    /// Applies the migrations with `event-service migrate`.
    func migrate() throws {
        let result = try ToolRun(["migrate", "--database-url", url])
        guard result.status == 0 else { throw TestFailure("migrate: \(result.error)") }
    }

    /// Opens a connection.
    func connect() throws -> BlockingConnection {
        try BlockingConnection(url: url)
    }

    /// Runs statements on a connection of their own.
    func run(_ sql: String) throws {
        try connect().runScript("test", sql)
    }

    /// The first column of the rows of a query.
    func column(_ sql: String) throws -> [String] {
        try connect().run("test", sql).map { $0[0] ?? "" }
    }

    /// The first value of a query.
    func value(_ sql: String) throws -> String {
        try column(sql).first ?? ""
    }

    /// The ids of the log, in their order.
    func ids() throws -> [String] {
        try column("SELECT id FROM event_service.events ORDER BY split_part(id, '-', 2)::bigint")
    }
}

/// A test cannot go on.
struct TestFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
