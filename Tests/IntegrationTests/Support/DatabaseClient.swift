@testable import EventService

/// Whatever has a URL by which statements can be run.
protocol DatabaseClient: Sendable {
    /// The URL of the database.
    var url: String { get }
}

extension DatabaseClient {
    /// Opens a connection.
    func connect() throws -> BlockingConnection {
        try BlockingConnection(url: url, writable: false)
    }

    /// Applies the migrations with `event-service migrate`.
    func migrate() throws {
        let result = try ToolRun(["migrate", "--database-url", url])
        guard result.status == 0 else { throw TestFailure("migrate: \(result.error)") }
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
