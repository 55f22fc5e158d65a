import EventCore

/// Reads a Redis stream as one of a consumer group, and acknowledges an entry once its event is committed.
///
/// ```
///  XREADGROUP ─▶ mapping ─▶ intake ─▶ committed ─▶ XACK
///  XAUTOCLAIM ──────┘ what a consumer has left lying for five seconds, a dead node's among it
/// ```
/// An entry that comes again – its acknowledgement was lost, or it was claimed from a node that only was
/// slow – becomes no second event: its id is the deduplication key, unless the settings name another.
final class RedisStreamSource: Bridge {
    private let link: RedisLink
    private let intake: Intake
    private let stream: String
    private let group: String
    private let field: String
    private let mapping: SourceMapping
    private let counters: BridgeCounters
    private let log: Log
    private let consumer: String
    private var claimTimer: LoopTimer?
    /// Where the next look at what others left begins.
    private var claimCursor = "0-0"
    /// What was read and is not acknowledged yet.
    private var held: Set<String> = []
    private var unacknowledged: [String] = []
    private var isAcknowledging = false
    private var isReading = false
    private var isClaiming = false
    /// What was given to this consumer before its connection was lost has been read.
    private var hasReadOwn = false
    private var isFinishing = false
    private var onFinished: (() -> Void)?

    /// The most entries of one answer.
    private static let batch = "500"
    /// How long the server waits for an entry before it answers: no longer, since an XACK that is sent
    /// meanwhile waits as well.
    private static let wait = Duration.milliseconds(200)
    /// How long an entry must have been left lying to be taken for left.
    private static let patience = Duration.seconds(5)
    private static let claimInterval = Duration.seconds(2)
    private static let consumerPrefix = "event-service-"

    init(
        loop: EventLoop, configuration: Configuration, address: RedisAddress,
        stream: RedisStreamSettings, mapping: SourceMapping, counters: BridgeCounters, log: Log
    ) {
        self.stream = stream.name
        group = stream.group
        field = stream.field
        self.mapping = mapping
        self.counters = counters
        self.log = log
        // A name of its own for each run: what an earlier one left is claimed like anybody's.
        consumer = Self.consumerPrefix + String(UInt64.random(in: .min ... .max), radix: 36)
        link = RedisLink(
            loop: loop, address: address, timeout: configuration.redis.timeout, counters: counters,
            log: log)
        intake = Intake(
            loop: loop, url: configuration.databaseURL, source: counters.name, counters: counters,
            log: log)
        link.onUp = { [unowned self] in createGroup() }
        link.onDown = { [unowned self] in
            (isReading, isClaiming, hasReadOwn) = (false, false, false)
            finishIfDone()
        }
        intake.onCommitted = { [unowned self] receipts, _ in acknowledge(receipts) }
        intake.onRoom = { [unowned self] in read() }
        claimTimer = LoopTimer(loop) { [unowned self] _ in claim() }
    }

    func start() {
        counters.active.set(1)
        intake.start()
        link.start()
        claimTimer?.set(after: Self.claimInterval)
    }

    func finish(completion: @escaping () -> Void) {
        isFinishing = true
        onFinished = completion
        finishIfDone()
    }

    func stop() {
        counters.active.set(0)
        claimTimer?.cancel()
        intake.stop()
        link.stop()
    }

    /// Done once nothing is read any more, no batch is under way, and what was committed is acknowledged.
    private func finishIfDone() {
        guard isFinishing, !intake.isUnderWay,
            !link.isUp || !isReading && !isClaiming && unacknowledged.isEmpty,
            let finished = onFinished
        else { return }
        onFinished = nil
        // With entries of its own the consumer would take them along.
        guard link.isUp, hasReadOwn, held.isEmpty else { return finished() }
        link.connection.send(["XGROUP", "DELCONSUMER", stream, group, consumer]) { _ in finished() }
    }

    // MARK: Reading

    private func createGroup() {
        // From the first entry that there is: what was added before the service ran counts as well.
        link.connection.send(["XGROUP", "CREATE", stream, group, "0", "MKSTREAM"]) {
            [unowned self] reply in
            guard let reply else { return }
            if let message = reply.errorMessage, !message.hasPrefix("BUSYGROUP") {
                return link.reset(message)
            }
            acknowledge([])
            forgetConsumers()
            readOwn(after: "0")
        }
    }

    /// Reads what was given to this consumer and may have been lost with the connection: before anything
    /// newer, so that the order is kept.
    private func readOwn(after id: String) {
        isReading = true
        link.connection.send([
            "XREADGROUP", "GROUP", group, consumer, "COUNT", Self.batch, "STREAMS", stream, id,
        ]) { [unowned self] reply in
            isReading = false
            guard let reply else { return }
            if let message = reply.errorMessage { return link.reset(message) }
            let entries = reply.elements.first?.elements.last?.elements ?? []
            for entry in entries { take(entry) }
            intake.flush()
            guard let last = entries.last?.elements.first?.text else {
                hasReadOwn = true
                finishIfDone()
                return read()
            }
            readOwn(after: last)
        }
    }

    private func read() {
        guard !isReading, !isFinishing, link.isUp, !intake.isFull else { return }
        isReading = true
        link.connection.send(
            [
                "XREADGROUP", "GROUP", group, consumer, "COUNT", Self.batch, "BLOCK",
                String(Self.wait.wholeMilliseconds), "STREAMS", stream, ">",
            ], wait: Self.wait
        ) { [unowned self] reply in
            isReading = false
            guard let reply else { return }
            defer { finishIfDone() }
            if let message = reply.errorMessage {
                // NOGROUP: the server has lost it, or somebody has destroyed it; made anew.
                return link.reset(message)
            }
            // [[stream, [entry, …]]], or null when the wait is over.
            for entry in reply.elements.first?.elements.last?.elements ?? [] { take(entry) }
            intake.flush()
            read()
        }
    }

    private func take(_ reply: RedisReply) {
        guard let entry = RedisStreamEntry(reply), held.insert(entry.id).inserted else { return }
        let source = "redis:\(stream):\(entry.id)"
        let message: [UInt8]
        let outcome: MappingOutcome
        if let value = entry.value(of: field) {
            message = value
            outcome = mapping.map(
                value, names: ["stream": stream, "entry": entry.id], origin: source)
        } else {
            message = Array(entry.fields.joined(separator: [0x20]))
            outcome = .deadLetter("the entry has no field \"\(field)\"")
        }
        intake.add(IntakeItem(outcome, source: source, message: message, receipt: entry.id))
    }

    private func acknowledge(_ receipts: [String]) {
        unacknowledged += receipts
        guard link.isUp, !isAcknowledging, !unacknowledged.isEmpty else { return finishIfDone() }
        isAcknowledging = true
        let ids = unacknowledged
        link.connection.send(["XACK", stream, group] + ids) { [unowned self] reply in
            isAcknowledging = false
            // Without an answer they are acknowledged again on the next connection.
            guard reply != nil else { return }
            unacknowledged.removeFirst(ids.count)
            held.subtract(ids)
            acknowledge([])
        }
    }

    // MARK: What others left

    /// Removes the consumers of runs that ended long ago. None that is alive is so long silent, and one
    /// with entries is kept: they would go with it.
    private func forgetConsumers() {
        link.connection.send(["XINFO", "CONSUMERS", stream, group]) { [unowned self] reply in
            for consumer in (reply?.elements ?? []).compactMap(RedisConsumer.init)
            where consumer.name.hasPrefix(Self.consumerPrefix) && consumer.pending == 0
                && consumer.idle > .seconds(3600)
            {
                link.connection.send(["XGROUP", "DELCONSUMER", stream, group, consumer.name]) { _ in
                }
            }
        }
    }

    private func claim() {
        claimTimer?.set(after: Self.claimInterval)
        guard link.isUp, !isFinishing, !intake.isFull else { return }
        isClaiming = true
        link.connection.send([
            "XAUTOCLAIM", stream, group, consumer, String(Self.patience.wholeMilliseconds),
            claimCursor, "COUNT", Self.batch,
        ]) { [unowned self] reply in
            isClaiming = false
            defer { finishIfDone() }
            guard let parts = reply?.elements, parts.count >= 2 else { return }
            claimCursor = parts[0].text ?? "0-0"
            for entry in parts[1].elements { take(entry) }
            // From Redis 7 on: what was trimmed before anybody had taken it in.
            let lost = parts.count > 2 ? parts[2].elements.count : 0
            if lost > 0 {
                counters.missed.increase(by: lost)
                log.warning(
                    "bridge: entries were trimmed before they were taken in",
                    ["bridge": counters.name, "count": String(lost)])
            }
            intake.flush()
        }
    }
}
