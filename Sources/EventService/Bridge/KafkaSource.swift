import EventCore

/// Reads Kafka topics as one of a consumer group, and commits an offset once its event is committed.
///
/// ```
///  fetch ─▶ reading (new?) ─▶ mapping ─▶ intake ─▶ committed, with the next offset of each partition
///    ▲                                      │                                  └─▶ the group's offset
///    └─ held, then paused ◀── full ─────────┘
/// ```
/// Where a partition goes on stands in PostgreSQL, in the transaction of its events; the offset of the
/// group is only told to Kafka, for those who watch it there. Before a partition is read that place is
/// asked for. A node that is slow to notice that a partition is another's by now sends a batch that
/// does not go on where the partition stands; it is refused as a whole.
final class KafkaSource: Bridge {
    private let loop: EventLoop
    private let makeConsumer: () throws -> KafkaConsumer
    private var consumer: KafkaConsumer
    private let producer: KafkaProducer?
    private let intake: Intake
    private let sources: [String: KafkaSourceSettings]
    private let source: String
    private let counters: BridgeCounters
    private let log: Log
    private var readings: [PartitionName: PartitionReading] = [:]
    /// What was assigned and waits for its place in PostgreSQL; the library waits for an answer also where
    /// it is nothing.
    private var unplaced: [PartitionName]?
    /// How often that was asked for: only the last answer is new enough.
    private var questions = 0
    private var isHeld = false
    private var isPaused = false
    private var patience: LoopTimer?
    private var second: LoopTimer?
    /// Set while the consumer is of no use any more.
    private var renewal: LoopTimer?
    private var onFinished: (() -> Void)?
    private var isFinishing = false
    private var isLeaving = false
    private var lettersUnderWay = 0

    /// How long messages may wait in the library's queue before their partitions are paused.
    private static let patience = Duration.seconds(1)
    /// How soon a consumer that the library has given up is replaced.
    private static let renewalDelay = Duration.seconds(2)
    /// Copies of dead letters that may be on their way at once.
    private static let maximumLetters = 1000
    /// The most of a message that a copy holds: what a broker takes that nobody told otherwise.
    private static let maximumLetterBytes = 900_000

    init(
        loop: EventLoop, configuration: Configuration, properties: KafkaProperties,
        counters: BridgeCounters, log: Log
    ) throws {
        self.loop = loop
        self.counters = counters
        self.log = log
        source = counters.name
        let settings = configuration.kafka
        sources = Dictionary(
            settings.sources.flatMap { source in source.topics.map { ($0, source) } }
        ) { first, _ in first }
        makeConsumer = { try KafkaConsumer(properties.consumer, loop: loop, log: log) }
        consumer = try makeConsumer()
        producer =
            settings.needsProducer
            ? try KafkaProducer(properties.producer, loop: loop, log: log) : nil
        intake = Intake(
            loop: loop, url: configuration.databaseURL, source: source, counters: counters,
            log: log)
        try begin()
        producer?.onDelivered = { [unowned self] in letterSent($1) }
        intake.onCommitted = { [unowned self] _, offsets in
            if !isLeaving { consumer.commit(offsets.map { ($0.partition, $0.next) }) }
            leaveIfDone()
        }
        intake.onSeek = { [unowned self] partition, offset in
            guard !isLeaving else { return }
            readings[partition]?.sought(offset)
            consumer.seek(partition, to: offset)
        }
        intake.onOvertaken = { [unowned self] in readings[$0]?.overtaken($1) }
        intake.onRoom = { [unowned self] in goOn() }
        intake.onDeadLetter = { [unowned self] in copy($0, from: $1) }
        patience = LoopTimer(loop) { [unowned self] _ in pause() }
        second = LoopTimer(loop) { [unowned self] _ in secondPassed() }
        renewal = LoopTimer(loop) { [unowned self] _ in renew() }
    }

    /// Joins the group with the present consumer.
    private func begin() throws {
        try consumer.subscribe(sources.keys.sorted())
        consumer.onMessage = { [unowned self] in received($0) }
        consumer.onEnd = { [unowned self] in
            readings[$0]?.ended(at: $1, now: loop.now)
        }
        consumer.onTurnEnded = { [unowned self] in turnEnded() }
        consumer.onAssigned = { [unowned self] in assigned($0) }
        consumer.onRevoked = { [unowned self] in revoked($0) }
        consumer.onBrokers = { [counters, log] in counters.note(brokersAreUp: $0, log) }
        consumer.onError = { [unowned self] in failed($0) }
        consumer.onFatal = { [unowned self] in gaveUp() }
    }

    func start() {
        counters.active.set(1)
        intake.start()
        second?.set(after: .seconds(1))
    }

    func finish(completion: @escaping () -> Void) {
        isFinishing = true
        onFinished = completion
        consumer.hold(true)
        leaveIfDone()
    }

    func stop() {
        counters.active.set(0)
        for timer in [patience, second, renewal] { timer?.cancel() }
        intake.stop()
        consumer.close()
        producer?.close()
    }

    /// Leaves the group once no batch is under way, so that others need not wait for it to be missed.
    private func leaveIfDone() {
        guard isFinishing, !isLeaving, !intake.isUnderWay else { return }
        isLeaving = true
        // What still comes is left to whoever reads on: a commit or a seek that meets the library while it
        // leaves may end the process by one of its assertions.
        readings = [:]
        guard renewal?.isSet == false else { return finished() }
        consumer.leave()
        if unplaced != nil { decline() }
    }

    /// Answers that nothing of what was assigned is read: the library waits for an answer before it leaves.
    private func decline() {
        unplaced = nil
        consumer.assign([])
    }

    private func finished() {
        onFinished?()
        onFinished = nil
    }

    // MARK: Giving up

    /// The library will fetch nothing more: as when another member has taken this one's
    /// `group.instance.id`, or a broker that was restarted believes so.
    private func gaveUp() {
        guard renewal?.isSet == false else { return }
        log.warning("bridge: joins the group anew", ["bridge": counters.name])
        counters.retried.increase()
        renewal?.set(after: Self.renewalDelay)
        unplaced = nil
        if !readings.isEmpty { revoked(Array(readings.keys)) }
        goOn()
        if isFinishing { finished() }
    }

    private func renew() {
        do {
            // Before the old one is closed, which is of use to nobody, but asked until then.
            let successor = try makeConsumer()
            consumer.close()
            consumer = successor
            try begin()
            if intake.isFull { hold() }
        } catch {
            failed("\(error)")
            renewal?.set(after: Self.renewalDelay)
        }
    }

    // MARK: Partitions

    private func assigned(_ partitions: [PartitionName]) {
        guard !isLeaving else { return decline() }
        unplaced = (unplaced ?? []) + partitions
        questions += 1
        let question = questions
        intake.ask(
            Query(
                "ask where partitions stand", "SELECT * FROM event_service.taken_offsets($1)",
                [source])
        ) { [unowned self] rows in
            // Meanwhile they may have been another's, who has taken more in.
            if question == questions { place(rows) }
        }
    }

    private func place(_ rows: borrowing Rows) {
        var taken: [PartitionName: TakenOffset] = [:]
        for row in 0..<rows.count {
            let partition = PartitionName(topic: rows.text(row, 0), partition: rows.int32(row, 1))
            taken[partition] = TakenOffset(next: rows.int64(row, 2), stamp: rows.int64(row, 3))
        }
        // Revoked while the place was asked for.
        guard let partitions = unplaced else { return }
        unplaced = nil
        for partition in partitions {
            readings[partition] = PartitionReading(taken[partition])
            intake.assign(partition, next: taken[partition]?.next)
        }
        log.info(
            "bridge: reads partitions",
            ["bridge": counters.name, "partitions": Self.list(partitions)])
        consumer.assign(partitions.map { ($0, readings[$0]?.start ?? .group) })
        if isPaused { consumer.pause(partitions) }
    }

    private func revoked(_ partitions: [PartitionName]) {
        unplaced = nil
        // The library keeps the pause with the partition, also for when it is assigned here again.
        if isPaused, !isLeaving { consumer.resume(partitions) }
        for partition in partitions {
            readings[partition] = nil
            intake.revoke(partition)
        }
        log.info(
            "bridge: no longer reads partitions",
            ["bridge": counters.name, "partitions": Self.list(partitions)])
        if !intake.isFull { goOn() }
    }

    private static func list(_ partitions: [PartitionName]) -> String {
        partitions.map { "\($0.topic)/\($0.partition)" }.sorted().joined(separator: ",")
    }

    private func startOver(_ partition: PartitionName) {
        log.warning(
            "bridge: a topic was made anew and is read from its beginning",
            [
                "bridge": counters.name, "topic": partition.topic,
                "partition": String(partition.partition),
            ])
        consumer.seek(partition, to: nil)
    }

    // MARK: Messages

    private func received(_ message: KafkaConsumer.Message) {
        // Of a partition that was revoked meanwhile.
        guard let settings = sources[message.partition.topic],
            let verdict = readings[message.partition]?
                .received(offset: message.offset, stamp: message.stamp)
        else { return }
        switch verdict {
        case .skip: break
        case .startOver: startOver(message.partition)
        case .lookAgain(let offset): consumer.seek(message.partition, to: offset)
        case .take: take(message, settings)
        }
        if intake.isFull { hold() }
    }

    private func take(_ message: KafkaConsumer.Message, _ settings: KafkaSourceSettings) {
        let topic = message.partition.topic
        let place = "kafka:\(topic):\(message.partition.partition):\(message.offset)"
        var names = ["topic": topic]
        names["key"] = message.key.flatMap { String(validating: $0, as: UTF8.self) }
        let outcome =
            message.value.map {
                settings.mapping.map($0, names: names, origin: "\(place):\(message.stamp)")
            } ?? .deadLetter("a message without a value")
        intake.add(
            IntakeItem(
                outcome, source: place, message: message.value ?? [],
                place: IntakeItem.Place(
                    partition: message.partition, offset: message.offset, stamp: message.stamp)))
    }

    private func turnEnded() {
        intake.flush()
        if isLeaving, consumer.isClosed { finished() }
    }

    // MARK: Back-pressure

    private func hold() {
        guard !isHeld, !isPaused else { return }
        isHeld = true
        consumer.hold(true)
        patience?.set(after: Self.patience)
    }

    /// Messages have waited for a second: PostgreSQL is slow, or away. What was fetched is given back, and
    /// the library is asked again for what is not a message.
    private func pause() {
        guard isHeld, !isFinishing else { return }
        isHeld = false
        isPaused = true
        consumer.pause(Array(readings.keys))
        for partition in readings.keys { readings[partition]?.paused() }
        consumer.hold(false)
    }

    private func goOn() {
        guard !isFinishing else { return }
        if isPaused { consumer.resume(Array(readings.keys)) }
        if isHeld { consumer.hold(false) }
        (isHeld, isPaused) = (false, false)
        patience?.cancel()
    }

    // MARK: Every second

    private func secondPassed() {
        second?.set(after: .seconds(1))
        leaveIfDone()
        consumer.wake()
        var behind = 0
        for (partition, reading) in readings {
            if readings[partition]?.timePassed(now: loop.now) == true { startOver(partition) }
            behind += Int(max(0, consumer.end(of: partition) - reading.next))
        }
        intake.unread = behind
    }

    private func failed(_ text: String) {
        log.warning("bridge: Kafka", ["bridge": counters.name, "error": text])
    }

    // MARK: Dead letters

    /// Sends a copy to the topic that the settings name; what counts is the table.
    private func copy(_ letter: DeadLetter, from partition: PartitionName?) {
        guard let partition, let producer, let topic = sources[partition.topic]?.deadLetterTopic
        else { return }
        do throws(KafkaError) {
            guard lettersUnderWay < Self.maximumLetters else {
                throw KafkaError("\(Self.maximumLetters) are on their way already")
            }
            try producer.send(
                KafkaProducer.Message(
                    topic: topic, key: nil,
                    value: Array(letter.message.prefix(Self.maximumLetterBytes)),
                    headers: [
                        ("reason", Array(letter.reason.utf8)),
                        ("source", Array(letter.source.utf8)),
                        ("bytes", Array(String(letter.message.count).utf8)),
                    ], number: 0))
            lettersUnderWay += 1
        } catch {
            letterLost(error)
        }
    }

    private func letterSent(_ error: KafkaError?) {
        lettersUnderWay -= 1
        if let error { letterLost(error) }
    }

    private func letterLost(_ error: KafkaError) {
        log.warning(
            "bridge: no copy of a dead letter was written",
            ["bridge": counters.name, "error": error.description])
    }
}
