extension ListenerStateMachine {
    /// The intervals of the listener.
    public struct Timing: Sendable {
        /// The setting `batch_max_delay`: how long an awake pump waits between two looks at the inbox.
        public var batchDelay: Duration
        /// How long nothing must have come before the pump tries to park.
        public var parkAfter = Duration.milliseconds(25)
        /// How often the state of the log is asked for: a fallback for notifications that got lost.
        public var statusInterval = Duration.seconds(1)
        /// How long events may wait in the inbox before a follower sequences them itself.
        public var rescueAfter = Duration.seconds(1)
        /// How long a session that should sequence may keep its server waiting before a follower that
        /// had to do its work ends it. A sound one is never silent for much longer than
        /// `statusInterval`.
        public var deposeAfter = Duration.seconds(20)
        /// How long events may wait while the head stands before the node says that it is not ready.
        public var stalledAfter = Duration.seconds(15)
        /// How often the connection proves that it hears notifications.
        public var probeInterval = Duration.seconds(10)
        /// How long the proof may take.
        public var probeTimeout = Duration.seconds(5)
        /// How long the node takes itself for ready after a proof: one may fail to come in time because
        /// a request is under way, but not the next as well.
        public var verifiedFor = Duration.seconds(20)
        /// The delays between attempts to connect.
        public var retry = Backoff(first: .milliseconds(250), maximum: .seconds(5))
        /// The delays between calls of `advance()` that fail.
        public var advanceRetry = Backoff(first: .milliseconds(100), maximum: .seconds(2))
        /// How many positions a node that was away reads through; from more it jumps to the head, and
        /// each of its streams catches up by itself.
        public var longestReadThrough: Int64 = 100_000

        /// While nodes pass batches on: how long a follower waits for one that was announced before it
        /// reads the log instead.
        public var batchPatience = Duration.milliseconds(50)

        /// Creates the usual intervals.
        public init(batchDelay: Duration) {
            self.batchDelay = batchDelay
        }
    }

    /// What the connection is asked to do.
    public enum Request: Sendable, Equatable {
        /// Open the connection.
        case connect
        /// Check the migrations; LISTEN.
        case prepare
        /// Call `attach()`.
        case attach
        /// Call `status()`, and try to take the pump's lock.
        case status(claimPump: Bool)
        /// Call `advance()`, having let the gate go first if it is held.
        case advance(releasesGate: Bool)
        /// Try to take the gate exclusively.
        case claimGate
        /// Read a page of the log.
        case read(after: Int64)
        /// Send a notification to oneself.
        case probe
        /// End the session that should sequence, if it has kept its server waiting for so long.
        case deposePump(silentFor: Duration)
    }

    /// What happens next.
    public enum Action: Sendable, Equatable {
        /// Send this; its outcome is the next input.
        case request(Request)
        /// Nothing until this time or a notification.
        case wait(until: MonotonicTime)
        /// Drop the connection, if there is one, and connect again at this time.
        case reconnect(at: MonotonicTime)
        /// A request is under way, or the machine has stopped.
        case none
    }

    /// What `advance()` returned.
    public enum Advance: Sendable, Equatable {
        /// Nothing has committed since.
        case nothing
        /// Another session is sequencing.
        case busy
        /// Events; `isFull` if more are waiting.
        case events(first: Int64, last: Int64, isFull: Bool)
    }

    /// What `status()` returned.
    public struct Status: Sendable, Equatable {
        /// The head of the log.
        public var head: Int64
        /// For how long the oldest event has waited in the inbox; `nil` if none does.
        public var waiting: Duration?
        /// Whether this session holds the pump's lock now.
        public var holdsPump: Bool

        /// Creates a status.
        public init(head: Int64, waiting: Duration?, holdsPump: Bool) {
            self.head = head
            self.waiting = waiting
            self.holdsPump = holdsPump
        }
    }

    /// A notification that arrived.
    public enum Notification: Sendable, Equatable {
        /// A writer found the gate shut.
        case wake
        /// A node sequenced up to this position.
        case tick(head: Int64)
        /// Our own probe came back.
        case probe
    }
}
