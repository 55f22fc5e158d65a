import EventCore
import Synchronization

/// What all workers of the service count together.
final class ConnectionCount: Sendable {
    private let count = Atomic<Int>(0)
    private let dropped = Atomic<Int>(0)
    let maximum: Int

    init(maximum: Int) {
        self.maximum = maximum
    }

    /// How many connections there may be past the cap: they get answers, health checks among them, but
    /// no stream.
    static let roomPastCap = 128

    /// What becomes of a new connection.
    enum Admission { case served, pastCap, dropped }

    /// Counts a connection, unless it is dropped.
    func admit() -> Admission {
        let before = count.add(1, ordering: .relaxed).oldValue
        if before < maximum { return .served }
        if before < maximum + Self.roomPastCap { return .pastCap }
        leave()
        dropped.add(1, ordering: .relaxed)
        return .dropped
    }

    /// A connection was closed.
    func leave() {
        count.subtract(1, ordering: .relaxed)
    }

    /// What is counted, for a page of metrics.
    var report: ConnectionReport {
        ConnectionReport(
            open: count.load(ordering: .relaxed), maximum: maximum,
            dropped: dropped.load(ordering: .relaxed))
    }
}

/// One thread that serves connections: a loop, its connections, and its shard of the hub.
///
/// All of it is made on the thread and touched by no other; what comes from outside comes through the
/// inbox.
final class Worker {
    private let index: Int
    private let loop: EventLoop
    private let inbox: WorkerInbox
    private let connectionCount: ConnectionCount
    private let onDrained: () -> Void
    private let clock: DatabaseClock
    private let rounds: ReportRounds
    private let server: ServerContext
    private let publicRouter: Router
    private let opsRouter: Router
    private var connections: [Int32: HTTPConnection] = [:]
    private var publicContext: HTTPConnection.Context?
    private var opsContext: HTTPConnection.Context?
    private var drainTimer: LoopTimer?
    private var reader: MailboxReader<WorkerMessage>?

    init(
        index: Int, configuration: Configuration, inbox: WorkerInbox, calls: Mailbox<LogCall>,
        connectionCount: ConnectionCount, access: AccessState, keyRequests: KeyRequests?,
        files: StaticFiles, metrics: MetricsSources, allInboxes: [WorkerInbox],
        clock: DatabaseClock, log: Log,
        onDrained: @escaping () -> Void
    ) throws(SystemError) {
        let loop = try EventLoop()
        self.loop = loop
        self.inbox = inbox
        self.connectionCount = connectionCount
        self.onDrained = onDrained
        self.clock = clock
        self.index = index
        rounds = ReportRounds(loop: loop, replies: inbox.mailbox)
        let hub = HubShard(ringBytes: configuration.ringBytes)
        let client = LogClient(calls: calls, replies: inbox.mailbox)
        let stream = StreamContext(
            loop: loop, hub: hub, log: log, client: client, configuration: configuration)
        // Unpredictable, so that nobody finds another's connection by counting.
        let nextID: () -> String = { String(UInt64.random(in: .min ... .max), radix: 36) }
        let sessions = SessionChecks(
            configuration, loop: loop, hub: hub, client: client, log: log)
        let authenticator = Authenticator(
            configuration, state: access, client: client, sessions: sessions,
            keyRequests: keyRequests, log: log, now: { loop.now })
        server = ServerContext(
            configuration: configuration, stream: stream, authenticator: authenticator,
            access: access, files: files, nextID: nextID,
            metrics: MetricsCollector(sources: metrics, rounds: rounds),
            admin: AdminHandler(inboxes: allInboxes, rounds: rounds, log: log))
        publicRouter = Router(server, listener: .publicListener)
        opsRouter = Router(server, listener: .opsListener)
        publicContext = HTTPConnection.Context(
            loop: loop, configuration: configuration, handler: publicRouter, log: log,
            nextID: nextID,
            onClose: { [unowned self] connection in
                connections[connection.descriptor] = nil
                connectionCount.leave()
            })
        opsContext = HTTPConnection.Context(
            loop: loop, configuration: configuration, handler: opsRouter, log: log,
            nextID: nextID,
            onClose: { [unowned self] in connections[$0.descriptor] = nil })
        reader = try MailboxReader(inbox.mailbox, on: loop) { [unowned self] in received($0) }
    }

    /// Serves until it is told to stop.
    func run() {
        loop.run()
        for connection in Array(connections.values) { connection.close() }
        inbox.mailbox.close()
    }

    private func received(_ message: WorkerMessage) {
        switch message {
        case .accepted(let descriptor, let address, let listener, let isPastCap):
            accepted(
                FileDescriptor(owning: descriptor), address: address, by: listener,
                isPastCap: isPastCap)
        case .block(let block):
            inbox.taken(block.byteCount)
            if server.hub.receive(block, now: loop.now) { written(block) }
        case .ephemeral(let block):
            inbox.taken(block.byteCount)
            server.hub.receive(block, now: loop.now)
        case .log(let bounds, let fork):
            server.hub.logIs(bounds, fork: fork, now: loop.now)
        case .health(let reasons):
            server.hub.healthChanged(
                reasons + (server.isDraining ? [.draining] : []), now: loop.now)
        case .reply(let reply, let number):
            server.client.received(reply, number: number)
        case .keys(let set):
            server.authenticator.keysCame(set)
        case .revoked(let revocations):
            server.hub.revoke(by: revocations, now: loop.now)
        case .report(let round):
            round.add(.worker(index, report))
        case .listStreams(let round):
            round.add(streams.compactMap(\.description))
        case .endStreams(let selection, let round):
            round.add(end(selection))
        case .roundComplete(let number):
            rounds.ended(number)
        case .drain(let duration):
            drain(over: duration)
        case .stop:
            loop.stop()
        }
    }

    // MARK: Metrics

    /// The events of a block are with their streams' sockets, as far as these took them.
    private func written(_ block: FrameBlock) {
        let now = clock.now()
        for index in block.frames.indices {
            server.stream.counts.written.record(
                since: block.frames[index].envelope.time, now: now)
        }
    }

    private var report: WorkerReport {
        WorkerReport(
            loop: LoopReport(name: "worker-\(index)", busy: loop.busy),
            counts: server.stream.counts, streams: server.hub.gauges,
            requests: [publicContext, opsContext].reduce(into: RequestCounts()) {
                if let context = $1 { $0.add(context.counts) }
            }, ringBytes: server.hub.ring.byteCount, unready: server.unready)
    }

    // MARK: Administration

    private var streams: [StreamConnection] { connections.values.compactMap(\.streamConnection) }

    private func end(_ selection: StreamSelection) -> Int {
        let chosen = streams.filter {
            selection.contains(id: $0.id, identity: $0.session?.identity)
        }
        for stream in chosen { stream.session?.end(.shutdown, now: loop.now) }
        return chosen.count
    }

    // MARK: Connections

    private func accepted(
        _ descriptor: consuming FileDescriptor, address: String, by listener: AcceptedBy,
        isPastCap: Bool
    ) {
        let context = listener == .publicListener ? publicContext : opsContext
        guard let context else { return }
        let number = descriptor.number
        let connection = HTTPConnection(
            descriptor, address: address, context: context, isPastCap: isPastCap)
        if connection.start() {
            connections[number] = connection
        } else if listener == .publicListener {
            connectionCount.leave()
        }
    }

    // MARK: Stopping

    /// Ends the streams, each at its own moment, and says so when the last has ended. Requests are
    /// answered until the service says stop; asked again, it says so when none is under way.
    private func drain(over duration: Duration) {
        if let drainTimer { return drainTimer.set(after: .zero) }
        server.isDraining = true
        let now = loop.now
        server.hub.healthChanged(server.hub.unready + [.draining], now: now)
        server.hub.forEachMember { $0.drain(by: now + duration * .random(in: 0..<1), now: now) }
        let timer = LoopTimer(loop) { [unowned self] _ in
            if server.hub.isEmpty, publicContext?.underWay == 0 {
                onDrained()
            } else {
                drainTimer?.set(after: .milliseconds(20))
            }
        }
        drainTimer = timer
        timer.set(after: .zero)
    }
}
