import EventCore

/// Moves what a source has read into the inbox, batch by batch, over a connection of its own.
final class Intake {
    private let loop: EventLoop
    private let database: BridgeDatabase
    private let counters: BridgeCounters
    private let log: Log
    private var queue: IntakeQueue
    private var batch: IntakeBatch?
    private let backoff = Backoff(first: .milliseconds(100), maximum: .seconds(5))
    private var failures = 0
    private var retryTimer: LoopTimer?
    private var isWaitingToRetry = false
    private var questions: [(query: Query, completion: (borrowing Rows) -> Void)] = []

    /// A batch was committed: what it held may be acknowledged.
    var onCommitted: (_ receipts: [String], _ offsets: [IntakeBatch.Offset]) -> Void = { _, _ in }
    /// A partition must be read again from here; `nil`: from where it was begun.
    var onSeek: (_ partition: PartitionName, _ offset: Int64?) -> Void = { _, _ in }
    /// Another node has taken a partition in up to here: nothing before it is wanted any more.
    var onOvertaken: (_ partition: PartitionName, _ offset: Int64) -> Void = { _, _ in }
    /// There is room again after the queue was full.
    var onRoom: () -> Void = {}
    /// A message became no event, for this reason; it is about to be kept.
    var onDeadLetter: (_ letter: DeadLetter, _ partition: PartitionName?) -> Void = { _, _ in }
    /// The session is there: what it held before, locks among it, is gone.
    var onUp: () -> Void = {}
    /// How many messages the source has not read yet, as far as it knows.
    var unread = 0 {
        didSet { noteLength() }
    }

    /// - Parameter source: the name under which offsets are kept.
    init(
        loop: EventLoop, url: String, source: String, counters: BridgeCounters, log: Log,
        limits: IntakeQueue.Limits = IntakeQueue.Limits()
    ) {
        self.loop = loop
        self.counters = counters
        self.log = log
        queue = IntakeQueue(source: source, limits: limits)
        database = BridgeDatabase(
            loop: loop, url: url, name: counters.name,
            prepared: [
                Query(
                    "prepare to take in",
                    """
                    PREPARE take_in (json, text[], json, json) AS \
                    SELECT * FROM event_service.take_in($1, $2, $3, $4)
                    """)
            ], log: log)
        database.onUp = { [unowned self] in
            onUp()
            sendNext()
        }
        database.onIdle = { [unowned self] in sendNext() }
        retryTimer = LoopTimer(loop) { [unowned self] _ in
            isWaitingToRetry = false
            sendNext()
        }
    }

    /// Connects, and stays connected.
    func start() {
        database.start()
    }

    /// Closes the connection; what was not committed is lost here, and still there where it came from.
    func stop() {
        retryTimer?.cancel()
        database.stop()
    }

    /// Whether the source must stop reading.
    var isFull: Bool { queue.isFull }

    /// Whether a batch is under way.
    var isUnderWay: Bool { queue.isUnderWay }

    /// Asks the session something between two batches, again and again until there is an answer.
    func ask(_ query: Query, completion: @escaping (borrowing Rows) -> Void) {
        questions.append((query, completion))
        sendNext()
    }

    /// Forgets what was asked of an earlier session.
    func dropQuestions() {
        questions = []
    }

    /// A message was read. Several are sent together: call `flush()` behind the last.
    func add(_ item: IntakeItem) {
        counters.received.increase()
        switch item.content {
        case .event: break
        case .deadLetter(let letter): deadLetter(letter, item.place?.partition)
        case .nothing: counters.dropped.increase()
        }
        queue.add(item)
    }

    /// Drops what is not under way, and returns how much that was.
    func dropWaiting() -> Int {
        defer { noteLength() }
        return queue.dropWaiting()
    }

    /// A partition is read from here on.
    func assign(_ partition: PartitionName, next: Int64?) {
        queue.assign(partition, next: next)
    }

    /// A partition is read elsewhere.
    func revoke(_ partition: PartitionName) {
        queue.revoke(partition)
        noteLength()
    }

    /// Sends what waits, if nothing is under way.
    func flush() {
        noteLength()
        sendNext()
    }

    private func deadLetter(_ letter: DeadLetter, _ partition: PartitionName?) {
        counters.deadLettered.increase()
        onDeadLetter(letter, partition)
        log.warning("bridge: dead letter", ["source": letter.source, "reason": letter.reason])
    }

    private func sendNext() {
        guard !isWaitingToRetry, database.isIdle else { return }
        if let question = questions.first { return ask(question) }
        guard let next = queue.nextBatch() else { return }
        batch = next
        let query = Query(
            "take in a batch", "SELECT * FROM event_service.take_in($1, $2, $3, $4)",
            next.parameters, preparedName: "take_in", timeout: .seconds(30))
        database.run(query) { [weak self] outcome in
            guard let self else { return }
            switch consume outcome {
            case .rows(let rows): returned(rows)
            case .failed(let error): failed(error)
            }
        }
    }

    private func ask(_ question: (query: Query, completion: (borrowing Rows) -> Void)) {
        database.run(question.query) { [weak self] outcome in
            guard let self else { return }
            switch consume outcome {
            case .rows(let rows):
                failures = 0
                questions.removeFirst()
                question.completion(rows)
                sendNext()
            case .failed(let error): tryAgain(error)
            }
        }
    }

    private func returned(_ rows: borrowing Rows) {
        failures = 0
        guard let batch, rows.count == 1, !rows.isNull(0, 0) else { return refused(rows) }
        counters.added.increase(by: Int(rows.int32(0, 0)))
        let receipts = queue.committed()
        onCommitted(receipts, batch.offsets)
        noteLength()
        sendNext()
        if queue.emptied() { onRoom() }
    }

    private func refused(_ rows: borrowing Rows) {
        counters.retried.increase()
        for row in 0..<rows.count {
            let partition = PartitionName(topic: rows.text(row, 1), partition: rows.int32(row, 2))
            let next: Int64? = rows.isNull(row, 3) ? nil : rows.int64(row, 3)
            log.info(
                "bridge: a partition stands elsewhere",
                [
                    "bridge": counters.name, "topic": partition.topic,
                    "partition": String(partition.partition),
                    "next": next.map(String.init) ?? "none",
                ])
            switch queue.stands(partition, at: next) {
            case .none: break
            case .skip(let offset): onOvertaken(partition, offset)
            case .seek(let offset): onSeek(partition, offset)
            }
        }
        noteLength()
        sendNext()
        // Nothing may be left that a later batch would tell of.
        if queue.emptied() { onRoom() }
    }

    private func failed(_ error: DatabaseError) {
        counters.retried.increase()
        if error.isBadInput {
            if let item = queue.foundBad(reason: error.message),
                case .deadLetter(let letter) = item.content
            {
                deadLetter(letter, item.place?.partition)
            }
            return sendNext()
        }
        queue.failed()
        tryAgain(error)
    }

    private func tryAgain(_ error: DatabaseError) {
        failures += 1
        if !error.isConnectionLoss {
            log.warning(
                "bridge: database refuses, trying again",
                ["bridge": counters.name, "error": error.description])
        }
        isWaitingToRetry = true
        retryTimer?.set(
            after: backoff.delay(failures: failures, random: Double.random(in: 0..<1)))
    }

    private func noteLength() {
        counters.lag.set(unread + queue.count)
    }
}

extension DatabaseError {
    /// Whether what was given is at fault, and would be again: class 22, a reserved name, a statement too
    /// complex.
    var isBadInput: Bool {
        sqlState.map { $0.hasPrefix("22") || $0 == "42939" || $0.hasPrefix("54") } ?? false
    }
}
