import EventCore

/// Passes what a node has sequenced on to the other nodes, over a stream of Redis.
///
/// ```
///  pump:      advance() ─▶ XADD event-service:fanout:HISTORY
///  each node: XREAD ─▶ does it go on from the head? ─▶ dispatch
/// ```
/// It saves queries, and nothing hangs on it: a batch that is late, lost, too large or cannot be read is
/// a gap, which the log fills. The name of the stream holds the epoch and a digest of what tells this log
/// from every other, so that nodes of another database or of another history have another stream. Who
/// may write to the Redis server can make up events: it is to be guarded as the database is.
final class FanoutStream {
    private let loop: EventLoop
    private let reading: RedisLink
    private let writing: RedisLink
    private var key: String?
    private var lastEntry: String?
    private var isAsking = false
    private var expiryDue = MonotonicTime.zero
    private var counts = FanoutReport()

    /// The most bytes of a batch that is passed on, and about how many batches are kept: together the
    /// most memory that a stream takes, 64 MiB.
    private static let maximumBytes = 256 << 10
    private static let maximumLength = 256
    /// The most batches whose writing was not answered yet.
    private static let maximumUnanswered = 100
    /// The most batches that are asked for at once.
    private static let pageSize = 16
    private static let wait = Duration.seconds(1)
    /// How long the stream of a history is kept that nobody writes any more.
    private static let keptFor = 3600

    /// A batch has come, perhaps one of this node's own.
    var onBatch: (SequencedBatch) -> Void = { _ in }
    /// Batches can be expected from now on, or not.
    var onAvailability: (Bool) -> Void = { _ in }

    init(loop: EventLoop, address: RedisAddress, timeout: Duration, log: Log) {
        self.loop = loop
        func link(_ name: String) -> RedisLink {
            RedisLink(
                loop: loop, address: address, timeout: timeout,
                counters: BridgeCounters(name: name), log: log)
        }
        (reading, writing) = (link("fanout, reading"), link("fanout, writing"))
        reading.onUp = { [unowned self] in begin() }
        reading.onDown = { [unowned self] in
            isAsking = false
            lastEntry = nil
            onAvailability(false)
        }
    }

    /// Connects, and stays connected.
    func start() {
        reading.start()
        writing.start()
    }

    /// Closes the connections for good.
    func stop() {
        reading.stop()
        writing.stop()
    }

    /// The node has attached to the log of this name.
    func attached(to name: String) {
        let new = "event-service:fanout:\(name)"
        guard new != key else { return }
        key = new
        lastEntry = nil
        expiryDue = .zero
        begin()
    }

    /// What came and went.
    var report: FanoutReport {
        var report = counts
        report.isConnected = reading.isUp && writing.isUp
        return report
    }

    // MARK: Writing

    /// Passes on what this node has sequenced.
    func send(_ batch: SequencedBatch) {
        guard let key, writing.isUp, writing.connection.pendingCount < Self.maximumUnanswered,
            case let bytes = batch.encoded, bytes.count <= Self.maximumBytes
        else {
            counts.unsent += 1
            return
        }
        let command = ["XADD", key, "MAXLEN", "~", String(Self.maximumLength), "*", "b"]
        writing.connection.send(command.map { Array($0.utf8) } + [bytes]) { [weak self] reply in
            guard case .bytes? = reply else {
                self?.counts.unsent += 1
                return
            }
            self?.counts.sent += 1
        }
        guard loop.now >= expiryDue else { return }
        expiryDue = loop.now + .seconds(60)
        writing.connection.send(["EXPIRE", key, String(Self.keptFor)]) { _ in }
    }

    // MARK: Reading

    /// Reads from the newest entry on: what lies before it is read from the log.
    private func begin() {
        guard let key, reading.isUp, !isAsking else { return }
        isAsking = true
        reading.connection.send(["XREVRANGE", key, "+", "-", "COUNT", "1"]) {
            [unowned self] reply in
            isAsking = false
            guard let reply else { return }
            if let message = reply.errorMessage { return reading.reset(message) }
            guard key == self.key else { return begin() }
            lastEntry = reply.elements.first.flatMap { RedisStreamEntry($0)?.id } ?? "0-0"
            onAvailability(true)
            read()
        }
    }

    private func read() {
        guard let key, let lastEntry, reading.isUp, !isAsking else { return }
        isAsking = true
        let command = [
            "XREAD", "COUNT", String(Self.pageSize), "BLOCK", String(Self.wait.wholeMilliseconds),
            "STREAMS", key, lastEntry,
        ]
        reading.connection.send(command, wait: Self.wait) { [unowned self] reply in
            isAsking = false
            guard let reply else { return }
            if let message = reply.errorMessage { return reading.reset(message) }
            // The node has attached to another history meanwhile.
            guard key == self.key else { return begin() }
            take(reply)
            read()
        }
    }

    private func take(_ reply: RedisReply) {
        for element in reply.elements.first?.elements.last?.elements ?? [] {
            guard let entry = RedisStreamEntry(element) else { continue }
            lastEntry = entry.id
            if let batch = entry.value(of: "b").flatMap({ SequencedBatch($0) }) { onBatch(batch) }
        }
    }

    /// Something of a batch that came was handed to the workers.
    func taken() {
        counts.taken += 1
    }
}
