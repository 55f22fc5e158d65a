/// What the streams of one loop have done since the service started.
///
/// Belongs to the loop's thread; nothing here is touched for a single delivery.
public struct StreamCounts: Sendable {
    /// Why a stream ended, as it is counted.
    public enum Ending: Hashable, Sendable, CaseIterable {
        /// The service ended it.
        case planned(DisconnectReason)
        /// The client went, or the connection broke.
        case client

        /// All there are.
        public static var allCases: [Ending] { [.client] + DisconnectReason.allCases.map(planned) }

        /// The value of the label.
        public var name: String {
            switch self {
            case .planned(let reason): reason.rawValue
            case .client: "client"
            }
        }
    }

    /// Streams that began, by how they joined on to what the client had.
    public var opened: [StreamStart.Resumed: Int] = [:]
    /// Streams that ended.
    public var ended: [Ending: Int] = [:]
    /// Events that streams which have ended were sent.
    public var deliveredToEnded = 0
    /// Clients that were told that what they held is void.
    public var resets: [ResetReason: Int] = [:]
    /// Streams that fell behind, because their backlog was full.
    public var fellBehind = 0
    /// Events that came from memory, and from the log, to streams that were not live.
    public var replayed: [ReplaySource: Int] = [:]
    /// From capture to the sockets, of events that concerned a stream of the loop.
    public var written = LatencyHistogram()

    /// Creates counts of nothing.
    public init() {}

    /// Takes in the counts of another loop.
    mutating func add(_ other: StreamCounts) {
        opened.merge(other.opened, uniquingKeysWith: +)
        ended.merge(other.ended, uniquingKeysWith: +)
        deliveredToEnded += other.deliveredToEnded
        resets.merge(other.resets, uniquingKeysWith: +)
        fellBehind += other.fellBehind
        replayed.merge(other.replayed, uniquingKeysWith: +)
        written.add(other.written)
    }
}

/// Where events come from that a stream has missed.
public enum ReplaySource: String, Sendable, CaseIterable {
    /// The newest ones, which are in memory.
    case ring
    /// All, by a query.
    case log
}

/// What the streams of one loop are doing.
public struct StreamGauges: Sendable {
    /// How many are open.
    public var open = 0
    /// How many of them are not live: they read the log, or what is in memory.
    public var catchingUp = 0
    /// What waits to be sent to all of them.
    public var backlogBytes = 0
    /// Events that they were sent so far.
    public var delivered = 0
    /// Up to where the one has come that is furthest behind; `nil`: all are live.
    public var lowestPosition: Int64?

    /// Creates gauges of no stream.
    public init() {}

    mutating func add(_ other: StreamGauges) {
        open += other.open
        catchingUp += other.catchingUp
        backlogBytes += other.backlogBytes
        delivered += other.delivered
        if let position = other.lowestPosition {
            lowestPosition = min(position, lowestPosition ?? position)
        }
    }
}

/// The requests that one loop has answered.
public struct RequestCounts: Sendable {
    /// What requests are told apart by.
    public struct Key: Hashable, Sendable {
        /// `Route.name`.
        public let route: String
        /// The status of the answer.
        public let status: Int
    }

    /// How many were answered.
    public private(set) var answered: [Key: Int] = [:]
    /// How many were refused, by the kind of the problem.
    public private(set) var refused: [String: Int] = [:]

    /// Creates counts of no request.
    public init() {}

    /// A request of a route was answered.
    public mutating func answer(_ route: String, _ status: Int) {
        answered[Key(route: route, status: status), default: 0] += 1
    }

    /// A request was refused.
    public mutating func refuse(_ problem: Problem) {
        refused[problem.kind, default: 0] += 1
    }

    /// Takes in other counts.
    public mutating func add(_ other: RequestCounts) {
        answered.merge(other.answered, uniquingKeysWith: +)
        refused.merge(other.refused, uniquingKeysWith: +)
    }
}

/// How busy a loop is.
public struct LoopReport: Sendable {
    /// The thread's name.
    public var name: String
    /// For how long it has not waited.
    public var busy: Duration

    /// Creates a report.
    public init(name: String, busy: Duration) {
        self.name = name
        self.busy = busy
    }
}

/// What a worker knows.
public struct WorkerReport: Sendable {
    /// Its loop.
    public var loop: LoopReport
    /// What its streams have done.
    public var counts: StreamCounts
    /// What they are doing.
    public var streams: StreamGauges
    /// The requests that it has answered.
    public var requests: RequestCounts
    /// What its ring takes in memory.
    public var ringBytes: Int
    /// Why the service is not ready.
    public var unready: [UnreadyReason]

    /// Creates a report.
    public init(
        loop: LoopReport, counts: StreamCounts, streams: StreamGauges, requests: RequestCounts,
        ringBytes: Int, unready: [UnreadyReason]
    ) {
        self.loop = loop
        self.counts = counts
        self.streams = streams
        self.requests = requests
        self.ringBytes = ringBytes
        self.unready = unready
    }
}

/// What the database thread's listener has done, and is.
public struct ListenerReport: Sendable {
    /// Whether it is connected and attached to the log.
    public var isAttached = false
    /// Whether it has heard its own probe on this connection.
    public var isVerified = false
    /// Whether this node sequences for all.
    public var isPump = false
    /// Whether writers must notify it.
    public var isParked = false
    /// When it last heard its own probe.
    public var lastProbe: Timestamp?
    /// How often its connection was lost, or could not be opened.
    public var losses = 0
    /// The last position that was handed over to the workers.
    public var head: Int64 = 0
    /// Batches that this node sequenced.
    public var ticks = 0
    /// Events that this node sequenced.
    public var sequenced = 0
    /// Pages of the log that it read itself.
    public var pages = 0
    /// What passes batches on between nodes; `nil`: nothing does.
    public var fanout: FanoutReport?
    /// From capture to having a position, of these.
    public var latency = LatencyHistogram()
    /// How far the database's clock is ahead of this node's.
    public var clockOffset = Duration.zero

    /// Creates the report of a listener that has not begun.
    public init() {}
}

/// What came and went over the stream by which nodes pass batches on.
public struct FanoutReport: Sendable {
    /// Whether it is there.
    public var isConnected = false
    /// Batches that were passed on.
    public var sent = 0
    /// Batches that were not: the stream was away or slow, or they were too large.
    public var unsent = 0
    /// Batches of which something was handed to this node's workers.
    public var taken = 0

    /// Creates the report of a stream that has not begun.
    public init() {}
}

/// What queries are counted by.
public struct QueryCounts: Sendable {
    /// What queries are told apart by.
    public struct Key: Hashable, Sendable {
        /// What the query is for.
        public let operation: String
        /// Whether it was answered.
        public let isAnswered: Bool
    }

    /// How many there were.
    public private(set) var done: [Key: Int] = [:]
    /// How long they took, from being sent.
    public private(set) var durations = LatencyHistogram()

    /// Creates counts of no query.
    public init() {}

    /// A query is done.
    public mutating func record(_ operation: String, isAnswered: Bool, took duration: Duration) {
        done[Key(operation: operation, isAnswered: isAnswered), default: 0] += 1
        durations.record(duration)
    }
}

/// What the database says of the log when it is asked for metrics.
public struct LogReport: Sendable {
    /// The last event id that any transaction took.
    public var captured: Int64
    /// How many events wait in the inbox, up to 100,000.
    public var inboxEvents: Int64
    /// For how long the first of them has waited.
    public var inboxAge: Duration
    /// The last position.
    public var head: Int64
    /// The lowest position that is kept.
    public var floor: Int64
    /// What the log takes on disk.
    public var bytes: Int64

    /// Creates a report.
    public init(
        captured: Int64, inboxEvents: Int64, inboxAge: Duration, head: Int64, floor: Int64,
        bytes: Int64
    ) {
        self.captured = captured
        self.inboxEvents = inboxEvents
        self.inboxAge = inboxAge
        self.head = head
        self.floor = floor
        self.bytes = bytes
    }
}

/// What the database thread knows.
public struct DatabaseReport: Sendable {
    /// Its loop.
    public var loop: LoopReport
    /// Its listener.
    public var listener: ListenerReport
    /// What was asked through the pool.
    public var queries: QueryCounts
    /// Connections of the pool that are open.
    public var connections: Int
    /// Queries that wait for one.
    public var waiting: Int
    /// Pages of the log that were answered from memory.
    public var keptPages: Int
    /// What the database said; `nil` when it did not answer.
    public var log: LogReport?

    /// Creates a report.
    public init(
        loop: LoopReport, listener: ListenerReport, queries: QueryCounts, connections: Int,
        waiting: Int, keptPages: Int, log: LogReport?
    ) {
        self.loop = loop
        self.listener = listener
        self.queries = queries
        self.connections = connections
        self.waiting = waiting
        self.keptPages = keptPages
        self.log = log
    }
}

/// What the system knows of the process.
public struct ProcessReport: Sendable {
    /// Processor time, of all threads.
    public var processor = Duration.zero
    /// Memory that is resident, in bytes.
    public var residentBytes = 0
    /// Descriptors that are open.
    public var descriptors = 0
    /// How many may be.
    public var maximumDescriptors = 0
    /// When it started.
    public var started = Timestamp(microseconds: 0)

    /// Creates a report of nothing.
    public init() {}
}

/// What the listening sockets know.
public struct ConnectionReport: Sendable {
    /// Connections that are open on the public listener.
    public var open: Int
    /// How many may be.
    public var maximum: Int
    /// Those that were closed unanswered, because there were too many.
    public var dropped: Int

    /// Creates a report.
    public init(open: Int, maximum: Int, dropped: Int) {
        self.open = open
        self.maximum = maximum
        self.dropped = dropped
    }
}
