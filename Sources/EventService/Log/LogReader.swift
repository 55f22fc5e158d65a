import EventCore

/// Answers what workers ask of the log: pages, bounds, single events, and publishing.
///
/// Streams that catch up near each other read the same pages: a shared page begins at a multiple of its
/// size, so that ten thousand streams that come back together at as many different cursors need a
/// handful of queries. Pages that are being read are waited for together, the newest ones are kept, and
/// behind a full page the next is read ahead.
final class LogReader {

    private let pool: ConnectionPool
    private let encoder: EventEncoder
    private let access: AccessReader
    private let log: Log
    /// How much is kept of shared pages.
    private let cacheBytes: Int
    /// The history to which positions belong; `nil` before the first attachment.
    private var history: EpochHistory?
    private var cache: [(after: Int64, page: LogPage)] = []
    private var waiting: [Int64: [(LogReply) -> Void]] = [:]
    private var logRows = LogRows()

    /// - Parameter ringBytes: the setting `ring_bytes`; a quarter of it, but from 1 to 16 MiB, is kept of
    ///   shared pages.
    init(
        pool: ConnectionPool, encoder: EventEncoder, ringBytes: Int, access: AccessReader, log: Log
    ) {
        cacheBytes = min(max(ringBytes / 4, 1 << 20), 16 << 20)
        self.pool = pool
        self.encoder = encoder
        self.access = access
        self.log = log
    }

    /// The listener has attached; positions may mean other events than they did.
    func attached(_ history: EpochHistory) {
        if history != self.history { cache = [] }
        self.history = history
    }

    /// Does what a worker asked for.
    func received(_ call: LogCall) {
        let reply: (LogReply) -> Void = {
            call.replyTo.post(.reply($0, number: call.number))
        }
        switch call.request {
        case .locate(let time): locate(time, reply)
        case .page(.own(let after, let narrowing)):
            readPage(after: after, narrowing, then: reply)
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
        if let kept = cache.first(where: { $0.after == start }), kept.page.scanned >= needed {
            reply(.page(kept.page))
            return readAhead(behind: kept.page.scanned, head: kept.page.head)
        }
        if waiting[start] == nil { readShared(start) }
        waiting[start]?.append(reply)
    }

    private func readShared(_ start: Int64) {
        waiting[start] = []
        readPage(after: start, .none) { [weak self] scanned, head in
            // Somebody waits, and will ask for the next: the database reads it while this one is
            // encoded.
            guard let self, waiting[start]?.isEmpty == false else { return }
            readAhead(behind: scanned, head: head)
        } then: { [weak self] outcome in
            guard let self else { return }
            if case .page(let page) = outcome { keep(page, after: start) }
            for reply in waiting.removeValue(forKey: start) ?? [] { reply(outcome) }
        }
    }

    private func keep(_ page: LogPage, after: Int64) {
        cache.removeAll { $0.after == after }
        cache.append((after, page))
        var bytes = cache.reduce(0) { $0 + $1.page.block.byteCount }
        while bytes > cacheBytes, cache.count > 1 {
            bytes -= cache.removeFirst().page.block.byteCount
        }
    }

    /// Whoever read a full page of the shared ones will ask for the next.
    private func readAhead(behind scanned: Int64, head: Int64) {
        guard scanned % PageRequest.size == 0, scanned + PageRequest.size <= head,
            waiting[scanned] == nil, !cache.contains(where: { $0.after == scanned })
        else { return }
        readShared(scanned)
    }

    /// Reads a page; `arrived` is called with the position up to which it is complete and the head of
    /// the log as soon as these are known, `reply` when it is encoded.
    private func readPage(
        after: Int64, _ narrowing: Narrowing,
        arrived: @escaping (Int64, Int64) -> Void = { _, _ in },
        then reply: @escaping (LogReply) -> Void
    ) {
        let query = Query(
            "read the log", "SELECT * FROM event_service.replay($1, $2, $3, $4, $5)",
            [
                String(after), String(PageRequest.size), narrowing.labels.map(Query.array),
                narrowing.likePatterns.map(Query.array), narrowing.keys.map(Query.array),
            ], timeout: .seconds(30))
        pool.run(query) { [weak self] outcome in
            guard let self, let history else { return reply(.unavailable) }
            switch consume outcome {
            case .failed(let error):
                reply(unavailable(error))
            case .rows(let rows):
                guard rows.count > 0 else { return reply(.unavailable) }
                let floor = rows.int64(0, 1)
                let scanned = rows.int64(0, 2)
                arrived(scanned, rows.int64(0, 0))
                var batch = EncodedBatch(first: max(after + 1, floor), last: scanned)
                logRows.encode(rows, from: 3, by: encoder, history: history, to: &batch)
                reply(
                    .page(
                        LogPage(
                            head: rows.int64(0, 0), floor: floor, scanned: scanned,
                            block: FrameBlock(batch))))
            }
        }
    }

    // MARK: Others

    private func locate(_ time: Timestamp?, _ reply: @escaping (LogReply) -> Void) {
        let instant = time.map { "\($0)" }
        let query = Query(
            "locate a cursor",
            """
            SELECT epoch, first_position, head, floor, event_service.position_before($1::timestamptz) \
            FROM event_service.bounds()
            """, [instant])
        pool.run(query) { [weak self] outcome in
            switch consume outcome {
            case .failed(let error):
                reply(self?.unavailable(error) ?? .unavailable)
            case .rows(let rows):
                guard let bounds = LogRows.bounds(rows) else { return reply(.unavailable) }
                reply(
                    .located(
                        bounds, positionBefore: rows.isNull(0, 4) ? nil : rows.int64(0, 4)))
            }
        }
    }

    private func readEvent(_ position: Int64, _ reply: @escaping (LogReply) -> Void) {
        let query = Query(
            "read an event", "SELECT * FROM event_service.event_at($1)", [String(position)])
        pool.run(query) { [weak self] outcome in
            switch consume outcome {
            case .failed(let error): reply(self?.unavailable(error) ?? .unavailable)
            case .rows(let rows):
                guard let self, rows.count == 1 else { return reply(.event(nil)) }
                reply(.event(logRows.event(rows, 0, from: 0)))
            }
        }
    }

    private func publish(_ request: PublishRequest, _ reply: @escaping (LogReply) -> Void) {
        let query = Query(
            "publish", "SELECT unnest(event_service.publish_all($1::jsonb, $2::jsonb))",
            [request.body, request.envelopes])
        // Not repeatable: it may have committed when the connection broke.
        pool.run(query, isRepeatable: false) { [weak self] outcome in
            switch consume outcome {
            case .rows(let rows):
                reply(.published((0..<rows.count).map { rows.int64($0, 0) }))
            case .failed(let error):
                // Class 22: what was given is not what the function takes.
                if let state = error.sqlState, state.hasPrefix("22") || state == "42939" {
                    let hint = error.hint.map { " \($0)" } ?? ""
                    reply(.refused(.badRequest(error.message + "." + hint)))
                } else {
                    reply(self?.unavailable(error) ?? .unavailable)
                }
            }
        }
    }

    private func unavailable(_ error: DatabaseError) -> LogReply {
        log.warning("log: not answered", ["error": error.description])
        return .unavailable
    }
}
