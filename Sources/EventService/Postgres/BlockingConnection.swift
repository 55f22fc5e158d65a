import CLibPQ
import EventCore
import Glibc

/// A connection for commands, which have nothing else to do than wait for its answers.
final class BlockingConnection {
    private let connection: PQConnection
    /// How long an answer may take; `nil`: as long as it takes.
    private let patience: Duration?

    /// Opens a connection.
    ///
    /// - Parameters:
    ///   - patience: how long each answer may take; past it the connection is of no more use.
    ///   - writable: whether only a server will do that takes writes.
    init(url: String, patience: Duration? = nil, writable: Bool = true) throws(DatabaseError) {
        let overrides = writable ? [] : [("target_session_attrs", "any")]
        let handle = try PQConnection.open(url: url, overrides: overrides, PQconnectdbParams)
        connection = PQConnection(owning: handle)
        self.patience = patience
        guard PQstatus(handle) == CONNECTION_OK else {
            throw DatabaseError("connect", message: connection.errorMessage)
        }
        PQsetNoticeProcessor(handle, printNotice, nil)
    }

    /// The server's address, as people write it.
    var address: String { connection.server.host + ":" + connection.server.port }

    /// The server process as the connection was told of it: a pooler tells a number of its own.
    var serverProcess: Int32 { connection.serverProcess }

    /// Runs one statement and returns its rows as text.
    @discardableResult
    func run(
        _ operation: String, _ sql: String, _ parameters: [String?] = []
    ) throws(DatabaseError) -> [[String?]] {
        let values = parameters.map { $0.map { UnsafePointer<CChar>(strdup($0)) } ?? nil }
        defer { for value in values { free(UnsafeMutablePointer(mutating: value)) } }
        let handle = connection.handle
        let sent = PQsendQueryParams(
            handle, sql, Int32(values.count), nil, values, nil, nil, 0)
        let result = try answer(operation, isSent: sent == 1)
        defer { PQclear(result) }
        return (0..<PQntuples(result)).map { row in
            (0..<PQnfields(result)).map { column in
                PQgetisnull(result, row, column) == 1
                    ? nil : String(cString: PQgetvalue(result, row, column))
            }
        }
    }

    /// Runs a script of several statements.
    func runScript(_ operation: String, _ sql: String) throws(DatabaseError) {
        PQclear(try answer(operation, isSent: PQsendQuery(connection.handle, sql) == 1))
    }

    /// Waits for a notification on a channel; `false` if none came in time.
    func hears(_ channel: String, within patience: Duration) -> Bool {
        let deadline = MonotonicClock.now() + patience
        repeat {
            while let notification = PQnotifies(connection.handle) {
                defer { PQfreemem(notification) }
                if String(cString: notification.pointee.relname) == channel { return true }
            }
        } while waitForInput(until: deadline) && PQconsumeInput(connection.handle) == 1
        return false
    }

    /// The last result of what was sent, unless one of them is an error.
    private func answer(
        _ operation: String, isSent: Bool
    ) throws(DatabaseError) -> OpaquePointer? {
        guard isSent else { throw DatabaseError(operation, message: connection.errorMessage) }
        let deadline = patience.map { MonotonicClock.now() + $0 } ?? .distantFuture
        var last: OpaquePointer?
        var failure: DatabaseError?
        while true {
            while PQisBusy(connection.handle) == 1 {
                guard waitForInput(until: deadline) else {
                    PQclear(last)
                    let limit = DurationText.text(patience ?? .zero)
                    throw DatabaseError(operation, message: "no answer within \(limit)")
                }
                guard PQconsumeInput(connection.handle) == 1 else { break }
            }
            guard let next = PQgetResult(connection.handle) else { break }
            switch PQresultStatus(next) {
            case PGRES_TUPLES_OK, PGRES_COMMAND_OK:
                PQclear(last)
                last = next
            default:
                failure = failure ?? DatabaseError(operation, next)
                PQclear(next)
            }
        }
        if failure == nil, last == nil {
            failure = DatabaseError(operation, message: connection.errorMessage)
        }
        guard let failure else { return last }
        PQclear(last)
        throw failure
    }

    private func waitForInput(until deadline: MonotonicTime) -> Bool {
        while true {
            var descriptor = pollfd(
                fd: PQsocket(connection.handle), events: Int16(POLLIN), revents: 0)
            let left = (deadline - MonotonicClock.now()).wholeMilliseconds
            let ready = poll(
                &descriptor, 1, deadline == .distantFuture ? -1 : Int32(clamping: max(left, 0)))
            if ready >= 0 || errno != EINTR { return ready > 0 }
        }
    }
}

/// A free function, so that it carries no isolation into libpq.
private nonisolated func printNotice(_: UnsafeMutableRawPointer?, _ text: UnsafePointer<CChar>?) {
    guard let text else { return }
    Terminal.error(String(cString: text).split(whereSeparator: \.isNewline).joined(separator: "\n"))
}
