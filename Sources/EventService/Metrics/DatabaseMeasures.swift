import EventCore

/// Reports what the database thread knows, and asks the database what only that does.
final class DatabaseMeasures {
    private let loop: EventLoop
    private let listener: NotificationListener
    private let pool: ConnectionPool
    private let reader: LogReader
    private var isAsking = false

    init(
        loop: EventLoop, listener: NotificationListener, pool: ConnectionPool, reader: LogReader
    ) {
        self.loop = loop
        self.listener = listener
        self.pool = pool
        self.reader = reader
    }

    /// Answers a round at once, and once more when the database has.
    func report(to round: ReportRound<MetricsPart>) {
        round.add(
            .database(
                DatabaseReport(
                    loop: LoopReport(name: "database", busy: loop.busy), listener: listener.report,
                    queries: pool.counts, connections: pool.openCount, waiting: pool.waitingCount,
                    keptPages: reader.keptPages, log: nil)))
        // One question at a time: a database that hangs is not asked by every scrape anew.
        guard !isAsking else { return round.add(.log(nil)) }
        isAsking = true
        let query = Query(
            "measure",
            """
            SELECT captured, inbox_events, (inbox_seconds * 1000)::bigint, head, floor, log_bytes \
            FROM event_service.measures()
            """)
        pool.run(query) { [weak self] outcome in
            self?.isAsking = false
            switch consume outcome {
            case .failed: round.add(.log(nil))
            case .rows(let rows): round.add(.log(Self.log(rows)))
            }
        }
    }

    private static func log(_ rows: borrowing Rows) -> LogReport? {
        guard rows.count == 1 else { return nil }
        return LogReport(
            captured: rows.int64(0, 0), inboxEvents: rows.int64(0, 1),
            inboxAge: .milliseconds(rows.int64(0, 2)), head: rows.int64(0, 3),
            floor: rows.int64(0, 4), bytes: rows.int64(0, 5))
    }
}
