import EventCore

/// What the streams of one loop share.
final class StreamContext {
    let loop: EventLoop
    let hub: HubShard
    let log: Log
    let client: LogClient
    let idle: IdlePolicy
    let lifetime: Duration
    let maximumBacklog: Int
    let slowGrace: Duration
    /// Why the service is not ready; empty: it is.
    var unready: [UnreadyReason] = [.database]

    init(loop: EventLoop, hub: HubShard, log: Log, client: LogClient, configuration: Configuration)
    {
        self.loop = loop
        self.hub = hub
        self.log = log
        self.client = client
        idle = IdlePolicy(heartbeat: configuration.heartbeat)
        lifetime = configuration.streamLifetime
        maximumBacklog = configuration.maxBacklogBytes
        slowGrace = configuration.slowGrace
    }
}

/// One open stream: a cursor and a filter on a connection.
///
/// ```
///  begin ─▶ catching up (pages of the log, then the ring) ─▶ live (the hub delivers) ─▶ ended
///                 ▲                                            │
///                 └── its backlog is full, or the ring was cut ┘
/// ```
/// Of what is due to a slow client no more is queued than `max_backlog_bytes`: beyond that the stream
/// falls behind, and reads on by itself once its socket has taken what there is. So it loses nothing,
/// and costs a bounded amount.
final class StreamSession: HubMember, HTTPStreamBody {
    /// Names the connection.
    let id: String
    private unowned let connection: HTTPConnection
    private let context: StreamContext
    private let gap: GapPolicy
    /// HTTP/1.0 knows no chunks: its stream is what comes until the connection ends.
    private let isChunked: Bool
    private var catchUp: CatchUp
    /// The last id that was sent, and when.
    private var lastID: Cursor
    private var lastIDAt: MonotonicTime
    private var lastWrite: MonotonicTime
    /// Since when the socket has taken nothing, though something waits.
    private var blockedSince: MonotonicTime?
    /// When a page that could not be read is asked for again.
    private var retryPageAt: MonotonicTime?
    private var endsAt: MonotonicTime
    private var endReason = DisconnectReason.lifetime
    private var hasBeenLive = false
    /// Set while a block is delivered: the position up to which the stream could follow.
    private var overflowedAt: Int64?
    /// Raised when a page that is under way is of no more use.
    private var generation = 0
    private(set) var isClosed = false

    /// How much is taken from the ring before the socket gets it.
    private static let stride = 256 << 10
    /// The next page is asked for when less than this waits to be sent.
    private static let lowWater = 64 << 10

    init(
        id: String, connection: HTTPConnection, context: StreamContext, subscription: Subscription,
        gap: GapPolicy, isChunked: Bool, start: Cursor
    ) {
        self.id = id
        self.connection = connection
        self.context = context
        self.gap = gap
        self.isChunked = isChunked
        catchUp = CatchUp(position: start.position)
        let now = context.loop.now
        lastID = start
        lastIDAt = now
        lastWrite = now
        endsAt = .distantFuture
        super.init(subscription: subscription)
        if context.lifetime > .zero {
            endsAt = now + context.lifetime * Double.random(in: 0.8...1)
        }
    }

    // MARK: Beginning

    /// Sends what a stream begins with, and what it has missed.
    ///
    /// - Parameters:
    ///   - reset: what the client is told when the position it asked for cannot be served.
    ///   - page: a page of the log that was read to find out.
    func begin(open: StreamOpen, reset: StreamReset?, page: LogPage?) {
        context.hub.join(self)
        send(.open(open))
        if let reset { send(.reset(reset)) }
        if !context.unready.isEmpty { send(.health(ready: false, reasons: context.unready)) }
        if let page { deliver(page) }
        flush()
        continueCatchUp()
        if !isClosed { connection.updateTimer() }
    }

    // MARK: Catching up

    private func continueCatchUp() {
        while !isClosed {
            let ring = context.hub.ring
            let action = catchUp.next(
                ringLow: ring.low, ringHead: ring.head,
                socketIsDrained: connection.unsentBytes <= Self.lowWater)
            switch action {
            case .none:
                return
            case .requestPage(let position):
                return requestPage(after: position)
            case .deliverFromRing(let position):
                deliverFromRing(after: position)
            case .becomeLive:
                return becomeLive()
            }
        }
    }

    private func becomeLive() {
        context.hub.goLive(self)
        guard !hasBeenLive, let head = context.hub.bounds?.headCursor else { return }
        hasBeenLive = true
        send(.live(at: currentCursor, head: head))
        flush()
    }

    private func deliverFromRing(after position: Int64) {
        var queued = 0
        for block in context.hub.ring.blocks(after: position) {
            for frame in block.frames(after: position) where subscription.admits(frame.envelope) {
                enqueue(frame, of: block)
                queued += frame.chunk.count
                catchUp.delivered(upTo: frame.position)
                guard queued < Self.stride else { return flush() }
            }
            catchUp.delivered(upTo: block.last)
        }
        flush()
    }

    private func requestPage(after position: Int64) {
        let expected = generation
        let request = LogRequest.next(
            after: position, ringLow: context.hub.ring.low, subscription)
        context.client.send(request) { [weak self] reply in
            guard let self, !isClosed, generation == expected else { return }
            if case .page(let page) = reply {
                deliver(page)
                flush()
                continueCatchUp()
            } else {
                catchUp.pageFailed()
                retryPageAt = context.loop.now + .seconds(1)
                connection.updateTimer()
            }
        }
    }

    private func deliver(_ page: LogPage) {
        let position = catchUp.position
        guard page.floor - 1 <= position else {
            // Retention was faster than this stream.
            context.hub.floorIs(page.floor)
            return restart(.expired)
        }
        for frame in page.block.frames(after: position) where subscription.admits(frame.envelope) {
            enqueue(frame, of: page.block)
        }
        catchUp.pageArrived(upTo: page.scanned)
    }

    /// Tells the client that what it holds is void, and goes on elsewhere.
    private func restart(_ reason: ResetReason) {
        guard let bounds = context.hub.bounds else { return }
        let start = bounds.reset(reason, gap)
        generation += 1
        catchUp.restarted(at: start.position)
        send(
            .reset(
                StreamReset(
                    reason: reason, requested: lastID.description, earliest: bounds.earliestCursor,
                    head: bounds.headCursor, cursor: bounds.history.cursor(at: start.position))))
        context.log.info("stream: reset", ["id": id, "reason": reason.rawValue])
    }

    // MARK: What the hub says

    override func deliver(_ frame: EncodedFrame, of block: FrameBlock) {
        guard frame.position > catchUp.position, overflowedAt == nil else { return }
        guard connection.unsentBytes + frame.chunk.count <= context.maximumBacklog else {
            overflowedAt = frame.position - 1
            return
        }
        enqueue(frame, of: block)
        catchUp.delivered(upTo: frame.position)
    }

    override func blockEnded() {
        guard let position = overflowedAt else { return flush() }
        overflowedAt = nil
        context.hub.fallBehind(self)
        catchUp.fellBehind(at: position)
        context.log.debug("stream: fell behind", ["id": id, "position": String(position)])
        flush()
        // The socket may have taken all of it at once, and then nothing else would call.
        continueCatchUp()
    }

    override func ringWasCut(at head: Int64) {
        guard catchUp.isLive else { return }
        context.hub.fallBehind(self)
        catchUp.fellBehind(at: head)
        continueCatchUp()
    }

    override func historyForked(at fork: Int64, head: Int64) {
        let position = catchUp.isLive ? max(head, catchUp.position) : catchUp.position
        context.hub.fallBehind(self)
        if lastID.position >= fork {
            restart(.unknownEpoch)
        } else {
            generation += 1
            catchUp.restarted(at: min(position, fork - 1))
        }
        flush()
        continueCatchUp()
    }

    override func healthChanged() {
        send(.health(ready: context.unready.isEmpty, reasons: context.unready))
        flush()
    }

    // MARK: Sending

    /// Up to where the client has everything that is for it.
    private var currentCursor: Cursor {
        guard let bounds = context.hub.bounds else { return lastID }
        return bounds.history.cursor(
            at: catchUp.isLive ? max(bounds.head, catchUp.position) : catchUp.position)
    }

    private func enqueue(_ frame: EncodedFrame, of block: FrameBlock) {
        connection.enqueue(block.bytes, isChunked ? frame.chunk : frame.payload)
        sentID(frame.cursor)
    }

    private func send(_ frame: StreamFrame) {
        let text = frame.text
        var bytes: [UInt8] = []
        if isChunked {
            bytes.reserveCapacity(text.count + 16)
            bytes.appendChunk(text)
        } else {
            bytes = text
        }
        connection.enqueue(bytes)
        if let cursor = frame.id { sentID(cursor) }
    }

    private func sentID(_ cursor: Cursor) {
        lastID = cursor
        lastIDAt = context.loop.now
    }

    private func flush() {
        guard !isClosed, let sent = connection.flush(), !isClosed else { return }
        noteProgress(sent: sent)
    }

    private func noteProgress(sent: Int) {
        let now = context.loop.now
        if sent > 0 { lastWrite = now }
        if connection.unsentBytes == 0 {
            blockedSince = nil
        } else if sent > 0 || blockedSince == nil {
            blockedSince = now
            connection.updateTimer()
        }
    }

    func tookBytes() {
        noteProgress(sent: 1)
        continueCatchUp()
    }

    func closed() {
        isClosed = true
        context.hub.leave(self)
    }

    // MARK: Time

    func nextDeadline(now: MonotonicTime) -> MonotonicTime {
        let idle =
            blockedSince.map { $0 + context.slowGrace } ?? lastWrite + context.idle.heartbeat
        return min(endsAt, idle, retryPageAt ?? .distantFuture)
    }

    func timeReached(now: MonotonicTime) {
        if now >= endsAt { return end(endReason) }
        if let since = blockedSince, now >= since + context.slowGrace { return end(.slow) }
        if let retry = retryPageAt, now >= retry {
            retryPageAt = nil
            continueCatchUp()
        }
        guard !isClosed, blockedSince == nil else { return }
        let position = catchUp.isLive ? currentCursor.position : lastID.position
        switch context.idle.due(
            now: now, lastWrite: lastWrite, lastID: (lastIDAt, lastID.position), position: position)
        {
        case .nothing: return
        case .heartbeat: send(.heartbeat)
        case .cursor: send(.cursor(currentCursor))
        }
        flush()
    }

    override func drain(over duration: Duration) {
        endReason = .shutdown
        endsAt = min(endsAt, context.loop.now + duration * Double.random(in: 0..<1))
        connection.updateTimer()
    }

    /// Ends the stream as planned.
    func end(_ reason: DisconnectReason) {
        guard !isClosed else { return }
        send(.end(reason, at: currentCursor, retry: Int64.random(in: 500...5000)))
        context.log.debug("stream: ended", ["id": id, "reason": reason.rawValue])
        if reason == .slow {
            flush()
            if !isClosed { connection.close() }
        } else {
            connection.endStream(isChunked: isChunked)
        }
    }
}
