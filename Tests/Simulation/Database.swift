import EventCore

/// An event as a trigger wrote it.
struct Captured {
    let eventID: Int64
    let xid: Int64
    /// Names the write in the whole run.
    let serial: Int
    let key: String
    /// The number of the write of its key.
    let version: Int
    let audience: [AudienceLabel]

    /// The same as if another transaction had written it.
    func with(_ xid: Int64) -> Captured {
        Captured(
            eventID: eventID, xid: xid, serial: serial, key: key, version: version,
            audience: audience)
    }
}

/// Which transactions a statement sees: PostgreSQL's `pg_snapshot`.
struct Snapshot {
    let xmax: Int64
    let inProgress: Set<Int64>

    func sees(_ xid: Int64) -> Bool { xid < xmax && !inProgress.contains(xid) }
}

/// What lies on the disk: everything that a copy of the database has.
struct DatabaseState {
    var cluster = 1
    var timeline = 1
    var nextXid: Int64 = 100
    var nextEventID: Int64 = 1
    /// Rows of committed transactions only: nobody reads others.
    var inbox: [Captured] = []
    /// The event at position `logStart + index`.
    var log: [Captured] = []
    var logStart: Int64 = 1
    var tickSnapshot = Snapshot(xmax: 100, inProgress: [])
    /// How many batches in a row left some waiting.
    var fullBatches = 0
    var head: Int64 = 0
    var floor: Int64 = 1
    var epochs: [EpochHistory.Entry] = []
    var identity: [Int]?
    /// In another cluster, or under another oid, than when the newest epoch was opened.
    var isElsewhere = false
    /// Every write that has committed here.
    var committed: Set<Int> = []
    var versions: [String: Int] = [:]

    var history: EpochHistory? { EpochHistory(epochs) }

    /// What `newest_epoch()` returns.
    var newestEpoch: Int64? { epochs.last?.epoch }

    var bounds: LogBounds? { history.map { LogBounds(history: $0, head: head, floor: floor) } }

    func event(at position: Int64) -> Captured? {
        let index = position - logStart
        return index >= 0 && index < Int64(log.count) ? log[Int(index)] : nil
    }

    /// A page of the log, as `replay()` returns it.
    func replay(after position: Int64, labels: Set<AudienceLabel>?, limit: Int64) -> (
        rows: [(position: Int64, row: Captured)], scanned: Int64
    ) {
        let low = max(position, floor - 1)
        var rows: [(position: Int64, row: Captured)] = []
        var scanned = low
        while scanned < head, Int64(rows.count) < limit, scanned - low < limit * 4 {
            scanned += 1
            guard let row = event(at: scanned) else { continue }
            if let labels, labels.isDisjoint(with: row.audience) { continue }
            rows.append((scanned, row))
        }
        return (rows, scanned)
    }
}

/// A transaction of an application that is under way.
final class Transaction {
    let xid: Int64
    var rows: [Captured] = []
    var keys: Set<String> = []
    /// It found the gate free, and holds it shared.
    var holdsGate = false
    /// It found the gate taken, and will notify.
    var notifies = false

    init(xid: Int64) {
        self.xid = xid
    }
}

/// A connection to the database.
final class Session {
    let number: Int
    private(set) var isAlive = true
    var isListening = false
    /// When its node last asked it for something.
    var askedAt = MonotonicTime.zero
    /// The epoch that it attached to.
    var epoch: Int64?
    var onNotification: (ListenerStateMachine.Notification) -> Void = { _ in }
    var onLoss: () -> Void = {}

    init(number: Int) {
        self.number = number
    }

    func end() {
        guard isAlive else { return }
        isAlive = false
        onLoss()
    }
}

/// PostgreSQL with our migrations, as far as order and loss depend on it.
///
/// The functions stand for those of `Migrations/0001_event_log.sql` and follow them step by step; that
/// the SQL does the same is proven against the real one.
final class Database {
    private let world: World
    let truth: Truth
    private(set) var state = DatabaseState()
    /// An older copy of it, that may be promoted or restored.
    private(set) var copy: DatabaseState?
    private(set) var isUp = true
    /// Whether the log's disk takes any more.
    var hasRoom = true
    /// How often a server was started, or the log put elsewhere: none of these is ever the same again.
    private var changes = 1
    private(set) var transactions: [Int64: Transaction] = [:]
    private var sessions: [Session] = []
    private var gateHolder: Session?
    private var pumpHolder: Session?
    private var sequencing: Session?
    /// Committed with `synchronous_commit=off`, and not flushed by anybody's commit since.
    private var unflushed: Set<Int64> = []
    private var lastSession = 0

    init(_ world: World, truth: Truth) {
        self.world = world
        self.truth = truth
        // As the migration does.
        open(world.unixSeconds)
    }

    // MARK: Sessions

    func connect() -> Session? {
        guard isUp else { return nil }
        lastSession += 1
        let session = Session(number: lastSession)
        session.askedAt = world.now
        sessions.append(session)
        return session
    }

    /// The connection is gone, and with it what it held and what it had not committed.
    func end(_ session: Session) {
        if gateHolder === session { gateHolder = nil }
        if pumpHolder === session { pumpHolder = nil }
        if sequencing === session { sequencing = nil }
        sessions.removeAll { $0 === session }
        session.end()
    }

    var pumpSession: Session? { pumpHolder }

    /// Ends the session of the pump if it has been silent for so long.
    func endSilentPump(_ silence: Duration, otherThan session: Session) {
        guard let pump = pumpHolder, pump !== session, world.now - pump.askedAt >= silence else {
            return
        }
        world.count("silent pump deposed")
        end(pump)
    }

    func randomSession() -> Session? { world.pick(sessions) }

    private func notify(_ notification: ListenerStateMachine.Notification, to receivers: [Session])
    {
        for session in receivers where session.isListening {
            if world.chance(0.05) {
                world.count("notification dropped")
                continue
            }
            let times = world.chance(0.05) ? 2 : 1
            if times == 2 { world.count("notification doubled") }
            for _ in 0..<times {
                // Late ones are overtaken by others.
                let delay = world.chance(0.05) ? 1000...60_000 : 20...200
                world.after(delay) { if session.isAlive { session.onNotification(notification) } }
            }
        }
    }

    func probe(_ session: Session) {
        let delay = world.chance(0.03) ? 100_000...7_000_000 : 20...200
        world.after(delay) { if session.isAlive { session.onNotification(.probe) } }
    }

    // MARK: Writing

    func begin() -> Transaction? {
        guard isUp else { return nil }
        let transaction = Transaction(xid: state.nextXid)
        state.nextXid += 1
        transactions[transaction.xid] = transaction
        return transaction
    }

    /// Whether a row may be written: nobody else's transaction has it locked.
    func isFree(_ key: String, for transaction: Transaction) -> Bool {
        !transactions.values.contains { $0 !== transaction && $0.keys.contains(key) }
    }

    /// An UPDATE of a watched row, and what its trigger does.
    func write(_ key: String, audience: [AudienceLabel], in transaction: Transaction) {
        transaction.keys.insert(key)
        let version =
            transaction.rows.last { $0.key == key }.map { $0.version + 1 }
            ?? (state.versions[key] ?? 0) + 1
        transaction.rows.append(
            Captured(
                eventID: state.nextEventID, xid: transaction.xid, serial: truth.newSerial(),
                key: key,
                version: version, audience: audience))
        state.nextEventID += 1
        if gateHolder == nil { transaction.holdsGate = true } else { transaction.notifies = true }
    }

    func rollBack(_ transaction: Transaction) {
        transactions[transaction.xid] = nil
    }

    func commit(_ transaction: Transaction, isAsynchronous: Bool) {
        guard transactions.removeValue(forKey: transaction.xid) != nil else { return }
        state.inbox += transaction.rows
        for row in transaction.rows {
            state.committed.insert(row.serial)
            state.versions[row.key] = row.version
        }
        if isAsynchronous { unflushed.insert(transaction.xid) } else { unflushed = [] }
        if transaction.notifies { notify(.wake, to: sessions) }
    }

    // MARK: What a node asks

    func claimPump(_ session: Session) -> Bool {
        if pumpHolder == nil { pumpHolder = session }
        return pumpHolder === session
    }

    func claimGate(_ session: Session) -> Bool {
        guard gateHolder == nil || gateHolder === session,
            !transactions.values.contains(where: \.holdsGate)
        else { return false }
        gateHolder = session
        return true
    }

    func releaseGate(_ session: Session) {
        if gateHolder === session { gateHolder = nil }
    }

    private var present: Snapshot {
        Snapshot(xmax: state.nextXid, inProgress: Set(transactions.keys))
    }

    /// What one call of `advance()` will have done once it commits.
    struct Advance {
        fileprivate let rows: [Captured]
        fileprivate let snapshot: Snapshot
        fileprivate let previousHead: Int64
        fileprivate let isFull: Bool
        /// A larger batch of a backlog, of which only the last event is returned.
        let isEnlarged: Bool
    }

    /// The first half of `advance()`: the lock, and what is to be moved; `nil` if another is at it.
    func beginAdvance(_ session: Session, limit: Int) -> Advance? {
        guard sequencing == nil else { return nil }
        sequencing = session
        // The statement has a transaction id of its own, once it writes.
        state.nextXid += 1
        let present = present
        let previous = state.tickSnapshot
        let late = previous.inProgress.filter { present.sees($0) }
        let waiting = state.inbox
            .filter { row in
                row.xid >= previous.xmax && row.xid < present.xmax && present.sees(row.xid)
                    || late.contains(row.xid)
            }
            .sorted { $0.eventID < $1.eventID }
        let stride = 1 << min(max(state.fullBatches - 3, 0), 6)
        let isFull = waiting.count > limit * stride
        return Advance(
            rows: Array(waiting.prefix(limit * stride)),
            // With more waiting the old snapshot stays.
            snapshot: isFull ? previous : present, previousHead: state.head, isFull: isFull,
            isEnlarged: stride > 1)
    }

    /// `advance()` fails: the disk is full.
    func failAdvance(_ advance: Advance, _ session: Session) -> Bool {
        guard !hasRoom, !advance.rows.isEmpty else { return false }
        if sequencing === session { sequencing = nil }
        return true
    }

    /// The commit of `advance()`, durable; returns the first and the last position, if it moved any.
    func commitAdvance(_ advance: Advance, _ session: Session) -> ClosedRange<Int64>? {
        guard sequencing === session, session.isAlive else { return nil }
        sequencing = nil
        unflushed = []
        state.tickSnapshot = advance.snapshot
        guard !advance.rows.isEmpty else { return nil }
        state.fullBatches = advance.isFull ? state.fullBatches + 1 : 0
        let moved = Set(advance.rows.map(\.eventID))
        state.inbox.removeAll { moved.contains($0.eventID) }
        for row in advance.rows {
            state.head += 1
            state.log.append(row)
            truth.sequenced(row, at: state.history?.cursor(at: state.head), world)
        }
        notify(.tick(head: state.head), to: sessions)
        return advance.previousHead + 1...state.head
    }

    func oldestWaiting() -> Bool { !state.inbox.isEmpty }

    /// What tells the history from others: `history_identity()`.
    private var identity: [Int] { [state.cluster, state.timeline, changes] }

    /// Whether the newest epoch was opened for the history as it is.
    private var isAttached: Bool { state.identity == identity }

    /// What `advance()` looks at first: whether the session has attached to the history as it is.
    func isAttached(_ session: Session) -> Bool {
        isAttached && session.epoch == state.newestEpoch
    }

    /// `attach()`: waits for the sequencer's lock, and opens a new epoch where the history is another one.
    func attach(_ session: Session, then: @escaping (LogBounds?) -> Void) {
        guard session.isAlive else { return }
        guard sequencing == nil else {
            return world.after(100...1000) { [self] in attach(session, then: then) }
        }
        guard !isAttached else {
            session.epoch = state.newestEpoch
            return then(state.bounds)
        }
        sequencing = session
        let opened = max(world.unixSeconds, (state.newestEpoch ?? 0) + 1)
        // Where transaction ids may begin anew what waits is stamped, and the next batch begins with the
        // oldest that is in progress.
        let isElsewhere = state.isElsewhere
        let stamped = Set(state.inbox.map(\.eventID))
        let oldest = min(transactions.keys.min() ?? state.nextXid, state.nextXid)
        let xid = state.nextXid
        state.nextXid += 1
        // No id is given in the second after which the epoch is named.
        world.at(world.time(unixSeconds: opened + 1)) { [self] in
            guard sequencing === session, session.isAlive else { return }
            sequencing = nil
            if isElsewhere {
                state.inbox = state.inbox.map { stamped.contains($0.eventID) ? $0.with(xid) : $0 }
                state.tickSnapshot = Snapshot(xmax: oldest, inProgress: [])
            }
            open(opened)
            session.epoch = opened
            then(state.bounds)
        }
    }

    private func open(_ epoch: Int64) {
        state.epochs.append(EpochHistory.Entry(epoch: epoch, firstPosition: state.head + 1))
        state.identity = identity
        state.isElsewhere = false
        truth.opened(epoch, state.history, world)
    }

    // MARK: Faults

    /// Fast or immediate stop: whoever is connected is not any more, what was not committed is gone, and
    /// of what was committed asynchronously perhaps the end.
    func crash(loses: Bool) {
        isUp = false
        transactions = [:]
        if loses, !unflushed.isEmpty {
            world.count("asynchronous commits lost")
            state = Self.without(unflushed, state)
        }
        unflushed = []
        for session in sessions { end(session) }
    }

    func start() {
        isUp = true
        changes += 1
    }

    /// A base backup, or how far a standby has come.
    func takeCopy() {
        copy = Self.without(unflushed, state)
    }

    /// The state without what some transactions have written.
    private static func without(_ lost: Set<Int64>, _ state: DatabaseState) -> DatabaseState {
        var state = state
        for row in state.inbox where lost.contains(row.xid) {
            state.committed.remove(row.serial)
            state.versions[row.key] = min(state.versions[row.key] ?? 0, row.version - 1)
        }
        state.inbox.removeAll { lost.contains($0.xid) }
        return state
    }

    /// The standby is promoted, or the backup restored into another cluster, in place of what was there.
    func fork(intoAnotherCluster: Bool) {
        guard let copy else { return }
        crash(loses: false)
        let (timeline, cluster) = (state.timeline, state.cluster)
        state = copy
        if intoAnotherCluster {
            state.isElsewhere = true
            state.cluster = cluster + 1
            state.timeline = 1
            state.nextXid = 10
        } else {
            state.timeline = max(timeline, copy.timeline) + 1
        }
        truth.forked()
        start()
    }

    /// The backup is restored in place, under the sessions that there are, in one transaction, before which
    /// everybody else's ended.
    func replaceLog() -> Bool {
        guard let copy, isUp, sequencing == nil else { return false }
        transactions = [:]
        let (xid, timeline, cluster) = (state.nextXid, state.timeline, state.cluster)
        state = copy
        (state.nextXid, state.timeline, state.cluster) = (xid + 1, timeline, cluster)
        state.isElsewhere = true
        changes += 1
        truth.forked()
        return true
    }

    /// Retention: the floor first, the rows a while later.
    func raiseFloor() {
        let wanted = max(state.floor, state.head - Int64(world.number(0...40)) + 1)
        state.floor = min(wanted, state.head + 1)
        truth.raised(floor: state.floor)
    }

    func sweep(below floor: Int64) {
        while state.logStart < min(floor, state.floor), !state.log.isEmpty {
            state.log.removeFirst()
            state.logStart += 1
        }
    }
}
