/// Decides what the node's one listening connection to PostgreSQL does next.
///
/// The connection has one request under way at a time. Every input is something that happened; every
/// answer names the next request, or how long to wait for something to happen.
/// ```
///            ┌───────────────────── failed ◀──────────── any ────────────┐
///            ▼                                                           │
///  waiting ─▶ connecting ─▶ preparing ─▶ attaching ─▶ follower ─▶ pump ──┘
///                           (LISTEN)      (epochs,      │ reads     ├ awake    advance() every batchDelay
///                                          head)        │ what the  ├ parking  holds the gate, advance() once more
///                                                       │ pump says └ parked   holds the gate, waits on the socket
/// ```
/// One node is the pump: the one that holds a session lock. It sequences for all; the others read what
/// its ticks announce. None trusts it: a follower that sees events wait while the head stands still
/// calls `advance()` itself, and after `deposeAfter` ends the pump's session.
///
/// The gate. While the pump is awake, writers do not notify, so it asks again every `batchDelay`. To
/// sleep it takes the gate exclusively, which succeeds only when no transaction that skipped its
/// NOTIFY is in flight; **then** it calls `advance()` once more; **then** it waits. In the other order
/// a commit between the two would be seen by nobody. Woken, it lets the gate go at once – until then
/// every commit pays for a NOTIFY – and looks, in one request.
///
/// Invariants: LISTEN is committed before the first look at the log. The head only moves by events
/// that were handed over in order, or by a jump that is announced.
///
/// Benign races: a wake-up that arrives while a request is under way is remembered; one that arrives
/// after the gate was let go only makes the next `advance()` come at once; another node's tick may
/// arrive before or after its events were read.
public struct ListenerStateMachine: Sendable {
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
        /// How long followers rescue before they end the pump's session.
        public var deposeAfter = Duration.seconds(20)
        /// How often the connection proves that it hears notifications.
        public var probeInterval = Duration.seconds(10)
        /// How long the proof may take.
        public var probeTimeout = Duration.seconds(5)
        /// The delays between attempts to connect.
        public var retry = Backoff(first: .milliseconds(250), maximum: .seconds(5))
        /// How many positions a node that was away reads through; from more it jumps to the head, and
        /// each of its streams catches up by itself.
        public var longestReadThrough: Int64 = 100_000

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
        /// End the session that holds the pump's lock.
        case deposePump
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

    /// How the pump looks for events.
    private enum Phase: Sendable, Equatable {
        case awake
        /// The gate is held; one more `advance()` decides.
        case parking
        case parked
    }

    private struct Attachment: Sendable {
        /// The last position that was handed over.
        var head: Int64
        /// The last position that is known to be in the log.
        var known: Int64
        /// `nil`: a follower.
        var phase: Phase?
        var advanceDue = MonotonicTime.zero
        var parkDue = MonotonicTime.zero
        var statusDue: MonotonicTime
        var probeDue: MonotonicTime
        /// When the probe that is out must have come back; `nil`: none is out.
        var probeDeadline: MonotonicTime?
        var wakeIsPending = false
        /// Events wait and the head stands still: sequence them, whoever the pump is.
        var mustRescue = false
        var rescuingSince: MonotonicTime?
        var lastStatusHead: Int64
    }

    private enum State: Sendable {
        case waiting
        case connecting
        case preparing
        case attaching
        case attached(Attachment)
        case stopped
    }

    private let timing: Timing
    private var state = State.waiting
    private var requestIsUnderWay = false
    private var failures = 0
    /// The last position that was handed over on any connection; `nil` before the first.
    private var head: Int64?
    private var history: EpochHistory?

    /// Whether the connection is attached and has heard its own probe.
    public private(set) var isVerified = false

    /// Creates a machine that has no connection yet.
    public init(timing: Timing) {
        self.timing = timing
    }

    /// Whether the node sequences for all.
    public var isPump: Bool {
        guard case .attached(let attachment) = state else { return false }
        return attachment.phase != nil
    }

    /// Whether writers must notify because the pump waits on its socket.
    public var isParked: Bool {
        guard case .attached(let attachment) = state else { return false }
        return attachment.phase == .parked
    }

    /// Whether the connection is attached to the log.
    public var isAttached: Bool {
        if case .attached = state { true } else { false }
    }

    // MARK: Connecting

    /// The node has started, or the time to connect again has come.
    public mutating func retryTimeReached() -> Action {
        guard case .waiting = state else { return .none }
        state = .connecting
        return send(.connect)
    }

    /// The connection stands.
    public mutating func connected() -> Action {
        requestIsUnderWay = false
        state = .preparing
        return send(.prepare)
    }

    /// The migrations are there and LISTEN is committed.
    public mutating func prepared() -> Action {
        requestIsUnderWay = false
        state = .attaching
        return send(.attach)
    }

    /// `attach()` returned; `head` is the position behind which the node goes on: where it was, or that
    /// of the log, if the two have no common past or too much lies between.
    public mutating func attached(
        _ bounds: LogBounds, now: MonotonicTime
    ) -> (head: Int64, next: Action) {
        requestIsUnderWay = false
        failures = 0
        let position = head ?? bounds.head
        let isContinued = history.map { bounds.history.fork(from: $0) == nil } ?? false
        let jumped =
            !isContinued || position > bounds.head || position < bounds.floor - 1
            || bounds.head - position > timing.longestReadThrough
        history = bounds.history
        let attachment = Attachment(
            head: jumped ? bounds.head : position, known: bounds.head, statusDue: now,
            probeDue: now, lastStatusHead: bounds.head)
        head = attachment.head
        state = .attached(attachment)
        return (attachment.head, next(now))
    }

    /// A request failed or the connection broke.
    public mutating func failed(now: MonotonicTime, random: Double) -> Action {
        switch state {
        case .stopped: return .none
        // The rest of a connection that was given up already.
        case .waiting where !requestIsUnderWay: return .none
        case .waiting, .connecting, .preparing, .attaching, .attached: break
        }
        requestIsUnderWay = false
        isVerified = false
        failures += 1
        state = .waiting
        return .reconnect(at: now + timing.retry.delay(failures: failures, random: random))
    }

    /// The node stops.
    public mutating func stopped() {
        state = .stopped
        isVerified = false
    }

    // MARK: Attached

    /// `status()` returned.
    public mutating func statusReturned(_ status: Status, now: MonotonicTime) -> Action {
        requestIsUnderWay = false
        return update(now) { [timing] attachment in
            attachment.statusDue = now + timing.statusInterval
            attachment.known = max(attachment.known, status.head)
            if status.holdsPump, attachment.phase == nil {
                attachment.phase = .awake
                attachment.advanceDue = now
                attachment.parkDue = now + timing.parkAfter
                attachment.rescuingSince = nil
            }
            let headStands = status.head == attachment.lastStatusHead
            attachment.lastStatusHead = status.head
            guard let waiting = status.waiting else {
                attachment.rescuingSince = nil
                return
            }
            switch attachment.phase {
            case .parked, .parking:
                // A wake-up got lost, or is on its way.
                attachment.wakeIsPending = true
            case .awake:
                break
            case nil where headStands && waiting >= timing.rescueAfter:
                attachment.mustRescue = true
                attachment.rescuingSince = attachment.rescuingSince ?? now
            case nil:
                break
            }
        }
    }

    /// `advance()` returned; the result says whether its events go on from the head and are to be
    /// handed over. Otherwise they are read from the log, in their place.
    public mutating func advanceReturned(
        _ advance: Advance, now: MonotonicTime
    ) -> (deliver: Bool, next: Action) {
        requestIsUnderWay = false
        var deliver = false
        let action = update(now) { [timing] attachment in
            attachment.mustRescue = false
            attachment.advanceDue = now + timing.batchDelay
            switch advance {
            case .events(let first, let last, let isFull):
                deliver = first == attachment.head + 1
                attachment.known = max(attachment.known, last)
                if deliver { attachment.head = last }
                if isFull { attachment.advanceDue = now }
                // Who rescues does so until nothing is left.
                attachment.mustRescue = isFull && attachment.phase == nil
                attachment.parkDue = now + timing.parkAfter
                if attachment.phase == .parking || attachment.phase == .parked {
                    attachment.wakeIsPending = true
                }
            case .busy:
                attachment.parkDue = now + timing.parkAfter
                if attachment.phase == .parking { attachment.wakeIsPending = true }
            case .nothing:
                if attachment.phase == .parking { attachment.phase = .parked }
            }
        }
        return (deliver, action)
    }

    /// The gate was taken, or could not be.
    public mutating func gateClaimReturned(_ taken: Bool, now: MonotonicTime) -> Action {
        requestIsUnderWay = false
        return update(now) { [timing] attachment in
            if taken {
                attachment.phase = .parking
            } else {
                // A transaction that skipped its NOTIFY is in flight.
                attachment.parkDue = now + timing.parkAfter
            }
        }
    }

    /// A page of the log was read and handed over, up to `last`; the result says whether the page
    /// could not follow the head, so that the node jumped.
    public mutating func pageReturned(
        last: Int64, bounds: (head: Int64, floor: Int64), now: MonotonicTime
    ) -> (jumped: Bool, next: Action) {
        requestIsUnderWay = false
        var jumped = false
        let action = update(now) { attachment in
            attachment.known = max(attachment.known, bounds.head)
            jumped = bounds.floor > attachment.head + 1
            attachment.head = jumped ? bounds.head : max(attachment.head, last)
        }
        return (jumped, action)
    }

    /// The probe was sent; `isSound` if the session still listens and its server takes writes.
    public mutating func probeReturned(isSound: Bool, now: MonotonicTime, random: Double) -> Action
    {
        requestIsUnderWay = false
        guard isSound else { return failed(now: now, random: random) }
        return update(now) { _ in }
    }

    /// The pump's session was told to end.
    public mutating func deposeReturned(now: MonotonicTime) -> Action {
        requestIsUnderWay = false
        return update(now) { $0.rescuingSince = now }
    }

    /// A notification arrived, at any time.
    public mutating func notified(_ notification: Notification, now: MonotonicTime) -> Action {
        if notification == .probe, isAttached { isVerified = true }
        return update(now) { attachment in
            switch notification {
            case .wake:
                // Awake, or not the pump: one for another node, or sent before the gate was let go.
                if attachment.phase == .parked || attachment.phase == .parking {
                    attachment.wakeIsPending = true
                }
            case .tick(let head):
                attachment.known = max(attachment.known, head)
            case .probe:
                attachment.probeDeadline = nil
            }
        }
    }

    /// The time that an action waited for has come.
    public mutating func waitEnded(now: MonotonicTime, random: Double) -> Action {
        guard case .attached(let attachment) = state else { return .none }
        // Not heard in time: the connection is deaf, however alive it looks.
        if let deadline = attachment.probeDeadline, now >= deadline {
            return failed(now: now, random: random)
        }
        return next(now)
    }

    private mutating func update(
        _ now: MonotonicTime, _ change: (inout Attachment) -> Void
    ) -> Action {
        guard case .attached(var attachment) = state else {
            // An answer that was on its way when the connection was given up.
            return .none
        }
        change(&attachment)
        head = attachment.head
        state = .attached(attachment)
        return next(now)
    }

    private mutating func send(_ request: Request) -> Action {
        requestIsUnderWay = true
        return .request(request)
    }

    /// What an attached connection does next, the most urgent first.
    private mutating func next(_ now: MonotonicTime) -> Action {
        guard case .attached(var attachment) = state, !requestIsUnderWay else { return .none }
        defer { state = .attached(attachment) }

        if attachment.wakeIsPending, attachment.phase == .parked || attachment.phase == .parking {
            attachment.wakeIsPending = false
            attachment.phase = .awake
            attachment.parkDue = now + timing.parkAfter
            return send(.advance(releasesGate: true))
        }
        if attachment.probeDeadline == nil, now >= attachment.probeDue {
            attachment.probeDue = now + timing.probeInterval
            attachment.probeDeadline = now + timing.probeTimeout
            return send(.probe)
        }
        if attachment.known > attachment.head {
            return send(.read(after: attachment.head))
        }
        if attachment.phase == .parking || attachment.mustRescue {
            return send(.advance(releasesGate: false))
        }
        if let since = attachment.rescuingSince, now - since >= timing.deposeAfter {
            return send(.deposePump)
        }
        if now >= attachment.statusDue {
            return send(.status(claimPump: attachment.phase == nil))
        }
        if attachment.phase == .awake {
            if now >= attachment.advanceDue { return send(.advance(releasesGate: false)) }
            if now >= attachment.parkDue { return send(.claimGate) }
        }
        return .wait(until: deadline(attachment))
    }

    private func deadline(_ attachment: Attachment) -> MonotonicTime {
        var deadline = min(
            attachment.statusDue, attachment.probeDeadline ?? attachment.probeDue)
        if attachment.phase == .awake {
            deadline = min(deadline, attachment.advanceDue, attachment.parkDue)
        }
        return deadline
    }
}
