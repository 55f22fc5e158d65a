import CLibPQ
import EventCore
import Glibc

/// One connection to PostgreSQL on a loop, never blocking it.
///
/// It does one thing at a time: connecting, or one query. (libpq resolves the host's name while it
/// connects, which does block, but this thread serves no client.) The connection is told to use the
/// direct, writable server, and to notice within 25 s that the other side is gone.
final class DatabaseConnection: ReadinessHandler, TimerHandler {
    private enum State {
        case closed
        case connecting((DatabaseError?) -> Void)
        case idle
        case querying(Query, (consuming QueryOutcome) -> Void)
    }

    var timerIndex = -1
    private let loop: EventLoop
    private let servers: ServerList
    private var connection: PQConnection?
    private var state = State.closed
    /// What is registered with the loop; libpq may change its socket while it tries hosts.
    private var socket: Int32 = -1
    private var interest: Readiness = []
    /// What has come of the present query.
    private var result: OpaquePointer?
    private var failure: DatabaseError?

    /// Called with the channel and payload of every notification.
    var onNotification: (String, String) -> Void = { _, _ in }
    /// Called once when an idle connection breaks.
    var onLoss: (DatabaseError) -> Void = { _ in }

    init(loop: EventLoop, servers: ServerList) {
        self.loop = loop
        self.servers = servers
    }

    deinit {
        PQclear(result)
    }

    /// Whether a query can be sent.
    var isIdle: Bool { if case .idle = state { true } else { false } }

    /// Whether there is no connection.
    var isClosed: Bool { if case .closed = state { true } else { false } }

    /// Whether a connection is being opened.
    var isConnecting: Bool { if case .connecting = state { true } else { false } }

    /// The server process that serves the connection.
    var serverProcess: Int32 { connection?.serverProcess ?? 0 }

    // MARK: Connecting

    /// Opens the connection; `completion` gets the error, or `nil`.
    func connect(timeout: Duration = .seconds(5), completion: @escaping (DatabaseError?) -> Void) {
        precondition(isClosed, "connect() on an open connection")
        state = .connecting(completion)
        loop.setTimer(self, at: loop.now + timeout)
        let handle: OpaquePointer
        do {
            handle = try servers.open(PQconnectStartParams)
        } catch {
            return fail(error)
        }
        connection = PQConnection(owning: handle)
        guard PQstatus(handle) != CONNECTION_BAD else {
            return fail(connectionError("connect"))
        }
        // libpq's notices are the server's words to a person at a terminal.
        PQsetNoticeProcessor(handle, ignoreNotice, nil)
        watch(.writable)
    }

    private func continueConnecting(_ completion: (DatabaseError?) -> Void) {
        guard let handle = connection?.handle else { return }
        switch PQconnectPoll(handle) {
        case PGRES_POLLING_READING: watch(.readable)
        case PGRES_POLLING_WRITING: watch(.writable)
        case PGRES_POLLING_OK:
            PQsetnonblocking(handle, 1)
            loop.cancelTimer(self)
            if let server = connection?.server { servers.served(server) }
            state = .idle
            watch(.readable)
            completion(nil)
        default:
            fail(connectionError("connect"))
        }
    }

    /// Closes the connection; whatever was asked of it fails.
    func close() {
        fail(DatabaseError("close", message: "the connection was closed"), isAsked: true)
    }

    // MARK: Querying

    /// Sends a query; the connection must be idle.
    func run(_ query: Query, completion: @escaping (consuming QueryOutcome) -> Void) {
        guard case .idle = state, let handle = connection?.handle else {
            preconditionFailure("run() on a connection that is not idle")
        }
        state = .querying(query, completion)
        loop.setTimer(self, at: loop.now + query.timeout)
        let values = query.parameters.map { $0.map { UnsafePointer<CChar>(strdup($0)) } ?? nil }
        defer { for value in values { free(UnsafeMutablePointer(mutating: value)) } }
        let count = Int32(values.count)
        let sent =
            if let name = query.preparedName {
                PQsendQueryPrepared(handle, name, count, values, nil, nil, 1)
            } else {
                PQsendQueryParams(handle, query.sql, count, nil, values, nil, nil, 1)
            }
        guard sent == 1 else { return fail(connectionError(query.operation)) }
        flush()
    }

    private func flush() {
        guard let handle = connection?.handle else { return }
        switch PQflush(handle) {
        case 0: watch(.readable)
        case 1: watch([.readable, .writable])
        default: fail(connectionError("send"))
        }
    }

    func ready(_ readiness: Readiness) {
        switch state {
        case .connecting(let completion):
            continueConnecting(completion)
        case .idle, .querying:
            if readiness.contains(.writable) { flush() }
            receive()
        case .closed:
            break
        }
    }

    private func receive() {
        guard let handle = connection?.handle else { return }
        guard PQconsumeInput(handle) == 1 else { return fail(connectionError("receive")) }
        deliverNotifications()
        guard case .querying(let query, let completion) = state else { return }
        while PQisBusy(handle) == 0 {
            guard let next = PQgetResult(handle) else {
                // The server is ready for the next query, so this one has committed.
                return finish(query, completion)
            }
            switch PQresultStatus(next) {
            case PGRES_TUPLES_OK, PGRES_COMMAND_OK:
                PQclear(result)
                result = next
            default:
                failure = failure ?? DatabaseError(query.operation, next)
                PQclear(next)
            }
        }
    }

    private func finish(_ query: Query, _ completion: (consuming QueryOutcome) -> Void) {
        guard let handle = connection?.handle, PQstatus(handle) == CONNECTION_OK else {
            return fail(failure ?? connectionError(query.operation))
        }
        loop.cancelTimer(self)
        state = .idle
        defer { deliverNotifications() }
        if let failure {
            clearResult()
            completion(.failed(failure))
        } else if let result {
            self.result = nil
            completion(.rows(Rows(owning: result)))
        } else {
            completion(.failed(DatabaseError(query.operation, message: "no result came")))
        }
    }

    private func clearResult() {
        PQclear(result)
        result = nil
        failure = nil
    }

    private func deliverNotifications() {
        while let handle = connection?.handle, let notification = PQnotifies(handle) {
            let channel = String(cString: notification.pointee.relname)
            let payload = String(cString: notification.pointee.extra)
            PQfreemem(notification)
            onNotification(channel, payload)
        }
    }

    // MARK: Failing

    func timerFired(now: MonotonicTime) {
        switch state {
        case .connecting:
            // Unlike a blocking one, this connection knows no limit of time for each host.
            if let server = connection?.server { servers.hung(server) }
            fail(DatabaseError("connect", message: "no connection within the time allowed"))
        case .querying(let query, _):
            fail(
                DatabaseError(
                    query.operation,
                    message: "no answer within \(DurationText.text(query.timeout))"))
        case .idle, .closed:
            break
        }
    }

    private func fail(_ error: DatabaseError, isAsked: Bool = false) {
        let failed = state
        state = .closed
        loop.cancelTimer(self)
        if socket >= 0 { loop.deregister(socket) }
        socket = -1
        clearResult()
        connection = nil
        switch failed {
        case .connecting(let completion): completion(error)
        case .querying(_, let completion): completion(.failed(error))
        case .idle: if !isAsked { onLoss(error) }
        case .closed: break
        }
    }

    private func connectionError(_ operation: String) -> DatabaseError {
        DatabaseError(
            operation, message: connection?.errorMessage ?? "there is no connection")
    }

    private func watch(_ wanted: Readiness) {
        guard let handle = connection?.handle else { return }
        let present = PQsocket(handle)
        let isUnchanged = wanted == interest && !isConnecting
        interest = wanted
        // While it tries hosts, libpq closes its socket and may get another one of the same number:
        // the loop does not know that one, and its update fails.
        if present == socket, isUnchanged || loop.update(present, to: wanted) { return }
        if socket >= 0 { loop.deregister(socket) }
        socket = present
        do {
            try loop.register(present, for: wanted, handler: self)
        } catch {
            socket = -1
            fail(DatabaseError("connect", message: error.description))
        }
    }
}

/// A free function, so that it carries no isolation into libpq.
private nonisolated func ignoreNotice(_: UnsafeMutableRawPointer?, _: UnsafePointer<CChar>?) {}
