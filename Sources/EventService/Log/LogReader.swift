import EventCore

/// Answers what workers ask of the log: pages, bounds, single events, and publishing.
///
/// A connection of the pool may reach another server than the listener did: an old primary, a standby
/// just promoted. So every answer carries the newest epoch of the log that it is from, and one that is not
/// this node's is not used.
///
/// Streams that catch up near each other read the same pages: a shared page begins at a multiple of its
/// size, so that ten thousand streams that come back together at as many different cursors need a
/// handful of queries. Pages that are being read are waited for together, the newest ones are kept, and
/// behind a full page the next is read ahead.
final class LogReader {
    /// Somebody who waits for a shared page.
    private struct PageWaiter {
        let after: Int64
        /// It came when the page was being read already.
        var isLate = false
        let reply: (LogReply) -> Void
    }

    private let pool: ConnectionPool
    private let encoder: EventEncoder
    private let access: AccessReader
    private let log: Log
    /// The most bytes of a page for one subscriber: as much as is queued for it.
    private let ownPageBytes: Int
    /// The history to which positions belong; `nil` before the first attachment.
    private(set) var history: EpochHistory?
    private var cache: PageCache
    private var cacheTimer: LoopTimer?
    private var waiting: [Int64: [PageWaiter]] = [:]
    private var boundsQuery = CoalescedQuery<(LogReply) -> Void>()
    private var logRows = LogRows()
    /// How many shared pages were answered without a query.
    private(set) var keptPages = 0

    /// How long a shared page is kept, at least, that nobody asks for.
    private static let pageLifetime = Duration.seconds(10)

    /// Called when a connection has found another history than that of the node.
    var onOtherHistory: () -> Void = {}

    /// - Parameter ringBytes: the setting `ring_bytes`; a quarter of it, but from 1 to 16 MiB, is kept of
    ///   shared pages.
    /// - Parameter maximumBacklog: the setting `max_backlog_bytes`.
    init(
        loop: EventLoop, pool: ConnectionPool, encoder: EventEncoder, ringBytes: Int,
        maximumBacklog: Int, access: AccessReader, log: Log
    ) {
        cache = PageCache(maximumBytes: min(max(ringBytes / 4, 1 << 20), 16 << 20))
        ownPageBytes = min(maximumBacklog, PageRequest.maximumBytes)
        self.pool = pool
        self.encoder = encoder
        self.access = access
        self.log = log
        cacheTimer = LoopTimer(loop) { [unowned self] _ in
            cache.removeUnwanted()
            if !cache.isEmpty { cacheTimer?.set(after: Self.pageLifetime) }
        }
    }

    /// The listener has attached; positions may mean other events than they did.
    func attached(_ history: EpochHistory) {
        guard history != self.history else { return }
        cache.removeAll()
        let isFirst = self.history == nil
        self.history = history
        // What the pool still waits for may be a server that is out of use, and would wait for long.
        if !isFirst { pool.renew() }
    }

    /// Whether a log whose newest epoch this is has the history of the node.
    func isAttached(to epoch: Int64) -> Bool {
        history?.newestEpoch == epoch
    }

    /// Whether an answer with this newest epoch, to what was asked for `asked`, is of the node's history;
    /// if not, and nothing has changed since, the node is to attach anew.
    func finds(_ epoch: Int64, since asked: EpochHistory?) -> Bool {
        if isAttached(to: epoch) { return true }
        if history != nil, history == asked { onOtherHistory() }
        return false
    }

    /// Does what a worker asked for.
    func received(_ call: LogCall) {
        let reply: (LogReply) -> Void = {
            call.replyTo.post(.reply($0, number: call.number))
        }
        switch call.request {
        case .locate(nil): if boundsQuery.asked(by: reply) { askBounds() }
        case .locate(let time?): locate(time, reply)
        case .page(.own(let after, let narrowing)):
            readPage(after: after, narrowing, maximumBytes: ownPageBytes, then: reply)
        case .page(.shared(let after, let until)):
            sharedPage(after: after, until: until, reply)
        case .event(let position): readEvent(position, reply)
        case .publish(let request): publish(request, reply)
        case .access(let request): access.received(request, reply)
        }
    }

    // MARK: Pages

    private func sharedPage(
        after: Int64, until: Int64, _ reply: @escaping (LogReply) -> Void
    ) {
        let start = after / PageRequest.size * PageRequest.size
        // A page that was read before its end was written ends short. It is good as long as the ring
        // goes on where it ends.
        let needed = min(start + PageRequest.size, max(until, after + 1))
        if let page = cache.page(after: start, upTo: needed) {
            keptPages += 1
            reply(.page(page))
            return readAhead(behind: page.scanned, head: page.head)
        }
        let isLate = waiting[start] != nil
        // Before it is read: that may fail at once.
        waiting[start, default: []].append(PageWaiter(after: after, isLate: isLate, reply: reply))
        if !isLate { readShared(start) }
    }

    private func readShared(_ start: Int64) {
        waiting[start] = waiting[start] ?? []
        readPage(after: start, .none) { [weak self] scanned, head in
            // Somebody waits, and will ask for the next: the database reads it while this one is
            // encoded.
            guard let self, waiting[start]?.isEmpty == false else { return }
            readAhead(behind: scanned, head: head)
        } then: { [weak self] outcome in
            guard let self else { return }
            let waited = waiting.removeValue(forKey: start) ?? []
            guard case .page(let page) = outcome else {
                for waiter in waited { waiter.reply(outcome) }
                return
            }
            if cache.isEmpty { cacheTimer?.set(after: Self.pageLifetime) }
            cache.keep(page, after: start)
            // For some the page may be older than their question: it is read again, once for all of them.
            let asksAgain = waited.filter { $0.isLate && page.head < $0.after }
            if !asksAgain.isEmpty {
                waiting[start] = asksAgain.map { PageWaiter(after: $0.after, reply: $0.reply) }
                readShared(start)
            }
            for waiter in waited where !waiter.isLate || page.head >= waiter.after {
                waiter.reply(checked(page, after: waiter.after))
            }
        }
    }

    /// Whoever read a full page of the shared ones will ask for the next.
    private func readAhead(behind scanned: Int64, head: Int64) {
        guard scanned % PageRequest.size == 0, scanned + PageRequest.size <= head,
            waiting[scanned] == nil, !cache.contains(after: scanned)
        else { return }
        readShared(scanned)
    }

    /// A log that ends before a position which its reader has passed is an older copy.
    private func checked(_ page: LogPage, after position: Int64) -> LogReply {
        guard page.head >= position else {
            onOtherHistory()
            return .unavailable
        }
        return .page(page)
    }

    /// Reads a page; `arrived` is called with the position up to which it is complete and the head of
    /// the log as soon as these are known, `reply` when it is encoded.
    private func readPage(
        after: Int64, _ narrowing: Narrowing, maximumBytes: Int = PageRequest.maximumBytes,
        arrived: @escaping (Int64, Int64) -> Void = { _, _ in },
        then reply: @escaping (LogReply) -> Void
    ) {
        let query = Query(
            "read the log",
            "SELECT \(Self.newestEpoch), r.* FROM event_service.replay($1, $2, $3, $4, $5, $6) r",
            [
                String(after), String(PageRequest.size), narrowing.labels.map(Query.array),
                narrowing.likePatterns.map(Query.array), narrowing.keys.map(Query.array),
                String(maximumBytes),
            ], timeout: .seconds(30))
        ask(query, reply) { [unowned self] rows, history in
            let (head, floor, scanned) = (rows.int64(0, 1), rows.int64(0, 2), rows.int64(0, 3))
            arrived(scanned, head)
            var batch = EncodedBatch(first: max(after + 1, floor), last: scanned)
            logRows.encode(rows, from: 4, by: encoder, history: history, to: &batch)
            let page = LogPage(
                head: head, floor: floor, scanned: scanned, block: FrameBlock(batch))
            reply(checked(page, after: after))
        }
    }

    // MARK: Asking

    /// The newest epoch, in SQL: in a query's own snapshot, so that it belongs to the rest of the answer.
    static let newestEpoch = "(SELECT event_service.newest_epoch())"

    /// Runs a query whose first column is the newest epoch, and hands on its rows with the history that
    /// they are from; `reply` gets anything else.
    private func ask(
        _ query: Query, isRepeatable: Bool = true, _ reply: @escaping (LogReply) -> Void,
        failed: ((DatabaseError) -> LogReply?)? = nil,
        then body: @escaping (borrowing Rows, EpochHistory) -> Void
    ) {
        guard let history else { return reply(.unavailable) }
        pool.run(query, isRepeatable: isRepeatable) { [weak self] outcome in
            guard let self else { return reply(.unavailable) }
            let isAskedAgain: Bool
            switch consume outcome {
            case .rows(let rows):
                guard rows.count > 0 else { return reply(.unavailable) }
                if finds(rows.int64(0, 0), since: history), let present = self.history {
                    return body(rows, present)
                }
                // Perhaps the listener has attached anew since the query was sent.
                isAskedAgain = isRepeatable && self.history != history
            case .failed(let error):
                // The floor rose over what was being read.
                isAskedAgain = isRepeatable && error.sqlState == "40001"
                if !isAskedAgain { return reply(failed?(error) ?? unavailable(error)) }
            }
            if isAskedAgain {
                ask(query, reply, failed: failed, then: body)
            } else {
                reply(.unavailable)
            }
        }
    }

    // MARK: Others

    /// Ten thousand clients that come back after a failover ask at once for what no node knows by itself.
    private func askBounds() {
        locate(nil) { [weak self] outcome in
            guard let self else { return }
            let (waiters, isSentAgain) = boundsQuery.answered()
            if isSentAgain { askBounds() }
            for reply in waiters { reply(outcome) }
        }
    }

    private func locate(_ time: Timestamp?, _ reply: @escaping (LogReply) -> Void) {
        let query = Query(
            "locate a cursor",
            """
            SELECT \(Self.newestEpoch), b.*, event_service.position_before($1::timestamptz) \
            FROM event_service.bounds() b
            """, [time.map { "\(max($0, .firstYear))" }])
        ask(query, reply) { rows, _ in
            guard let bounds = LogRows.bounds(rows, from: 1) else { return reply(.unavailable) }
            reply(.located(bounds, positionBefore: rows.isNull(0, 5) ? nil : rows.int64(0, 5)))
        }
    }

    private func readEvent(_ position: Int64, _ reply: @escaping (LogReply) -> Void) {
        let query = Query(
            "read an event",
            """
            SELECT x.epoch, e.* FROM (SELECT \(Self.newestEpoch) AS epoch) x \
            LEFT JOIN event_service.event_at($1) e ON true
            """, [String(position)])
        ask(query, reply) { [unowned self] rows, _ in
            reply(.event(rows.isNull(0, 1) ? nil : logRows.event(rows, 0, from: 1)))
        }
    }

    private func publish(_ request: PublishRequest, _ reply: @escaping (LogReply) -> Void) {
        // Nothing is published to a log that is not the node's: its clients would never see it.
        let query = Query(
            "publish",
            """
            SELECT x.epoch, unnest(CASE WHEN x.epoch = $3 \
            THEN event_service.publish_all($1::jsonb, $2::jsonb) ELSE '{0}' END) \
            FROM (SELECT \(Self.newestEpoch) AS epoch) x
            """,
            [request.body, request.envelopes, history.map { String($0.newestEpoch) }])
        // Not repeatable: it may have committed when the connection broke.
        ask(query, isRepeatable: false, reply) { error in
            // Class 22: what was given is not what the function takes.
            guard let state = error.sqlState, state.hasPrefix("22") || state == "42939" else {
                return nil
            }
            let hint = error.hint.map { " \($0)" } ?? ""
            return .refused(.badRequest(error.message + "." + hint))
        } then: { rows, _ in
            reply(.published((0..<rows.count).map { rows.int64($0, 1) }))
        }
    }

    private func unavailable(_ error: DatabaseError) -> LogReply {
        log.warning("log: not answered", ["error": error.description])
        return .unavailable
    }
}
