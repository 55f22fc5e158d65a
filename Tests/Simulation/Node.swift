import EventCore

/// One node of the service: listener, sequencer, dispatch, hub and streams as they are, with what moves
/// bytes and asks the database played by the world.
final class Node {
    let number: Int
    let world: World
    private let database: Database
    /// Over which the nodes pass batches on; `nil`: each reads the log.
    private let batches: BatchStream?
    private(set) var isRunning = false
    /// Stopped by SIGSTOP: what is to happen happens later.
    private var pausedUntil = MonotonicTime.zero
    private var machine: ListenerStateMachine
    private var dispatcher: Dispatcher<SimulatedTarget>
    private(set) var loops: [SimulatedLoop] = []
    private var session: Session?
    /// The history that the node is attached to.
    private var history: EpochHistory?
    private var generation = 0
    private let batchLimit: Int

    private static let timing: ListenerStateMachine.Timing = {
        var timing = ListenerStateMachine.Timing(batchDelay: .milliseconds(5))
        timing.longestReadThrough = 60
        timing.deposeAfter = .milliseconds(1500)
        return timing
    }()

    init(number: Int, world: World, database: Database, batches: BatchStream?) {
        self.number = number
        self.world = world
        self.database = database
        self.batches = batches
        batchLimit = world.number(1...12)
        machine = ListenerStateMachine(timing: Self.timing)
        dispatcher = Dispatcher(
            targets: [], encoder: EventEncoder(maximumBytes: 4096), longestBacklog: 0)
        batches?.onBatch.append { [unowned self] in batchArrived($0, epoch: $1) }
        batches?.onAvailability.append { [unowned self] isUp in
            later(0...3000) { [self] in
                perform(machine.batchesExpected(isUp, now: world.now))
            }
        }
    }

    // MARK: Life

    func start() {
        isRunning = true
        generation += 1
        machine = ListenerStateMachine(timing: Self.timing)
        loops = (0..<2).map { _ in
            SimulatedLoop(world: world, ringBytes: world.number(0...40) * 400)
        }
        dispatcher = Dispatcher(
            targets: loops.map { SimulatedTarget(loop: $0) },
            encoder: EventEncoder(maximumBytes: 4096), longestBacklog: 4000)
        _ = machine.batchesExpected(batches?.isUp ?? false, now: world.now)
        perform(machine.retryTimeReached())
    }

    /// `kill -9`.
    func kill() {
        isRunning = false
        generation += 1
        if let session { database.end(session) }
        session = nil
        for loop in loops { loop.kill() }
        loops = []
    }

    func pause(for duration: Duration) {
        pausedUntil = world.now + duration
        for loop in loops { loop.pausedUntil = pausedUntil }
    }

    /// Does something on this node, unless it has died meanwhile, and not while it is paused.
    private func later(_ delay: ClosedRange<Int>, _ action: @escaping () -> Void) {
        let expected = generation
        world.after(delay) { [self] in
            guard generation == expected else { return }
            if world.now < pausedUntil {
                world.at(pausedUntil) { [self] in if generation == expected { action() } }
            } else {
                action()
            }
        }
    }

    // MARK: Listener

    private func perform(_ action: ListenerStateMachine.Action) {
        switch action {
        case .none: break
        case .wait(let time): wake(at: time)
        case .reconnect(let time):
            if let session { database.end(session) }
            session = nil
            wake(at: time)
        case .request(let request): send(request)
        }
    }

    private var wakeNumber = 0

    private func wake(at time: MonotonicTime) {
        wakeNumber += 1
        let (expected, number) = (generation, wakeNumber)
        world.at(time) { [self] in
            guard generation == expected, wakeNumber == number else { return }
            later(0...0) { [self] in
                guard wakeNumber == number else { return }
                perform(
                    machine.isAttached
                        ? machine.waitEnded(now: world.now, random: world.unit())
                        : machine.retryTimeReached())
            }
        }
    }

    private func failed() {
        perform(machine.failed(now: world.now, random: world.unit()))
    }

    /// Runs a request at the database and comes back with its outcome, some time later each.
    private func ask<Answer>(
        _ body: @escaping (Session) -> Answer?, then: @escaping (Answer) -> Void
    ) {
        guard let session else { return failed() }
        world.after(20...300) { [self] in
            guard session.isAlive else { return }
            session.askedAt = world.now
            guard let answer = body(session) else { return database.end(session) }
            later(20...300) {
                guard session.isAlive else { return }
                then(answer)
            }
        }
    }

    private func connect() {
        later(100...2000) { [self] in
            guard let session = database.connect() else { return failed() }
            self.session = session
            session.onNotification = { [weak self] notification in
                self?.later(0...50) { [weak self] in
                    guard let self, session.isAlive else { return }
                    perform(machine.notified(notification, now: world.now))
                }
            }
            session.onLoss = { [weak self] in
                self?.later(0...3000) { [weak self] in
                    guard let self, self.session === session else { return }
                    self.session = nil
                    failed()
                }
            }
            perform(machine.connected())
        }
    }

    private func send(_ request: ListenerStateMachine.Request) {
        switch request {
        case .connect:
            connect()
        case .prepare:
            ask({ session -> Bool? in
                session.isListening = true; return true
            }) { [self] _ in
                perform(machine.prepared())
            }
        case .attach:
            attach()
        case .status(let claimPump):
            askStatus(claimPump: claimPump)
        case .advance(let releasesGate):
            advance(releasesGate: releasesGate)
        case .claimGate:
            ask({ [database] session -> Bool? in database.claimGate(session) }) { [self] in
                perform(machine.gateClaimReturned($0, now: world.now))
            }
        case .read(let position):
            read(after: position)
        case .probe:
            ask({ [database] session -> Bool? in
                database.probe(session); return true
            }) { [self] in
                perform(machine.probeReturned(isSound: $0, now: world.now, random: world.unit()))
            }
        case .deposePump(let silence):
            ask({ [database] session -> Bool? in
                database.endSilentPump(silence, otherThan: session)
                return true
            }) { [self] _ in perform(machine.deposeReturned(now: world.now)) }
        }
    }

    private func attach() {
        guard let session else { return failed() }
        world.after(20...300) { [self] in
            database.attach(session) { [self] bounds in
                later(20...300) { [self] in
                    guard session.isAlive, let bounds else { return }
                    attached(bounds)
                }
            }
        }
    }

    private func attached(_ bounds: LogBounds) {
        var bounds = bounds
        let (head, next) = machine.attached(bounds, now: world.now)
        bounds.head = head
        history = bounds.history
        dispatcher.attached(bounds)
        perform(next)
    }

    private func askStatus(claimPump: Bool) {
        ask({ [database] session -> (DatabaseState, Bool)? in
            (database.state, claimPump && database.claimPump(session))
        }) { [self] state, holdsPump in
            guard isAttached(to: state) else { return }
            dispatcher.floorIs(state.floor)
            perform(
                machine.statusReturned(
                    ListenerStateMachine.Status(
                        head: state.head, waiting: state.inbox.isEmpty ? nil : .seconds(2),
                        holdsPump: holdsPump), now: world.now))
        }
    }

    /// Whether what was read is of the log that the connection attached to; if not, it is given up.
    private func isAttached(to state: DatabaseState) -> Bool {
        if isOfThisHistory(state) { return true }
        failed()
        return false
    }

    private func isOfThisHistory(_ state: DatabaseState) -> Bool {
        history?.newestEpoch == state.newestEpoch
    }

    private func advance(releasesGate: Bool) {
        guard let session else { return failed() }
        world.after(20...300) { [self] in
            guard session.isAlive else { return }
            session.askedAt = world.now
            if releasesGate { database.releaseGate(session) }
            guard database.isAttached(session) else {
                world.count("sequencing before attaching")
                return later(20...300) { [self] in if session.isAlive { failed() } }
            }
            guard let moved = database.beginAdvance(session, limit: batchLimit) else {
                return later(20...300) { [self] in
                    if session.isAlive { advanced([], .busy) }
                }
            }
            // The statement and its flush take a while; whatever dies meanwhile has not committed.
            world.after(100...3000) { [self] in
                guard session.isAlive else { return }
                guard !database.failAdvance(moved, session) else {
                    world.count("sequencing failed")
                    return later(20...300) { [self] in
                        guard session.isAlive else { return }
                        perform(machine.advanceFailed(now: world.now, random: world.unit()))
                    }
                }
                let range = database.commitAdvance(moved, session).map {
                    moved.isEnlarged ? $0.upperBound...$0.upperBound : $0
                }
                let state = database.state
                let events = range.map { $0.map { Self.event(at: $0, state) } } ?? []
                later(20...300) { [self] in
                    guard session.isAlive else { return }
                    guard let range else { return advanced([], .nothing) }
                    if moved.isEnlarged { world.count("larger batches of a backlog") }
                    advanced(
                        events,
                        .events(
                            first: range.lowerBound, last: range.upperBound,
                            isFull: events.count >= batchLimit))
                }
            }
        }
    }

    private func advanced(_ events: [Event], _ outcome: ListenerStateMachine.Advance) {
        let (deliver, next) = machine.advanceReturned(outcome, now: world.now)
        if deliver, case .events(let first, let last, _) = outcome {
            dispatch(events, first: first, last: last)
            pass(SequencedBatch(events, first: first, last: last))
        }
        perform(next)
    }

    private func pass(_ batch: SequencedBatch) {
        guard let history else { return }
        batches?.send(batch, epoch: history.newestEpoch)
    }

    private func batchArrived(_ bytes: [UInt8], epoch: Int64) {
        later(0...50) { [self] in
            guard history?.newestEpoch == epoch else { return }
            guard let batch = SequencedBatch(bytes) else {
                return world.violation("node \(number): a batch cannot be read")
            }
            let (position, next) = machine.batchArrived(
                first: batch.first, last: batch.last, now: world.now)
            if let rest = position.flatMap({ batch.after($0) }) {
                world.count("batch taken")
                dispatch(rest.events, first: rest.first, last: rest.last)
            }
            perform(next)
        }
    }

    private func dispatch(_ events: [Event], first: Int64, last: Int64) {
        if !dispatcher.dispatch(events, first: first, last: last).isEmpty {
            world.violation("node \(number): an event stands in the log twice")
        }
    }

    private func read(after position: Int64) {
        ask({ [database] _ -> (DatabaseState, Int64, [Event])? in
            let (rows, scanned) = database.state.replay(after: position, labels: nil, limit: 20)
            return (database.state, scanned, rows.map { Self.event($0.row, at: $0.position) })
        }) { [self] state, scanned, events in
            guard isAttached(to: state) else { return }
            let known = max(position, machine.head ?? position)
            let (jumped, next) = machine.pageReturned(
                last: scanned, bounds: (state.head, state.floor), now: world.now)
            if jumped {
                dispatcher.jumped(to: state.head, floor: state.floor)
            } else if let page = SequencedBatch(events, first: position + 1, last: scanned)
                .after(known)
            {
                dispatch(page.events, first: page.first, last: page.last)
                if machine.isPump { pass(page) }
            }
            perform(next)
        }
    }

    // MARK: Events and pages

    static func event(_ row: Captured, at position: Int64) -> Event {
        Event(
            EventEnvelope(
                position: position, eventID: row.eventID, time: Timestamp(microseconds: 0),
                operation: .update, type: "sim.updated", key: row.key, audience: row.audience),
            data: Array("{\"new\":{\"serial\":\(row.serial),\"version\":\(row.version)}}".utf8))
    }

    private static func event(at position: Int64, _ state: DatabaseState) -> Event {
        guard let row = state.event(at: position) else {
            preconditionFailure("a position that was just given")
        }
        return event(row, at: position)
    }

    /// Asks on a connection of the pool; `body` gets what was found there if it is of the history that ids
    /// are written for here.
    private func askPool(
        for loop: SimulatedLoop, unavailable: @escaping () -> Void,
        _ body: @escaping (DatabaseState, EpochHistory) -> Void
    ) {
        let asked = history
        later(100...4000) { [self] in
            guard database.isUp, !world.chance(0.02) else { return loop.post(unavailable) }
            let state = database.state
            later(50...3000) { [self] in
                if let history, isOfThisHistory(state) { return body(state, history) }
                guard asked == history else {
                    // Attached anew since.
                    return askPool(for: loop, unavailable: unavailable, body)
                }
                historyDiffered()
                loop.post(unavailable)
            }
        }
    }

    /// The pool has reached another log than the listener.
    private func historyDiffered() {
        guard machine.isAttached else { return }
        world.count("another history found")
        perform(machine.historyDiffered(now: world.now, random: world.unit()))
    }

    /// Reads a page for a stream; the answer comes through the loop's mailbox.
    func readPage(
        _ request: PageRequest, for loop: SimulatedLoop, then: @escaping (LogPage?) -> Void
    ) {
        let (wanted, after, narrowing): (Int64, Int64, Narrowing) =
            switch request {
            case .own(let after, let narrowing): (after, after, narrowing)
            case .shared(let after, _): (after, after / 10 * 10, .none)
            }
        let labels = narrowing.labels.map { Set($0.map(AudienceLabel.init(unchecked:))) }
        askPool(for: loop) {
            then(nil)
        } _: { [self] state, history in
            guard state.head >= wanted else {
                historyDiffered()
                return loop.post { then(nil) }
            }
            let (rows, scanned) = state.replay(after: after, labels: labels, limit: 10)
            var batch = EncodedBatch(first: max(after + 1, state.floor), last: scanned)
            let encoder = EventEncoder(maximumBytes: 4096)
            for (position, row) in rows {
                let event = Self.event(row, at: position)
                encoder.append(
                    event.envelope, data: event.data.span, history: history, to: &batch)
            }
            let page = LogPage(
                head: state.head, floor: state.floor, scanned: scanned, block: FrameBlock(batch))
            loop.post { then(page) }
        }
    }

    /// What `bounds()` returns; `nil` if it cannot be had.
    func askBounds(for loop: SimulatedLoop, then: @escaping (LogBounds?) -> Void) {
        askPool(for: loop) {
            then(nil)
        } _: { state, _ in
            loop.post { then(state.bounds) }
        }
    }
}
