import EventCore

/// A few connections for queries that need no session of their own.
///
/// Connections are opened when they are first needed and stay. What waits is bounded in number and in
/// time: past the bounds a query fails, as it does when no connection can be opened, so that the one who
/// asks can say so to its client.
final class ConnectionPool {
    private struct Waiting {
        let query: Query
        let completion: (consuming QueryOutcome) -> Void
        /// Whether it may be sent again when an idle connection turns out to be dead.
        let isRepeatable: Bool
        /// When it is given up, unless a connection is free by then.
        let deadline: MonotonicTime
    }

    /// How many queries may wait.
    static let longestQueue = 10_000
    /// How long a query may wait for a connection.
    static let longestWait = Duration.seconds(10)
    /// How often it is looked whether one has waited too long.
    private static let lookInterval = Duration.milliseconds(500)

    private let loop: EventLoop
    private let servers: ServerList
    private let size: Int
    private let log: Log
    private var connections: [DatabaseConnection] = []
    private var queue: [Waiting] = []
    private var queueStart = 0
    private var waitTimer: LoopTimer?
    /// What was asked.
    private(set) var counts = QueryCounts()

    init(loop: EventLoop, servers: ServerList, size: Int, log: Log) {
        self.loop = loop
        self.servers = servers
        self.size = size
        self.log = log
        waitTimer = LoopTimer(loop) { [unowned self] in giveUpLate(now: $0) }
    }

    /// Runs a query as soon as a connection is free.
    func run(
        _ query: Query, isRepeatable: Bool = true,
        completion: @escaping (consuming QueryOutcome) -> Void
    ) {
        guard queue.count - queueStart < Self.longestQueue else {
            return completion(
                .failed(DatabaseError(query.operation, message: "too many are waiting")))
        }
        queue.append(
            Waiting(
                query: query, completion: completion, isRepeatable: isRepeatable,
                deadline: loop.now + Self.longestWait))
        work()
    }

    /// Drops what is connected; what is under way there is asked again elsewhere, if it may be.
    func renew() {
        // The idle ones first: what is asked again must not be sent on one of them. And it may open one
        // of these anew: each is dropped once.
        for connection in connections where connection.isIdle { connection.close() }
        for connection in connections where !connection.isConnecting { connection.close() }
    }

    /// Closes all connections; what waits fails.
    func close() {
        waitTimer?.cancel()
        let waiting = takeAll()
        for connection in connections { connection.close() }
        for entry in waiting {
            entry.completion(
                .failed(DatabaseError(entry.query.operation, message: "the service stops")))
        }
    }

    private func takeAll() -> ArraySlice<Waiting> {
        defer {
            queue = []
            queueStart = 0
        }
        return queue[queueStart...]
    }

    /// All connections are slow, or there is none: whoever has waited long enough is told.
    private func giveUpLate(now: MonotonicTime) {
        let waiting = takeAll()
        queue = waiting.filter { $0.deadline > now }
        lookLater()
        let limit = DurationText.text(Self.longestWait)
        for entry in waiting where entry.deadline <= now {
            counts.record(entry.query.operation, isAnswered: false, took: Self.longestWait)
            entry.completion(
                .failed(
                    DatabaseError(
                        entry.query.operation, message: "no connection was free within \(limit)")))
        }
    }

    private func lookLater() {
        if waitingCount > 0 {
            waitTimer?.set(after: Self.lookInterval)
        } else {
            waitTimer?.cancel()
        }
    }

    private func work() {
        while queueStart < queue.count {
            guard let connection = connections.first(where: \.isIdle) else { break }
            start(takeFirst(), on: connection)
        }
        let opening = connections.count { $0.isConnecting }
        if waitingCount > opening { openOne() }
        if waitingCount > 0, waitTimer?.isSet == false { lookLater() }
    }

    private func takeFirst() -> Waiting {
        let first = queue[queueStart]
        queueStart += 1
        if queueStart > 64, queueStart > queue.count / 2 {
            queue.removeFirst(queueStart)
            queueStart = 0
        }
        return first
    }

    /// How many queries wait for a connection.
    var waitingCount: Int { queue.count - queueStart }

    /// How many connections are open.
    var openCount: Int { connections.count { !$0.isClosed } }

    private func start(_ waiting: Waiting, on connection: DatabaseConnection) {
        let sent = loop.now
        let done = { [unowned self] isAnswered in
            counts.record(
                waiting.query.operation, isAnswered: isAnswered, took: loop.now - sent)
        }
        connection.run(waiting.query) { [weak self] outcome in
            guard let self else { return }
            switch consume outcome {
            case .rows(let rows):
                done(true)
                waiting.completion(.rows(rows))
            case .failed(let error) where error.isConnectionLoss && waiting.isRepeatable:
                // Sent on a connection that had died while it was idle, perhaps: once more.
                let again = Waiting(
                    query: waiting.query, completion: waiting.completion, isRepeatable: false,
                    deadline: loop.now + Self.longestWait)
                queue.insert(again, at: queueStart)
            case .failed(let error):
                done(false)
                waiting.completion(.failed(error))
            }
            work()
        }
    }

    private func openOne() {
        let closed = connections.first(where: \.isClosed)
        guard closed != nil || connections.count < size else { return }
        let connection = closed ?? DatabaseConnection(loop: loop, servers: servers)
        if closed == nil { connections.append(connection) }
        connection.connect { [weak self] error in
            guard let self else { return }
            guard let error else { return prepare(connection) }
            log.debug("pool: no connection", ["error": error.description])
            failAll(error)
        }
    }

    private func prepare(_ connection: DatabaseConnection) {
        connection.run(Session.prepare) { [weak self] outcome in
            guard let self else { return }
            if case .failed(let error) = consume outcome {
                connection.close()
                failAll(error)
            } else {
                work()
            }
        }
    }

    /// Nothing of what waits can be done now, unless another connection still serves it.
    private func failAll(_ error: DatabaseError) {
        guard connections.allSatisfy(\.isClosed) else { return }
        for entry in takeAll() { entry.completion(.failed(error)) }
    }
}

/// What every session of the service sets first.
enum Session {
    /// Nothing of the login's own settings may change what our queries mean. The server notices within
    /// 25 s that we are gone, and frees the locks that the session held.
    static let prepare = Query(
        "prepare the session",
        """
        SELECT set_config('search_path', 'pg_catalog, pg_temp', false), \
        set_config('timezone', 'UTC', false), \
        set_config('default_transaction_isolation', 'read committed', false), \
        set_config('default_transaction_read_only', 'off', false), \
        set_config('statement_timeout', '60s', false), \
        set_config('idle_in_transaction_session_timeout', '60s', false), \
        set_config('tcp_keepalives_idle', '10', false), \
        set_config('tcp_keepalives_interval', '5', false), \
        set_config('tcp_keepalives_count', '3', false), \
        set_config('tcp_user_timeout', '20000', false)
        """)
}
