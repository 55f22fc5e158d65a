import EventCore

/// The server's end of a connection, the wire, and how fast the other end reads.
///
/// The wire takes so many bytes; the client takes some of them now and then, in pieces of any size. A
/// cut loses what the client has not taken.
final class StreamEnd: StreamSink, StreamTransport {
    let number: Int
    private let world: World
    private let node: Node
    private let loop: SimulatedLoop
    private weak var client: Client?
    private var queue: [UInt8] = []
    private var wire: [UInt8] = []
    private let wireSize: Int
    private let readDelay: ClosedRange<Int>
    private var isReading = false
    private var isEnding = false
    private(set) var isCut = false
    private(set) var session: StreamSession?
    private var timerNumber = 0

    init(client: Client, node: Node, loop: SimulatedLoop) {
        number = client.number
        world = node.world
        self.client = client
        self.node = node
        self.loop = loop
        wireSize = world.number(200...3000)
        readDelay = world.chance(0.3) ? 5000...60_000 : 20...2000
    }

    func open(
        _ subscription: Subscription, gap: GapPolicy, _ start: StreamStart, _ bounds: LogBounds,
        page: LogPage?, requested: String
    ) {
        let cursor = bounds.history.cursor(at: start.position)
        let settings = StreamSettings(
            idle: IdlePolicy(heartbeat: .seconds(1)), maximumBacklog: 2000, slowGrace: .seconds(3))
        let lifetime = Duration.milliseconds(world.number(500...30_000))
        let session = StreamSession(
            sink: self, transport: self, hub: loop.hub, settings: settings,
            subscription: subscription,
            gap: gap,
            isChunked: false, start: cursor, endsAt: world.now + lifetime, retryMilliseconds: 100,
            now: world.now)
        self.session = session
        loop.add(self)
        let reset = start.reset.map {
            StreamReset(
                reason: $0, requested: requested, earliest: bounds.earliestCursor,
                head: bounds.headCursor, cursor: cursor)
        }
        session.begin(
            open: StreamOpen(
                connectionID: "\(number)", time: Timestamp(microseconds: 0),
                heartbeatMilliseconds: 1000, resumed: start.resumed, cursor: cursor,
                head: bounds.headCursor, retryMilliseconds: 100),
            reset: reset, page: page, now: world.now)
    }

    /// The connection breaks, somewhere in what is on its way.
    func cut() {
        guard !isCut else { return }
        isCut = true
        loop.remove(self)
        session?.closed()
        session = nil
        client?.lostConnection(self)
    }

    // MARK: What the stream wants

    var unsentBytes: Int { queue.count }

    func enqueue(_ bytes: SharedBytes, _ range: Range<Int>) {
        queue += bytes[range]
    }

    func enqueue(_ bytes: [UInt8]) {
        queue += bytes
    }

    func send(_ bytes: SharedBytes, _ range: Range<Int>) -> Int? {
        enqueue(bytes, range)
        return flush()
    }

    func flush() -> Int? {
        guard !isCut else { return nil }
        let taken = min(queue.count, wireSize - wire.count)
        wire += queue.prefix(taken)
        queue.removeFirst(taken)
        if !wire.isEmpty { readLater() }
        return taken
    }

    func requestPage(
        _ request: PageRequest, completion: @escaping (LogPage?, MonotonicTime) -> Void
    ) {
        node.readPage(request, for: loop) { [world] in completion($0, world.now) }
    }

    func deadlineMoved() {
        guard let session else { return }
        timerNumber += 1
        let number = timerNumber
        world.at(max(session.nextDeadline, loop.pausedUntil)) { [weak self] in
            guard let self, !isCut, timerNumber == number, let session = self.session else {
                return
            }
            session.timeReached(now: world.now)
            deadlineMoved()
        }
    }

    func end(afterQueue: Bool) {
        guard afterQueue else { return cut() }
        isEnding = true
        loop.remove(self)
        session?.closed()
        session = nil
        _ = flush()
        readLater()
    }

    func noted(_ note: StreamNote) {
        switch note {
        case .fellBehind: world.count("streams fell behind")
        case .reset(let reason): world.count("reset in mid-stream: \(reason.rawValue)")
        case .ended(let reason): world.count("ended: \(reason.rawValue)")
        case .replayed(_, let source): world.count("replayed from the \(source.rawValue)")
        }
    }

    // MARK: The other end

    private func readLater() {
        guard !isReading else { return }
        isReading = true
        let delay = world.chance(0.003) ? 1_000_000...5_000_000 : readDelay
        world.after(delay) { [weak self] in self?.read() }
    }

    private func read() {
        isReading = false
        guard !isCut else { return }
        let count = min(wire.count, world.number(1...1500))
        let piece = Array(wire.prefix(count))
        wire.removeFirst(count)
        client?.received(piece, from: self)
        guard !isCut else { return }
        if !queue.isEmpty, flush() ?? 0 > 0 { session?.tookBytes(now: world.now) }
        if !wire.isEmpty {
            readLater()
        } else if isEnding, queue.isEmpty {
            cut()
        }
    }
}
