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
/// calls `advance()` itself, and then ends the session that should have done it, if that one has kept
/// its server waiting for `deposeAfter`: its node is frozen, or cut off without a word. Only the server
/// knows how long, so it decides; one that is merely slow, or was away for a moment, keeps its place.
///
/// When `advance()` fails though the connection stands – the disk is full – another connection would
/// meet the same: the machine keeps this one, streams keep what they have, and it tries again.
///
/// Where nodes pass batches on to each other, a follower that hears of a new head waits for the batch
/// for `batchPatience` before it reads the log. A batch that does not go on from its head is a gap, and
/// a gap is read at once: batches save queries, nothing hangs on them.
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
        /// What was known when a page was last asked for.
        var sought: Int64?
        /// What had been handed over when the log was last asked for its head.
        var headWhenAsked: Int64 = 0
        /// From when on what is known and not there is read, though a batch may bring it.
        var seekDue: MonotonicTime?
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
        /// This follower had to sequence: has the one who should gone silent?
        var mustDepose = false
        /// Since when events wait while the head stands still.
        var standsSince: MonotonicTime?
        var lastStatusHead: Int64
        /// Calls of `advance()` in a row that failed.
        var advanceFailures = 0
        let attachedAt: MonotonicTime
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
    public private(set) var head: Int64?
    private var history: EpochHistory?
    /// Whether another node's batches come, beside the log.
    private var expectsBatches = false

    /// Whether the connection is attached and has heard its own probe lately.
    public private(set) var isVerified = false

    /// When the proof that the connection hears has become too old, unless another one comes.
    public private(set) var verifiedUntil: MonotonicTime?

    /// Whether events have waited too long while the head stood still: nobody can sequence them.
    public private(set) var isStalled = false

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
        let position = head ?? bounds.head
        // A fork behind all that was handed over changes nothing of it: the server was started anew.
        let isContinued =
            history.map { bounds.history.fork(from: $0).map { $0 > position } ?? true } ?? false
        let jumped =
            !isContinued || position > bounds.head || position < bounds.floor - 1
            || bounds.head - position > timing.longestReadThrough
        history = bounds.history
        let attachment = Attachment(
            head: jumped ? bounds.head : position, known: bounds.head, seekDue: now,
            statusDue: now, probeDue: now, lastStatusHead: bounds.head, attachedAt: now)
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
        // Not at once after attaching: what fails soon after that fails again.
        case .attached(let attachment) where now - attachment.attachedAt >= timing.retry.maximum:
            failures = 0
        case .waiting, .connecting, .preparing, .attaching, .attached: break
        }
        requestIsUnderWay = false
        lostProof()
        isStalled = false
        failures += 1
        state = .waiting
        return .reconnect(at: now + timing.retry.delay(failures: failures, random: random))
    }

    /// The node stops.
    public mutating func stopped() {
        state = .stopped
        lostProof()
    }

    private mutating func lostProof() {
        isVerified = false
        verifiedUntil = nil
    }

    // MARK: Attached

    /// `status()` returned.
    public mutating func statusReturned(_ status: Status, now: MonotonicTime) -> Action {
        guard !hasFallen(to: status.head) else { return failed(now: now, random: 0) }
        requestIsUnderWay = false
        let action = update(now) { [timing] attachment in
            attachment.statusDue = now + timing.statusInterval
            attachment.known = max(attachment.known, status.head)
            if status.holdsPump, attachment.phase == nil {
                attachment.phase = .awake
                attachment.advanceDue = now
                attachment.parkDue = now + timing.parkAfter
                attachment.mustDepose = false
            }
            let headStands = status.head == attachment.lastStatusHead
            attachment.lastStatusHead = status.head
            attachment.standsSince =
                headStands && status.waiting != nil ? attachment.standsSince ?? now : nil
            guard let waiting = status.waiting else { return }
            switch attachment.phase {
            case .parked, .parking:
                // A wake-up got lost, or is on its way.
                attachment.wakeIsPending = true
            case .awake:
                break
            case nil:
                attachment.mustRescue = headStands && waiting >= timing.rescueAfter
            }
        }
        isStalled = isStalled(now: now)
        return action
    }

    private func isStalled(now: MonotonicTime) -> Bool {
        guard case .attached(let attachment) = state, let since = attachment.standsSince else {
            return false
        }
        return now - since >= timing.stalledAfter
    }

    /// `advance()` returned; the result says whether its events go on from the head and are to be
    /// handed over. Otherwise they are read from the log, in their place.
    public mutating func advanceReturned(
        _ advance: Advance, now: MonotonicTime
    ) -> (deliver: Bool, next: Action) {
        requestIsUnderWay = false
        var deliver = false
        let action = update(now) { [timing] attachment in
            attachment.mustDepose = attachment.mustDepose || attachment.mustRescue
            attachment.mustRescue = false
            attachment.advanceFailures = 0
            attachment.advanceDue = now + timing.batchDelay
            switch advance {
            case .events(let first, let last, let isFull):
                deliver = first == attachment.head + 1
                attachment.known = max(attachment.known, last)
                if deliver { attachment.head = last }
                // Of a backlog's larger batches only the last event comes: more may wait behind it.
                let mayBeMore = isFull || !deliver
                if mayBeMore { attachment.advanceDue = now }
                // Who rescues does so until nothing is left.
                attachment.mustRescue = mayBeMore && attachment.phase == nil
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

    /// `advance()` failed in a way that leaves the connection sound.
    public mutating func advanceFailed(now: MonotonicTime, random: Double) -> Action {
        requestIsUnderWay = false
        return update(now) { [timing] attachment in
            attachment.mustRescue = false
            attachment.advanceFailures += 1
            attachment.advanceDue =
                now
                + timing.advanceRetry.delay(failures: attachment.advanceFailures, random: random)
            attachment.parkDue = attachment.advanceDue + timing.parkAfter
            // What waits has to be looked for again: not the time to hold the gate.
            if attachment.phase == .parking { attachment.wakeIsPending = true }
        }
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
        guard !hasFallen(to: bounds.head) else { return (false, failed(now: now, random: 0)) }
        requestIsUnderWay = false
        var jumped = false
        let action = update(now) { attachment in
            // A tick that promised more than there is was nobody's: anyone may notify.
            let wasNobodys = attachment.known == attachment.sought && bounds.head < attachment.known
            attachment.known = max(wasNobodys ? attachment.head : attachment.known, bounds.head)
            jumped = bounds.floor > attachment.head + 1
            attachment.head = jumped ? bounds.head : max(attachment.head, last)
            // A page that was not the last is no reason to wait for anybody.
            attachment.seekDue = now
        }
        return (jumped, action)
    }

    /// Batches of other nodes can be expected from now on, or no more.
    public mutating func batchesExpected(_ expected: Bool, now: MonotonicTime) -> Action {
        expectsBatches = expected
        return update(now) { _ in }
    }

    /// A node has passed on all that lies between two positions; what the result says is to be handed over
    /// is what lies behind this one, `nil`: nothing of it.
    public mutating func batchArrived(
        first: Int64, last: Int64, now: MonotonicTime
    ) -> (deliverAfter: Int64?, next: Action) {
        var position: Int64?
        let action = update(now) { attachment in
            guard last > attachment.head else { return }
            attachment.known = max(attachment.known, last)
            guard first <= attachment.head + 1 else {
                attachment.seekDue = now
                return
            }
            position = attachment.head
            attachment.head = last
            attachment.seekDue = nil
        }
        return (position, action)
    }

    /// Whether the log held less than had been handed over when it was asked: under this very connection
    /// it was replaced by an older copy. Batches may have come since.
    private func hasFallen(to head: Int64) -> Bool {
        guard case .attached(let attachment) = state else { return false }
        return head < attachment.headWhenAsked
    }

    /// A connection of the node's found another history of the log than this one attached to.
    public mutating func historyDiffered(now: MonotonicTime, random: Double) -> Action {
        guard case .attached = state else { return .none }
        return failed(now: now, random: random)
    }

    /// The probe was sent; `isSound` if the session still listens and its server takes writes.
    public mutating func probeReturned(isSound: Bool, now: MonotonicTime, random: Double) -> Action
    {
        requestIsUnderWay = false
        guard isSound else { return failed(now: now, random: random) }
        return update(now) { _ in }
    }

    /// A silent session was told to end, or none was silent.
    public mutating func deposeReturned(now: MonotonicTime) -> Action {
        requestIsUnderWay = false
        return update(now) { _ in }
    }

    /// A notification arrived, at any time.
    public mutating func notified(_ notification: Notification, now: MonotonicTime) -> Action {
        if notification == .probe, isAttached {
            isVerified = true
            verifiedUntil = now + timing.verifiedFor
        }
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

    /// The time `verifiedUntil` may have come: whatever is under way, the node has heard nothing.
    public mutating func verificationExpired(now: MonotonicTime) {
        guard let until = verifiedUntil, now >= until else { return }
        lostProof()
    }

    private mutating func update(
        _ now: MonotonicTime, _ change: (inout Attachment) -> Void
    ) -> Action {
        guard case .attached(var attachment) = state else {
            // An answer that was on its way when the connection was given up.
            return .none
        }
        change(&attachment)
        if attachment.known <= attachment.head {
            attachment.seekDue = nil
        } else if attachment.seekDue == nil {
            attachment.seekDue = now + timing.batchPatience
        }
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
        if attachment.known > attachment.head, !waitsForBatch(attachment, now) {
            attachment.sought = attachment.known
            attachment.headWhenAsked = attachment.head
            return send(.read(after: attachment.head))
        }
        if attachment.phase == .parking || attachment.mustRescue {
            return send(.advance(releasesGate: false))
        }
        if attachment.mustDepose {
            attachment.mustDepose = false
            return send(.deposePump(silentFor: timing.deposeAfter))
        }
        if now >= attachment.statusDue {
            attachment.headWhenAsked = attachment.head
            return send(.status(claimPump: attachment.phase == nil))
        }
        if attachment.phase == .awake {
            if now >= attachment.advanceDue { return send(.advance(releasesGate: false)) }
            if now >= attachment.parkDue { return send(.claimGate) }
        }
        return .wait(until: deadline(attachment))
    }

    /// Whether what is known and not there may still be passed on by the node that sequences.
    private func waitsForBatch(_ attachment: Attachment, _ now: MonotonicTime) -> Bool {
        guard expectsBatches, attachment.phase == nil, let due = attachment.seekDue else {
            return false
        }
        return now < due
    }

    private func deadline(_ attachment: Attachment) -> MonotonicTime {
        var deadline = min(
            attachment.statusDue, attachment.probeDeadline ?? attachment.probeDue)
        if let due = attachment.seekDue { deadline = min(deadline, due) }
        if attachment.phase == .awake {
            deadline = min(deadline, attachment.advanceDue, attachment.parkDue)
        }
        return deadline
    }
}
