import EventCore

/// Reads revocations: all when the node attaches, later the new ones, and tells the workers.
///
/// A notification says that there are new ones. Twice a second it looks without one, for a notification
/// can be lost with the connection that should have heard it.
final class RevocationReader {
    /// How long a revocation can go unnoticed when no notification tells of it.
    static let interval = Duration.milliseconds(500)
    /// Where `revoke()` notifies.
    static let channel = "event_service_revoke"
    private static let sweepInterval = Duration.seconds(60)

    private let loop: EventLoop
    /// One connection for this alone: behind slow pages of the log a revocation would come too late.
    private let own: ConnectionPool
    private let pool: ConnectionPool
    private let state: AccessState
    private let inboxes: [WorkerInbox]
    private let lifetime: Int64
    /// With `auth=none` there are no tokens.
    private let isNeeded: Bool
    private let log: Log
    private var timer: LoopTimer?
    /// The transaction from which the next look goes on; `nil` before the first.
    private var next: Int64?
    /// How often the node has attached: the ids of transactions of one server mean nothing to another.
    private var attachments = 0
    private var isReading = false
    private var isNotified = false
    private var sweepAt: MonotonicTime

    init(
        loop: EventLoop, servers: ServerList, pool: ConnectionPool, configuration: Configuration,
        state: AccessState, inboxes: [WorkerInbox], log: Log
    ) {
        self.loop = loop
        own = ConnectionPool(loop: loop, servers: servers, size: 1, log: log)
        self.pool = pool
        self.state = state
        self.inboxes = inboxes
        isNeeded = configuration.auth == .required
        lifetime = TokenRules(configuration).revocationLifetime
        self.log = log
        sweepAt = loop.now + Self.sweepInterval
        timer = LoopTimer(loop) { [unowned self] _ in read() }
    }

    /// What the listener asks on its own connection before the node attaches.
    static let query = "SELECT * FROM event_service.revocations()"

    /// The rows of `query` have come: all there is. (After a failover some that were known may be
    /// missing, which stay known here.)
    func attached(_ rows: borrowing Rows) {
        attachments += 1
        // The listener may have come to another server.
        own.renew()
        take(rows)
        if isNeeded { timer?.set(after: Self.interval) }
    }

    /// Looks no more.
    func stop() {
        next = nil
        timer?.cancel()
        own.close()
    }

    /// A notification has come.
    func notified() {
        isNotified = true
        read()
    }

    private func read() {
        guard let next, isNeeded, !isReading else { return }
        isReading = true
        isNotified = false
        let query = Query(
            "read revocations", "SELECT * FROM event_service.revocations($1::text::xid8)",
            [String(next)])
        let attachment = attachments
        own.run(query) { [weak self] outcome in
            guard let self else { return }
            isReading = false
            switch consume outcome {
            case .rows(let rows): if attachment == attachments { take(rows) }
            case .failed(let error):
                log.debug("revocations: not read", ["error": error.description])
            }
            sweep()
            if self.next != nil { timer?.set(after: isNotified ? .zero : Self.interval) }
        }
    }

    private func take(_ rows: borrowing Rows) {
        var revocations: [Revocation] = []
        for row in 0..<rows.count where !rows.isNull(row, 0) {
            revocations.append(Self.revocation(rows, row))
        }
        if rows.count > 0 { next = rows.int64(0, 4) }
        // Known before it is told: a stream that opens meanwhile either sees it or is ended by it.
        guard let new = state.load(revocations), new.count > 0 else { return }
        log.info("revocations: read", ["new": String(new.count)])
        for inbox in inboxes { inbox.mailbox.post(.revoked(new)) }
    }

    private static func revocation(_ rows: borrowing Rows, _ row: Int) -> Revocation {
        Revocation(
            user: rows.isNull(row, 1) ? nil : rows.text(row, 1),
            session: rows.isNull(row, 2) ? nil : rows.text(row, 2),
            tokenID: rows.isNull(row, 3) ? nil : rows.text(row, 3), second: rows.int64(row, 0))
    }

    /// Forgets, here and in the database, what concerns no token any more.
    private func sweep() {
        guard loop.now >= sweepAt else { return }
        sweepAt = loop.now + Self.sweepInterval
        state.forgetRevocations(before: MonotonicClock.unixSecond() - lifetime)
        let query = Query(
            "forget revocations", "SELECT event_service.sweep_tokens($1::text::interval)",
            ["\(lifetime) seconds"])
        pool.run(query) { [log] outcome in
            guard case .failed(let error) = consume outcome else { return }
            log.debug("revocations: not swept", ["error": error.description])
        }
    }
}
