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
///
/// Invariants: ids rise; between two of them nothing that the stream may see was left out, unless it
/// was told with `stream.reset`, or fell behind and the event conflates.
public final class StreamSession: HubMember {
    // What is touched for every event stands first, side by side.

    private let sink: any StreamSink
    private var catchUp: CatchUp
    /// The last id that was sent, and when.
    private var lastID: Cursor
    private var lastIDAt: MonotonicTime
    private var lastWrite: MonotonicTime
    /// How many events were sent.
    public private(set) var deliveredCount = 0
    /// HTTP/1.0 knows no chunks: its stream is what comes until the connection ends.
    private let isChunked: Bool
    /// Whether the stream has ended.
    public private(set) var isClosed = false
    private var hasBeenLive = false
    /// Fell behind, and has not caught up since: events that conflate may be left out.
    private var isSlow = false
    private var endReason: DisconnectReason
    private let gap: GapPolicy

    /// While a block is delivered: the stretch of it that is due.
    private var due = 0..<0
    /// Set while a block is delivered: the position up to which the stream could follow.
    private var overflowedAt: Int64?
    /// Since when the socket has taken nothing, though something waits.
    private var blockedSince: MonotonicTime?
    private let settings: StreamSettings
    private let hub: HubShard
    /// Holds this stream, as this stream holds it, until the connection is closed.
    private let transport: any StreamTransport
    /// When a page that could not be read is asked for again.
    private var retryPageAt: MonotonicTime?
    private var endsAt: MonotonicTime
    private let retryMilliseconds: Int64
    /// Raised when a page that is under way is of no more use.
    private var generation = 0

    /// More is read when less than this waits to be sent.
    private var lowWater: Int { min(64 << 10, settings.maximumBacklog / 4) }
    /// How much is taken from the ring before the socket gets it.
    private var stride: Int { min(256 << 10, settings.maximumBacklog - lowWater) }
    /// How far into the ring a slow stream looks for newer events of a key.
    private static let conflationWindow = 20_000

    /// Creates a stream that has sent nothing yet.
    ///
    /// - Parameters:
    ///   - start: where it begins.
    ///   - identity: whom the token names by which it is open.
    ///   - endsAt: when it ends as planned.
    ///   - endReason: why.
    ///   - retryMilliseconds: what the client is told to wait after that.
    public init(
        sink: any StreamSink, transport: any StreamTransport, hub: HubShard,
        settings: StreamSettings, subscription: Subscription, identity: TokenIdentity? = nil,
        gap: GapPolicy, isChunked: Bool, start: Cursor, endsAt: MonotonicTime,
        endReason: DisconnectReason = .lifetime, retryMilliseconds: Int64, now: MonotonicTime
    ) {
        self.sink = sink
        self.transport = transport
        self.hub = hub
        self.settings = settings
        self.gap = gap
        self.isChunked = isChunked
        self.endsAt = endsAt
        self.endReason = endReason
        self.retryMilliseconds = retryMilliseconds
        catchUp = CatchUp(position: start.position)
        lastID = start
        lastIDAt = now
        lastWrite = now
        super.init(subscription: subscription, identity: identity)
    }

    // MARK: Beginning

    /// Sends what a stream begins with, and what it has missed.
    ///
    /// - Parameters:
    ///   - reset: what the client is told when the position it asked for cannot be served.
    ///   - page: a page of the log that was read to find out.
    public func begin(open: StreamOpen, reset: StreamReset?, page: LogPage?, now: MonotonicTime) {
        hub.join(self)
        send(.open(open), now)
        if let reset { send(.reset(reset), now) }
        if !hub.unready.isEmpty { send(.health(ready: false, reasons: hub.unready), now) }
        if let page { deliver(page, now) }
        flush(now)
        continueCatchUp(now)
        if !isClosed { transport.deadlineMoved() }
    }

    // MARK: Catching up

    private func continueCatchUp(_ now: MonotonicTime) {
        while !isClosed {
            let action = catchUp.next(
                ringLow: hub.ring.low, ringHead: hub.ring.head,
                socketIsDrained: sink.unsentBytes <= lowWater)
            switch action {
            case .none:
                return
            case .requestPage(let position):
                return requestPage(after: position, now)
            case .deliverFromRing(let position):
                deliverFromRing(after: position, now)
            case .becomeLive:
                return becomeLive(now)
            }
        }
    }

    private func becomeLive(_ now: MonotonicTime) {
        hub.goLive(self)
        isSlow = false
        guard !hasBeenLive, let head = hub.bounds?.headCursor else { return }
        hasBeenLive = true
        send(.live(at: currentCursor, head: head), now)
        flush(now)
    }

    private func deliverFromRing(after position: Int64, _ now: MonotonicTime) {
        let blocks = hub.ring.blocks(after: position)
        let conflation = isSlow ? Self.conflation(blocks, after: position, subscription) : nil
        let before = deliveredCount
        defer { transport.noted(.replayed(deliveredCount - before, from: .ring)) }
        var queued = 0
        for block in blocks {
            for frame in block.frames(after: position) where subscription.admits(frame.envelope) {
                if conflation?.supersedes(frame) == true { continue }
                enqueue(frame, of: block, now)
                queued += frame.chunk.count
                catchUp.delivered(upTo: frame.position)
                guard queued < stride else { return flush(now) }
            }
            catchUp.delivered(upTo: block.last)
        }
        flush(now)
    }

    private static func conflation(
        _ blocks: ArraySlice<FrameBlock>, after position: Int64, _ subscription: Subscription
    ) -> Conflation {
        let frames = blocks.lazy.flatMap { $0.frames(after: position) }
        return Conflation(frames.prefix(conflationWindow), for: subscription)
    }

    private func requestPage(after position: Int64, _ now: MonotonicTime) {
        let expected = generation
        let request = PageRequest(after: position, ringLow: hub.ring.low, subscription)
        transport.requestPage(request) { [weak self] page, now in
            guard let self, !isClosed, generation == expected else { return }
            if let page {
                deliver(page, now)
                flush(now)
                continueCatchUp(now)
            } else {
                catchUp.pageFailed()
                retryPageAt = now + .seconds(1)
                transport.deadlineMoved()
            }
        }
    }

    private func deliver(_ page: LogPage, _ now: MonotonicTime) {
        let position = catchUp.position
        guard page.floor - 1 <= position else {
            // Retention was faster than this stream.
            hub.floorIs(page.floor)
            return restart(.expired, now)
        }
        let before = deliveredCount
        let frames = page.block.frames(after: position)
        let conflation = isSlow ? Conflation(frames, for: subscription) : nil
        var last = page.scanned
        for frame in frames where subscription.admits(frame.envelope) {
            if conflation?.supersedes(frame) == true { continue }
            guard hasRoom(now) else {
                // The rest of the page is asked for again when the socket has taken this.
                last = frame.position - 1
                break
            }
            enqueue(frame, of: page.block, now)
        }
        catchUp.pageArrived(upTo: last)
        transport.noted(.replayed(deliveredCount - before, from: .log))
    }

    /// Whether more may be queued, if need be once the socket has taken what is.
    private func hasRoom(_ now: MonotonicTime) -> Bool {
        if sink.unsentBytes >= settings.maximumBacklog { flush(now) }
        return !isClosed && sink.unsentBytes < settings.maximumBacklog
    }

    /// Tells the client that what it holds is void, and goes on elsewhere.
    private func restart(_ reason: ResetReason, _ now: MonotonicTime) {
        guard let bounds = hub.bounds else { return }
        let start = bounds.reset(reason, gap)
        generation += 1
        catchUp.restarted(at: start.position)
        let reset = StreamReset(
            reason: reason, requested: lastID.description, earliest: bounds.earliestCursor,
            head: bounds.headCursor, cursor: bounds.history.cursor(at: start.position))
        send(.reset(reset), now)
        transport.noted(.reset(reason))
    }

    // MARK: What the hub says

    public override func deliverLone(
        _ frame: EncodedFrame, of block: FrameBlock, now: MonotonicTime
    ) {
        guard sink.unsentBytes == 0 else {
            deliver(frame, of: block)
            return blockEnded(block, now: now)
        }
        guard frame.position > catchUp.position else { return }
        catchUp.delivered(upTo: frame.position)
        deliveredCount += 1
        lastID = frame.cursor
        lastIDAt = now
        let range = isChunked ? frame.chunk : frame.payload
        guard let sent = sink.send(block.bytes, range), !isClosed else { return }
        if sent == range.count { lastWrite = now } else { noteProgress(sent: sent, now) }
    }

    public override func deliver(_ frame: EncodedFrame, of block: FrameBlock) {
        guard frame.position > catchUp.position, overflowedAt == nil else { return }
        let range = isChunked ? frame.chunk : frame.payload
        guard sink.unsentBytes + due.count + range.count <= settings.maximumBacklog else {
            overflowedAt = frame.position - 1
            return
        }
        if range.lowerBound == due.upperBound, !due.isEmpty {
            due = due.lowerBound..<range.upperBound
        } else {
            if !due.isEmpty { sink.enqueue(block.bytes, due) }
            due = range
        }
        lastID = frame.cursor
        deliveredCount += 1
        catchUp.delivered(upTo: frame.position)
    }

    public override func deliverEphemeral(
        _ frame: EphemeralBlock.Frame, of block: EphemeralBlock, now: MonotonicTime
    ) {
        let range = isChunked ? frame.chunk : frame.payload
        guard sink.unsentBytes + range.count <= settings.maximumBacklog,
            let sent = sink.send(block.bytes, range), !isClosed
        else { return }
        noteProgress(sent: sent, now)
    }

    public override func blockEnded(_ block: FrameBlock, now: MonotonicTime) {
        if !due.isEmpty {
            lastIDAt = now
            let range = due
            due = 0..<0
            guard let sent = sink.send(block.bytes, range), !isClosed else { return }
            noteProgress(sent: sent, now)
        }
        guard let position = overflowedAt else { return }
        overflowedAt = nil
        fallBehind(at: position)
        isSlow = true
        transport.noted(.fellBehind(position: position))
        // The socket may have taken all of it at once, and then nothing else would call.
        continueCatchUp(now)
    }

    private func fallBehind(at position: Int64) {
        hub.fallBehind(self)
        catchUp.fellBehind(at: position)
    }

    public override func ringWasCut(at head: Int64, now: MonotonicTime) {
        guard catchUp.isLive else { return }
        fallBehind(at: head)
        continueCatchUp(now)
    }

    public override func historyForked(at fork: Int64, head: Int64, now: MonotonicTime) {
        let position = catchUp.isLive ? max(head, catchUp.position) : catchUp.position
        hub.fallBehind(self)
        if lastID.position >= fork {
            restart(.unknownEpoch, now)
        } else {
            generation += 1
            catchUp.restarted(at: min(position, fork - 1))
        }
        flush(now)
        continueCatchUp(now)
    }

    public override func healthChanged(_ unready: [UnreadyReason], now: MonotonicTime) {
        send(.health(ready: unready.isEmpty, reasons: unready), now)
        flush(now)
    }

    // MARK: Sending

    /// Up to where the client has everything that is for it.
    public var currentCursor: Cursor {
        guard let bounds = hub.bounds else { return lastID }
        return bounds.history.cursor(
            at: catchUp.isLive ? max(bounds.head, catchUp.position) : catchUp.position)
    }

    public override func report(to gauges: inout StreamGauges) {
        gauges.open += 1
        gauges.backlogBytes += sink.unsentBytes
        gauges.delivered += deliveredCount
        guard !catchUp.isLive else { return }
        gauges.catchingUp += 1
        gauges.lowestPosition = min(gauges.lowestPosition ?? .max, catchUp.position)
    }

    private func enqueue(_ frame: EncodedFrame, of block: FrameBlock, _ now: MonotonicTime) {
        sink.enqueue(block.bytes, isChunked ? frame.chunk : frame.payload)
        deliveredCount += 1
        sentID(frame.cursor, now)
    }

    private func send(_ frame: StreamFrame, _ now: MonotonicTime) {
        var bytes: [UInt8] = []
        if isChunked { bytes.appendChunk(frame.text) } else { frame.append(to: &bytes) }
        sink.enqueue(bytes)
        if let cursor = frame.id { sentID(cursor, now) }
    }

    private func sentID(_ cursor: Cursor, _ now: MonotonicTime) {
        lastID = cursor
        lastIDAt = now
    }

    private func flush(_ now: MonotonicTime) {
        guard !isClosed, let sent = sink.flush(), !isClosed else { return }
        noteProgress(sent: sent, now)
    }

    private func noteProgress(sent: Int, _ now: MonotonicTime) {
        if sent > 0 { lastWrite = now }
        if sink.unsentBytes == 0 {
            blockedSince = nil
        } else if sent > 0 || blockedSince == nil {
            blockedSince = now
            transport.deadlineMoved()
        }
    }

    /// The socket, which was full, has taken something of what is queued.
    public func tookBytes(now: MonotonicTime) {
        noteProgress(sent: 1, now)
        continueCatchUp(now)
    }

    /// The connection is gone, or is about to go.
    public func closed() {
        isClosed = true
        hub.leave(self)
    }

    // MARK: Time

    /// When the stream wants to be called though nothing happens on the socket.
    public var nextDeadline: MonotonicTime {
        let idle =
            blockedSince.map { $0 + settings.slowGrace } ?? lastWrite + settings.idle.heartbeat
        return min(endsAt, idle, retryPageAt ?? .distantFuture)
    }

    /// That time has come.
    public func timeReached(now: MonotonicTime) {
        if now >= endsAt { return end(endReason, now: now) }
        if let since = blockedSince, now >= since + settings.slowGrace {
            return end(.slow, now: now)
        }
        if let retry = retryPageAt, now >= retry {
            retryPageAt = nil
            continueCatchUp(now)
        }
        guard !isClosed, blockedSince == nil else { return }
        let position = catchUp.isLive ? currentCursor.position : lastID.position
        let due = settings.idle.due(
            now: now, lastWrite: lastWrite, lastID: (lastIDAt, lastID.position), position: position)
        switch due {
        case .nothing: return
        case .heartbeat: send(.heartbeat, now)
        case .cursor: send(.cursor(currentCursor), now)
        }
        flush(now)
    }

    public override func drain(by deadline: MonotonicTime, now: MonotonicTime) {
        guard deadline < endsAt else { return }
        endReason = .shutdown
        endsAt = deadline
        transport.deadlineMoved()
    }

    public override func tokenRevoked(now: MonotonicTime) {
        end(.revoked, now: now)
    }

    /// Ends the stream as planned.
    public func end(_ reason: DisconnectReason, now: MonotonicTime) {
        guard !isClosed else { return }
        send(.end(reason, at: currentCursor, retry: retryMilliseconds), now)
        transport.noted(.ended(reason))
        switch reason {
        case .lifetime, .shutdown:
            transport.end(afterQueue: true)
        case .slow, .revoked, .expired:
            // What is queued may take for ever, and nobody may go on reading for ever.
            flush(now)
            if !isClosed { transport.end(afterQueue: sink.unsentBytes == 0) }
        }
    }
}
