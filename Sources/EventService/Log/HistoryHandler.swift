import EventCore

/// Answers `GET /api/v1/events/history`: a page of what a stream would have sent, by the same cursor.
struct HistoryHandler {
    private let server: ServerContext
    private let exchange: HTTPExchange

    init(_ server: ServerContext, _ exchange: HTTPExchange) {
        self.server = server
        self.exchange = exchange
    }

    func handle(_ query: QueryString, _ principal: Principal) throws(Problem) {
        guard ContentNegotiation.accepts("application/json", exchange.request) else {
            throw Problem(406, "not-acceptable", "History is application/json.")
        }
        let history = try HistoryParameters(query: query)
        let parameters = try StreamParameters(exchange.request, query: query)
        let subscription = try Subscription.checked(
            grants: principal.grants, filter: parameters.filter)
        // One that waits is a stream of one event.
        let tenure =
            history.wait > .zero
            ? try server.admitStream(exchange, principal)
            : Tenure(principal, place: nil)
        let opening = StreamOpening(parameters, subscription, tenure)
        try StreamOpener(server, exchange).locate(opening) { page, start, bounds in
            guard server.authenticator.recheck(principal, exchange) else { return }
            let cursor = bounds.history.cursor(at: start.position)
            if let reset = opening.reset(start, bounds, cursor: cursor) {
                let page = HistoryPage(
                    next: cursor, hasMore: cursor.position < bounds.head, reset: reset)
                return exchange.respond(.json(page.json))
            }
            let request = HistoryRequest(
                server, exchange, opening, history, position: start.position)
            request.begin(page)
        }
    }
}

/// A page of history as it is sent.
struct HistoryPage {
    var events: [[UInt8]] = []
    var next: Cursor
    var hasMore: Bool
    var reset: StreamReset?

    var json: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(events.reduce(256) { $0 + $1.count + 1 })
        bytes.append("{\"events\":[")
        for (index, event) in events.enumerated() {
            if index > 0 { bytes.append(",") }
            bytes.append(contentsOf: event)
        }
        bytes.append("],\"next\":\"")
        bytes.append(contentsOf: next.description.utf8)
        bytes.append(
            hasMore ? "\",\"has_more\":true,\"reset\":" : "\",\"has_more\":false,\"reset\":")
        if let reset { reset.appendJSON(to: &bytes) } else { bytes.append("null") }
        bytes.append("}")
        return bytes
    }
}

/// One request for history: reads a page and, if it was asked to wait, goes on until it has an event.
///
/// The same way as a stream's – pages of the log, then the ring, then the hub – but it ends with the
/// first events that it finds.
final class HistoryRequest: HubMember {
    private let server: ServerContext
    private let exchange: HTTPExchange
    private let opening: StreamOpening
    private let limit: Int
    private let wait: Duration
    /// The position behind which it began.
    private let start: Int64
    private var catchUp: CatchUp
    private var events: [[UInt8]] = []
    private var byteCount = 0
    /// Set once the page is full: where it ends.
    private var fullAt: Int64?
    private var timer: LoopTimer?
    private var isAnswered = false
    private var generation = 0

    /// How much of the ring one request looks at.
    private static let longestScan: Int64 = 20_000

    init(
        _ server: ServerContext, _ exchange: HTTPExchange, _ opening: StreamOpening,
        _ parameters: HistoryParameters, position: Int64
    ) {
        self.server = server
        self.exchange = exchange
        self.opening = opening
        limit = parameters.limit
        wait = parameters.wait
        start = position
        catchUp = CatchUp(position: position)
        super.init(subscription: opening.subscription, identity: opening.tenure.identity)
    }

    func begin(_ page: LogPage?) {
        server.hub.join(self)
        if wait > .zero {
            // The hub holds the request until it is answered, and so does this timer.
            let timer = LoopTimer(server.stream.loop) { [self] _ in answer() }
            timer.set(at: min(server.stream.loop.now + wait, opening.tenure.endsAt))
            self.timer = timer
            exchange.onPeerEnded = { [unowned self] in answer() }
        }
        if let page { take(page) }
        if wait > .zero, exchange.peerHasEnded { return answer() }
        goOn(hasPage: page != nil)
    }

    override func drain(by deadline: MonotonicTime, now: MonotonicTime) {
        answer()
    }

    override func tokenRevoked(now: MonotonicTime) {
        guard !isAnswered else { return }
        finish()
        server.authenticator.refuse(exchange, Authenticator.revoked)
    }

    /// - Parameter hasPage: whether a page of the log has been read: one is enough for an answer without
    ///   a wait, and whatever was found is. What the ring holds behind it costs nothing more.
    private func goOn(hasPage: Bool = false) {
        var hasScanned = false
        while !isAnswered {
            let isEnough = !events.isEmpty || wait == .zero
            if fullAt != nil { return answer() }
            let ring = server.hub.ring
            switch catchUp.next(ringLow: ring.low, ringHead: ring.head, socketIsDrained: true) {
            case .none:
                return
            case .requestPage(let position):
                guard !(hasPage || hasScanned) || !isEnough else { return answer() }
                return requestPage(after: position)
            case .deliverFromRing(let position):
                guard !hasScanned || !isEnough else { return answer() }
                takeFromRing(after: position)
                hasScanned = true
            case .becomeLive:
                guard !isEnough else { return answer() }
                return server.hub.goLive(self)
            }
        }
    }

    private func requestPage(after position: Int64) {
        let expected = generation
        let request = PageRequest(after: position, ringLow: server.hub.ring.low, subscription)
        server.client.send(.page(request)) { [self] reply in
            guard !isAnswered, generation == expected else { return }
            guard case .page(let page) = reply else {
                finish()
                return exchange.refuse(
                    .unavailable("database", "The log cannot be read at present.", retryAfter: 2))
            }
            take(page)
            goOn(hasPage: true)
        }
    }

    private func take(_ page: LogPage) {
        guard page.floor - 1 <= catchUp.position else {
            server.hub.floorIs(page.floor)
            return answerReset(.expired)
        }
        for frame in page.block.frames(after: catchUp.position) { take(frame, of: page.block) }
        catchUp.pageArrived(upTo: fullAt ?? page.scanned)
    }

    private func takeFromRing(after position: Int64) {
        for block in server.hub.ring.blocks(after: position) {
            for frame in block.frames(after: position) { take(frame, of: block) }
            catchUp.delivered(upTo: fullAt ?? block.last)
            guard fullAt == nil, block.last - position < Self.longestScan else { return }
        }
    }

    private func take(_ frame: EncodedFrame, of block: FrameBlock) {
        guard fullAt == nil, subscription.admits(frame.envelope) else { return }
        let isFull =
            events.count >= limit
            || !events.isEmpty && byteCount + frame.data.count > HistoryParameters.maximumBytes
        guard !isFull else {
            fullAt = frame.position - 1
            return
        }
        events.append(block.json(of: frame))
        byteCount += frame.data.count
    }

    // MARK: What the hub says

    override func deliver(_ frame: EncodedFrame, of block: FrameBlock) {
        guard frame.position > catchUp.position else { return }
        take(frame, of: block)
        if fullAt == nil { catchUp.delivered(upTo: frame.position) }
    }

    override func blockEnded(_ block: FrameBlock, now: MonotonicTime) {
        answer()
    }

    override func ringWasCut(at head: Int64, now: MonotonicTime) {
        guard catchUp.isLive else { return }
        server.hub.fallBehind(self)
        catchUp.fellBehind(at: head)
        goOn()
    }

    override func historyForked(at fork: Int64, head: Int64, now: MonotonicTime) {
        // Who gave a cursor holds what lies up to there; nobody holds yet what was found since.
        if case .after = opening.parameters.start, start >= fork {
            return answerReset(.unknownEpoch)
        }
        server.hub.fallBehind(self)
        generation += 1
        events = []
        byteCount = 0
        fullAt = nil
        catchUp.restarted(at: min(start, fork - 1))
        goOn()
    }

    // MARK: Answering

    private func answer() {
        guard !isAnswered, let bounds = server.hub.bounds else { return finish() }
        let position =
            fullAt ?? (catchUp.isLive ? max(bounds.head, catchUp.position) : catchUp.position)
        let next = bounds.history.cursor(at: position)
        let page = HistoryPage(
            events: events, next: next, hasMore: position < max(bounds.head, catchUp.position))
        finish()
        exchange.respond(.json(page.json))
    }

    private func answerReset(_ reason: ResetReason) {
        guard !isAnswered, let bounds = server.hub.bounds else { return finish() }
        let start = bounds.reset(reason, opening.parameters.gap)
        let cursor = bounds.history.cursor(at: start.position)
        let page = HistoryPage(
            next: cursor, hasMore: start.position < bounds.head,
            reset: opening.reset(start, bounds, cursor: cursor))
        finish()
        exchange.respond(.json(page.json))
    }

    private func finish() {
        isAnswered = true
        exchange.onPeerEnded = nil
        timer?.cancel()
        timer = nil
        server.hub.leave(self)
    }
}
