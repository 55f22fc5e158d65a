/// One partition of a topic, or whatever else is read in order from a place that is kept.
public struct PartitionName: Hashable, Sendable {
    /// The topic.
    public let topic: String
    /// Its number within the topic.
    public let partition: Int32

    /// Creates a name.
    public init(topic: String, partition: Int32) {
        self.topic = topic
        self.partition = partition
    }
}

/// A message that is to become an event, or a dead letter, or that is only to be passed by.
public struct IntakeItem: Sendable {
    /// What the message became.
    public enum Content: Sendable {
        case event(BridgedEvent)
        case deadLetter(DeadLetter)
        case nothing
    }

    /// Where the message stands in its partition.
    public struct Place: Sendable, Equatable {
        /// The partition.
        public var partition: PartitionName
        /// Its offset there.
        public var offset: Int64
        /// Its time, by which it is told from another message at that offset.
        public var stamp: Int64

        /// Creates a place.
        public init(partition: PartitionName, offset: Int64, stamp: Int64) {
            self.partition = partition
            self.offset = offset
            self.stamp = stamp
        }
    }

    /// What the message became.
    public var content: Content
    /// Where it came from, as dead letters say it.
    public var source: String
    /// The message itself; given up once the item has left the queue.
    public var message: [UInt8]
    /// Where it stands, if it is read in order.
    public var place: Place?
    /// What is given back once it is taken in, such as the id of a stream's entry.
    public var receipt: String?

    /// Creates an item from what a mapping has made of a message.
    public init(
        _ outcome: MappingOutcome, source: String, message: [UInt8], place: Place? = nil,
        receipt: String? = nil
    ) {
        self.source = source
        self.message = message
        self.place = place
        self.receipt = receipt
        switch outcome {
        case .event(let event): content = .event(event)
        case .dropped: content = .nothing
        case .deadLetter(let reason):
            content = .deadLetter(DeadLetter(source: source, reason: reason, message: message))
        }
    }

    /// What the item takes in memory, about.
    var byteCount: Int {
        switch content {
        case .event(let event): message.count + event.data.count + 256
        case .deadLetter, .nothing: message.count + 256
        }
    }
}

/// A message that became no event, or an event that could not be sent, and why.
public struct DeadLetter: Sendable, Equatable {
    /// Where it came from.
    public var source: String
    /// Why.
    public var reason: String
    /// The message as it came.
    public var message: [UInt8]

    /// Creates a dead letter.
    public init(source: String, reason: String, message: [UInt8]) {
        self.source = source
        self.reason = reason
        self.message = message
    }
}

/// Messages on their way into the inbox, batch by batch.
///
/// One batch is under way at a time: the front of the queue, which stays there until the database has
/// committed it, so that a batch that failed is simply sent again. While it is, further messages come to
/// the end; the busier the source, the larger the batches.
///
/// The queue is bounded. Past the bound the source must stop reading until there is room again.
///
/// What the database refuses as bad, though the mapping let it through, is found by halving the batch:
/// the message that is left alone becomes a dead letter.
public struct IntakeQueue: Sendable {
    /// The bounds of the queue and of a batch.
    public struct Limits: Sendable {
        /// Messages that may wait.
        public var messages = 4000
        /// Bytes that may wait.
        public var bytes = 16 << 20
        /// Messages of a batch.
        public var batchMessages = 1000
        /// Bytes of a batch.
        public var batchBytes = 4 << 20

        /// Creates the usual bounds.
        public init() {}
    }

    private let source: String
    private let limits: Limits
    private var items: [IntakeItem] = []
    private var bytes = 0
    private var underWay = 0
    private var wasFull = false
    private var batchLimit: Int
    /// The partitions that are read here.
    private var partitions: [PartitionName: Standing] = [:]
    /// The partitions that were revoked while a batch was under way.
    private var strays: Set<PartitionName> = []

    /// Where the database has a partition standing; `nil`: nowhere yet.
    private struct Standing {
        var next: Int64?
    }

    /// Creates an empty queue; `source` is the name under which offsets are kept.
    public init(source: String, limits: Limits = Limits()) {
        self.source = source
        self.limits = limits
        batchLimit = limits.batchMessages
    }

    /// How many messages wait, those under way among them.
    public var count: Int { items.count }

    /// Whether nothing waits.
    public var isEmpty: Bool { items.isEmpty }

    /// Whether a batch is under way.
    public var isUnderWay: Bool { underWay > 0 }

    /// Whether the source must stop reading.
    public var isFull: Bool { items.count >= limits.messages || bytes >= limits.bytes }

    /// Whether a source that has stopped may go on.
    public var hasRoom: Bool { items.count <= limits.messages / 2 && bytes <= limits.bytes / 2 }

    /// Items have left the queue: whether there is room again after it was full, said once.
    public mutating func emptied() -> Bool {
        guard wasFull, hasRoom else { return false }
        wasFull = false
        return true
    }

    // MARK: Partitions

    /// A partition is read here from now on; `next` is where the database has it standing.
    public mutating func assign(_ partition: PartitionName, next: Int64?) {
        partitions[partition] = Standing(next: next)
    }

    /// A partition is read elsewhere; what waits of it is for the other.
    public mutating func revoke(_ partition: PartitionName) {
        partitions[partition] = nil
        // What is under way may be committed yet; if it fails, it is left out of the next attempt.
        if underWay > 0 { strays.insert(partition) }
        removeWaiting(from: underWay) { $0.place?.partition == partition }
    }

    // MARK: Messages

    /// A message has come.
    public mutating func add(_ item: IntakeItem) {
        items.append(item)
        bytes += item.byteCount
        if isFull { wasFull = true }
    }

    /// Whoever hears the same takes it in: what is not under way is dropped. Returns how much that was.
    public mutating func dropWaiting() -> Int {
        let count = items.count - underWay
        removeWaiting(from: underWay) { _ in true }
        return count
    }

    /// The next batch; `nil` if nothing waits, or one is under way.
    public mutating func nextBatch() -> IntakeBatch? {
        guard underWay == 0 else { return nil }
        var batch = IntakeBatch(source: source)
        var size = 0
        for item in items.prefix(batchLimit) {
            size += item.byteCount
            guard underWay == 0 || size <= limits.batchBytes else { break }
            batch.add(item, expected: item.place.flatMap { partitions[$0.partition]?.next })
            underWay += 1
        }
        return underWay > 0 ? batch : nil
    }

    /// The batch was committed; returns its receipts.
    public mutating func committed() -> [String] {
        batchLimit = min(batchLimit * 2, limits.batchMessages)
        for place in items.prefix(underWay).compactMap(\.place) {
            partitions[place.partition]?.next = place.offset + 1
        }
        let receipts = items.prefix(underWay).compactMap(\.receipt)
        drop(underWay)
        return receipts
    }

    /// The batch may be committed or not: the connection broke. It is sent again.
    public mutating func failed() {
        returnBatch()
    }

    /// The database takes something in the batch for bad. A smaller one is tried; a message that was
    /// alone becomes a dead letter and is returned.
    public mutating func foundBad(reason: String) -> IntakeItem? {
        let count = underWay
        batchLimit = max(count / 2, 1)
        let first = items[0]
        returnBatch()
        // Of a partition that was revoked meanwhile it is left to the other.
        guard count == 1, items.first?.source == first.source else { return nil }
        items[0].content = .deadLetter(
            DeadLetter(source: items[0].source, reason: reason, message: items[0].message))
        return items[0]
    }

    /// What is to be done about a partition that stands elsewhere than was believed.
    public enum Correction: Sendable, Equatable {
        /// Nothing: it is read elsewhere by now.
        case none
        /// What lies before this offset was taken in already; leave out what still comes of it.
        case skip(Int64)
        /// Read it again from here; `nil`: from where it was begun.
        case seek(Int64?)
    }

    /// The batch was refused because a partition stands elsewhere. Either it was committed before, and
    /// only the answer was lost; or another node has gone on meanwhile; or the database is an older copy
    /// of itself.
    public mutating func stands(_ partition: PartitionName, at next: Int64?) -> Correction {
        returnBatch()
        guard let believed = partitions[partition] else { return .none }
        partitions[partition] = Standing(next: next)
        guard let next, next >= believed.next ?? next else {
            removeWaiting(from: 0) { $0.place?.partition == partition }
            return .seek(next)
        }
        removeWaiting(from: 0) { item in
            item.place.map { $0.partition == partition && $0.offset < next } ?? false
        }
        return .skip(next)
    }

    private mutating func drop(_ count: Int) {
        for item in items.prefix(count) { bytes -= item.byteCount }
        items.removeFirst(count)
        underWay = 0
        strays = []
    }

    /// What was under way waits again, but for what is another's by now. At once: were it left until
    /// the next batch, such a partition might be assigned here again, and its messages come twice.
    private mutating func returnBatch() {
        underWay = 0
        guard !strays.isEmpty else { return }
        let gone = strays
        strays = []
        removeWaiting(from: 0) { $0.place.map { gone.contains($0.partition) } ?? false }
    }

    private mutating func removeWaiting(from start: Int, where condition: (IntakeItem) -> Bool) {
        guard items[start...].contains(where: condition) else { return }
        let kept = items[start...].filter { !condition($0) }
        items.replaceSubrange(start..., with: kept)
        bytes = items.reduce(0) { $0 + $1.byteCount }
    }
}
