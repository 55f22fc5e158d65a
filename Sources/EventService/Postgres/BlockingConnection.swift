import CLibPQ
import EventCore
import Glibc

/// A connection for commands, which have nothing else to do than wait for its answers.
final class BlockingConnection {
    private let connection: PQConnection

    init(url: String) throws(DatabaseError) {
        guard let handle = PQConnection.open(url: url, PQconnectdbParams) else {
            throw DatabaseError("connect", message: "out of memory")
        }
        connection = PQConnection(owning: handle)
        guard PQstatus(handle) == CONNECTION_OK else {
            throw DatabaseError("connect", message: connection.errorMessage)
        }
        PQsetNoticeProcessor(handle, printNotice, nil)
    }

    /// Runs one statement and returns the first column of its rows, as text.
    @discardableResult
    func run(
        _ operation: String, _ sql: String, _ parameters: [String?] = []
    ) throws(DatabaseError) -> [[String?]] {
        let values = parameters.map { $0.map { UnsafePointer<CChar>(strdup($0)) } ?? nil }
        defer { for value in values { free(UnsafeMutablePointer(mutating: value)) } }
        let result = PQexecParams(
            connection.handle, sql, Int32(values.count), nil, values, nil, nil, 0)
        defer { PQclear(result) }
        try check(operation, result)
        return (0..<PQntuples(result)).map { row in
            (0..<PQnfields(result)).map { column in
                PQgetisnull(result, row, column) == 1
                    ? nil : String(cString: PQgetvalue(result, row, column))
            }
        }
    }

    /// Runs a script of several statements.
    func runScript(_ operation: String, _ sql: String) throws(DatabaseError) {
        let result = PQexec(connection.handle, sql)
        defer { PQclear(result) }
        try check(operation, result)
    }

    private func check(_ operation: String, _ result: OpaquePointer?) throws(DatabaseError) {
        switch PQresultStatus(result) {
        case PGRES_TUPLES_OK, PGRES_COMMAND_OK: return
        default:
            throw result.map { DatabaseError(operation, $0) }
                ?? DatabaseError(operation, message: connection.errorMessage)
        }
    }
}

/// A free function, so that it carries no isolation into libpq.
private nonisolated func printNotice(_: UnsafeMutableRawPointer?, _ text: UnsafePointer<CChar>?) {
    guard let text else { return }
    Terminal.error(String(cString: text).split(whereSeparator: \.isNewline).joined(separator: "\n"))
}
