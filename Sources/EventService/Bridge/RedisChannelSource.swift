import EventCore

/// Hears channels and patterns of channels of Redis.
///
/// Redis keeps no message for who is away, so each one is read by whoever listens, and by him alone. An
/// ephemeral source listens on every node, for the streams of that node. A durable one listens on one
/// node, who holds the lock of its session: two would take each message in twice.
///
/// What is published while nobody listens is gone, and nobody knows whether there was anything: each
/// such time is counted as missed.
final class RedisChannelSource: Bridge {
    private let link: RedisLink
    private let intake: Intake
    private let inboxes: [WorkerInbox]
    private let source: RedisSourceSettings
    private let channels: [String]
    private let maximumBytes: Int
    private let counters: BridgeCounters
    private let log: Log
    private var claimTimer: LoopTimer?
    private var hasHadSession = false
    private var isListening = false
    private var hasListened = false
    private var isFinishing = false
    private var onFinished: (() -> Void)?

    /// How soon another node takes over.
    private static let interval = Duration.seconds(1)
    /// How long whoever does not listen leaves the lock to who does, when PostgreSQL is there again: longer
    /// than its back-off.
    private static let courtesy = Duration.seconds(6)

    init(
        loop: EventLoop, configuration: Configuration, address: RedisAddress,
        source: RedisSourceSettings, channels: [String], inboxes: [WorkerInbox],
        counters: BridgeCounters, log: Log
    ) {
        self.source = source
        self.channels = channels
        self.inboxes = inboxes
        self.counters = counters
        self.log = log
        maximumBytes = configuration.maxEventBytes
        link = RedisLink(
            loop: loop, address: address, timeout: configuration.redis.timeout, counters: counters,
            log: log)
        intake = Intake(
            loop: loop, url: configuration.databaseURL, source: counters.name, counters: counters,
            log: log)
        link.onUp = { [unowned self] in subscribe() }
        // Whether anything was published until it is there again, nobody can tell.
        link.onDown = { [unowned self] in self.counters.missed.increase() }
        link.connection.onMessage = { [unowned self] in received(channel: $0, $1) }
        intake.onCommitted = { [unowned self] _, _ in finishIfDone() }
        intake.onRoom = { [unowned self] in link.connection.resume() }
        intake.onUp = { [unowned self] in sessionIsUp() }
        claimTimer = LoopTimer(loop) { [unowned self] _ in claim() }
    }

    func start() {
        // Also an ephemeral source has dead letters.
        intake.start()
        if !source.isDurable { listen() }
    }

    func finish(completion: @escaping () -> Void) {
        isFinishing = true
        onFinished = completion
        link.stop()
        finishIfDone()
    }

    func stop() {
        claimTimer?.cancel()
        counters.active.set(0)
        intake.stop()
        link.stop()
    }

    private func finishIfDone() {
        guard isFinishing, !intake.isUnderWay else { return }
        onFinished?()
        onFinished = nil
    }

    // MARK: Who listens

    /// The session is there, and holds no lock yet. Where all have lost theirs, only who listens knows what
    /// was published meanwhile.
    private func sessionIsUp() {
        defer { hasHadSession = true }
        intake.dropQuestions()
        guard hasHadSession, !isListening else { return claim() }
        claimTimer?.set(after: Self.courtesy)
    }

    /// Listens if no other node does. If one has taken over from this, what it has heard is not taken in
    /// from here, too: what waits is dropped, and counted.
    private func claim() {
        guard source.isDurable, !isFinishing else { return }
        intake.ask(
            Query(
                "claim a bridge", "SELECT event_service.claim_bridge($1)",
                ["source:\(source.name)"])
        ) { [unowned self] rows in
            if rows.bool(0, 0) {
                if !isListening { listen() }
            } else {
                if isListening { handOver() }
                claimTimer?.set(after: Self.interval)
            }
        }
    }

    private func listen() {
        isListening = true
        counters.active.set(1)
        link.start()
    }

    private func handOver() {
        isListening = false
        hasListened = false
        counters.active.set(0)
        link.stop()
        let count = intake.dropWaiting()
        counters.missed.increase(by: count)
        log.warning(
            "bridge: another node listens", ["bridge": counters.name, "dropped": String(count)])
    }

    private func subscribe() {
        if hasListened {
            log.warning(
                "bridge: listens again; what was published meanwhile is not known",
                ["bridge": counters.name])
        }
        hasListened = true
        link.connection.subscribe(
            channels: channels.filter { !RedisSourceSettings.isPattern($0) },
            patterns: channels.filter(RedisSourceSettings.isPattern))
        if intake.isFull { link.connection.pause() }
    }

    // MARK: Messages

    private func received(channel: [UInt8], _ payload: [UInt8]) {
        let channel = String(decoding: channel, as: UTF8.self)
        var outcome = source.mapping.map(payload, names: ["channel": channel], origin: nil)
        if !source.isDurable, case .event(let event) = outcome {
            guard event.data.count > maximumBytes else { return deliver(event) }
            outcome = .deadLetter("\(event.data.count) bytes, more than \(maximumBytes)")
        }
        intake.add(IntakeItem(outcome, source: "redis:\(channel)", message: payload))
        intake.flush()
        if intake.isFull { link.connection.pause() }
    }

    /// To the streams of this node. A worker that does not keep up is left out: nobody waits for what
    /// nobody keeps.
    private func deliver(_ event: BridgedEvent) {
        counters.received.increase()
        let block = EphemeralBlock([event], time: MonotonicClock.date())
        var isLeftOut = false
        for inbox in inboxes where !inbox.send(block) { isLeftOut = true }
        if isLeftOut { counters.dropped.increase() } else { counters.added.increase() }
    }
}
