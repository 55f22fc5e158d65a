import EventCore

/// Does what the listener's state machine decides, over one connection to PostgreSQL.
final class NotificationListener {
    private let loop: EventLoop
    private let connection: DatabaseConnection
    private var dispatcher: Dispatcher<WorkerInbox>
    private let reader: LogReader
    private let revocations: RevocationReader
    private let fanout: FanoutStream?
    private let batchMaxEvents: Int
    private let clock: DatabaseClock
    private let log: Log
    private let onHealth: ([UnreadyReason]) -> Void
    private var machine: ListenerStateMachine
    private var logRows = LogRows()
    private var timer: LoopTimer?
    /// Fires when the proof that the connection hears is too old, whatever it waits for.
    private var verificationTimer: LoopTimer?
    private var random = SystemRandomNumberGenerator()
    /// The history of the log that the node is attached to.
    private var history: EpochHistory?
    private var missingMigrations = false
    /// What the last connection was given up for.
    private var lossReason = UnreadyReason.database
    private var lastHealth: [UnreadyReason]?
    private var counts = ListenerReport()

    /// Bytes of data after which a batch or a page ends.
    private static let maximumBytes = 8 << 20
    private static let pageSize = 1000

    init(
        loop: EventLoop, servers: ServerList, configuration: Configuration,
        dispatcher: Dispatcher<WorkerInbox>, reader: LogReader, revocations: RevocationReader,
        fanout: FanoutStream?, clock: DatabaseClock, log: Log,
        onHealth: @escaping ([UnreadyReason]) -> Void
    ) {
        self.loop = loop
        connection = DatabaseConnection(loop: loop, servers: servers)
        self.dispatcher = dispatcher
        self.reader = reader
        self.revocations = revocations
        self.fanout = fanout
        batchMaxEvents = configuration.batchMaxEvents
        self.clock = clock
        self.log = log
        self.onHealth = onHealth
        machine = ListenerStateMachine(
            timing: ListenerStateMachine.Timing(batchDelay: configuration.batchMaxDelay))
        connection.onNotification = { [unowned self] in notified(channel: $0, payload: $1) }
        connection.onLoss = { [unowned self] in failed($0) }
        fanout?.onBatch = { [unowned self] in batchArrived($0) }
        fanout?.onAvailability = { [unowned self] expected in
            perform(machine.batchesExpected(expected, now: loop.now))
        }
        timer = LoopTimer(loop) { [unowned self] now in
            guard machine.isAttached else { return perform(machine.retryTimeReached()) }
            let action = machine.waitEnded(now: now, random: nextRandom())
            if case .reconnect = action { isDeaf() }
            perform(action)
        }
        verificationTimer = LoopTimer(loop) { [unowned self] now in
            machine.verificationExpired(now: now)
            if !machine.isVerified { lossReason = .listener }
            reportHealth()
        }
    }

    /// Connects, and stays connected.
    func start() {
        perform(machine.retryTimeReached())
    }

    /// Closes the connection for good.
    func stop() {
        machine.stopped()
        timer?.cancel()
        verificationTimer?.cancel()
        connection.close()
    }

    private func nextRandom() -> Double { Double.random(in: 0..<1, using: &random) }

    // MARK: Requests

    private func perform(_ action: ListenerStateMachine.Action) {
        reportHealth()
        switch action {
        case .none:
            break
        case .wait(let time):
            timer?.set(at: time)
        case .reconnect(let time):
            connection.close()
            timer?.set(at: time)
        case .request(let request):
            timer?.cancel()
            send(request)
        }
    }

    private func send(_ request: ListenerStateMachine.Request) {
        switch request {
        case .connect: connect()
        case .prepare: prepare()
        case .attach: attach()
        case .status(let claimPump): askStatus(claimPump: claimPump)
        case .advance(let releasesGate): advance(releasesGate: releasesGate)
        case .claimGate: claimGate()
        case .read(let position): read(after: position)
        case .probe: probe()
        case .deposePump(let silence): deposePump(silentFor: silence)
        }
    }

    /// Runs a query. A failure of any ends the connection, but for one that may pass where
    /// `onPassing` is given.
    private func run(
        _ operation: String, _ sql: String, _ parameters: [String?] = [],
        preparedName: String? = nil, timeout: Duration = .seconds(10),
        onPassing: ((DatabaseError) -> Void)? = nil, then body: @escaping (borrowing Rows) -> Void
    ) {
        let query = Query(
            operation, sql, parameters, preparedName: preparedName, timeout: timeout)
        connection.run(query) { [weak self] outcome in
            switch consume outcome {
            case .rows(let rows):
                body(rows)
            case .failed(let error):
                if let onPassing, error.mayPass { return onPassing(error) }
                // The floor rose over what was being read.
                guard error.sqlState != "40001" else {
                    self?.run(
                        operation, sql, parameters, preparedName: preparedName, timeout: timeout,
                        then: body)
                    return
                }
                self?.failed(error)
            }
        }
    }

    /// The connection did not hear its own probe in time, or is of no use to hear anything.
    private func isDeaf() {
        lossReason = .listener
        log.warning("listener: does not hear its own notifications")
    }

    private func failed(_ error: DatabaseError) {
        lossReason = .database
        counts.losses += 1
        log.warning("listener: lost", ["error": error.description])
        perform(machine.failed(now: loop.now, random: nextRandom()))
    }

    private func connect() {
        connection.connect { [unowned self] error in
            if let error {
                missingMigrations = false
                return failed(error)
            }
            perform(machine.connected())
        }
    }

    private func prepare() {
        runInTurn(
            [Session.prepare]
                + [
                    "event_service_tick", "event_service_wake", RevocationReader.channel,
                    probeChannel,
                ].map { Query("listen", "LISTEN \($0)") }
        ) { [unowned self] in
            lookAtMigrations()
        }
    }

    private func lookAtMigrations() {
        let query = Query("look at the migrations", "SELECT name FROM event_service.migrations")
        connection.run(query) { [unowned self] outcome in
            var missing = Migration.required
            switch consume outcome {
            case .rows(let rows):
                let applied = Set((0..<rows.count).map { rows.text($0, 0) })
                missing.removeAll(where: applied.contains)
            case .failed(let error):
                // No such table, no such schema, or no right to it: nothing is applied, or another
                // login applied it.
                guard ["42P01", "3F000", "42501"].contains(error.sqlState) else {
                    return failed(error)
                }
            }
            missingMigrations = !missing.isEmpty
            guard missing.isEmpty else {
                return failed(
                    DatabaseError(
                        "look at the migrations",
                        message:
                            "run `event-service migrate`; not applied, or not to be seen by this"
                            + " login, are " + missing.joined(separator: ", ")))
            }
            readRevocations()
        }
    }

    /// Before the node attaches, so that none is ready that lets revoked tokens in.
    private func readRevocations() {
        run("read the revocations", RevocationReader.query, timeout: .seconds(30)) {
            [unowned self] rows in
            revocations.attached(rows)
            prepareSequencing()
        }
    }

    /// What is asked hundreds of times a second is parsed once.
    private func prepareSequencing() {
        let prepare = Query(
            "prepare to sequence",
            """
            PREPARE advance (int, bigint, boolean) AS \
            SELECT * FROM event_service.advance($1, $2, $3)
            """)
        runInTurn([prepare]) { [unowned self] in
            perform(machine.prepared())
        }
    }

    private func runInTurn(_ queries: [Query], then body: @escaping () -> Void) {
        guard let first = queries.first else { return body() }
        connection.run(first) { [weak self] outcome in
            guard let self else { return }
            if case .failed(let error) = consume outcome { return failed(error) }
            runInTurn(Array(queries.dropFirst()), then: body)
        }
    }

    private func attach() {
        run("attach to the log", "SELECT * FROM event_service.attach()", timeout: .seconds(30)) {
            [unowned self] rows in
            guard let bounds = LogRows.bounds(rows) else {
                return failed(DatabaseError("attach to the log", message: "there is no epoch"))
            }
            guard fanout != nil else { return attached(bounds) }
            findFanout(of: bounds)
        }
    }

    /// Other nodes pass their batches on under the name of this very history.
    private func findFanout(of bounds: LogBounds) {
        let query = "SELECT event_service.newest_epoch(), event_service.history_name()"
        run("name the history", query) { [unowned self] rows in
            guard rows.int64(0, 0) == bounds.history.newestEpoch else {
                return failed(DatabaseError("name the history", message: "it has just forked"))
            }
            fanout?.attached(to: rows.text(0, 1))
            attached(bounds)
        }
    }

    private func attached(_ bounds: LogBounds) {
        noteFork(bounds)
        history = bounds.history
        reader.attached(bounds.history)
        let (head, next) = machine.attached(bounds, now: loop.now)
        log.info(
            "listener: attached",
            [
                "head": "\(bounds.headCursor)", "floor": String(bounds.floor),
                "from": String(head),
            ])
        var bounds = bounds
        bounds.head = head
        dispatcher.attached(bounds)
        perform(next)
    }

    /// A failover to a copy that lacked the last events, or a restore, is for operators to know of.
    private func noteFork(_ bounds: LogBounds) {
        guard let history, let fork = bounds.history.fork(from: history), fork <= machine.head ?? 0
        else { return }
        log.warning(
            "listener: the history of the log forked",
            [
                "behind": "\(history.cursor(at: fork - 1))",
                "epoch": String(bounds.history.newestEpoch),
                "void": "\(history.cursor(at: fork))…\(history.cursor(at: machine.head ?? fork))",
            ])
    }

    /// A connection of the pool has reached another log.
    func historyDiffered() {
        guard machine.isAttached else { return }
        log.warning("listener: another connection has found another history of the log")
        lossReason = .database
        perform(machine.historyDiffered(now: loop.now, random: nextRandom()))
    }

    /// Whether the log, whose newest epoch this is, is the one that the connection attached to; if it was
    /// replaced, the connection is given up.
    private func isAttached(to epoch: Int64) -> Bool {
        if reader.isAttached(to: epoch) { return true }
        failed(DatabaseError("look at the log", message: "it was replaced by another"))
        return false
    }

    private func askStatus(claimPump: Bool) {
        let sent = MonotonicClock.date()
        run(
            "ask the status",
            """
            SELECT head, floor, epoch, (extract(epoch FROM now - waiting_since) * 1000)::bigint, \
            \(claimPump ? "pg_try_advisory_lock(1163284052, 3)" : "false"), \
            (extract(epoch FROM now) * 1000000)::bigint FROM event_service.status()
            """
        ) { [unowned self] rows in
            guard isAttached(to: rows.int64(0, 2)) else { return }
            clock.said(
                Timestamp(microseconds: rows.int64(0, 5)), between: sent,
                and: MonotonicClock.date())
            dispatcher.floorIs(rows.int64(0, 1))
            let isPump = rows.bool(0, 4)
            if isPump { log.info("listener: sequences for all nodes") }
            perform(
                machine.statusReturned(
                    ListenerStateMachine.Status(
                        head: rows.int64(0, 0),
                        waiting: rows.isNull(0, 3) ? nil : .milliseconds(rows.int64(0, 3)),
                        holdsPump: isPump), now: loop.now))
        }
    }

    private func advance(releasesGate: Bool) {
        run(
            "sequence", "SELECT * FROM event_service.advance($1, $2, $3)",
            [String(batchMaxEvents), String(Self.maximumBytes), String(releasesGate)],
            preparedName: "advance", timeout: .seconds(30),
            onPassing: { [unowned self] error in
                log.warning("listener: cannot sequence", ["error": error.description])
                perform(machine.advanceFailed(now: loop.now, random: nextRandom()))
            }
        ) { [unowned self] rows in
            guard rows.count > 0 else { return advanced([], .nothing) }
            guard !rows.isNull(0, 0) else { return advanced([], .busy) }
            let events = (0..<rows.count).map { logRows.event(rows, $0, from: 0) }
            count(events)
            let isFull =
                events.count >= batchMaxEvents || LogRows.byteCount(events) >= Self.maximumBytes
            advanced(
                events,
                .events(
                    first: events[0].envelope.position,
                    last: events[events.count - 1].envelope.position,
                    isFull: isFull))
        }
    }

    private func count(_ events: [Event]) {
        let now = clock.now()
        counts.ticks += 1
        counts.sequenced += events.count
        for event in events { counts.latency.record(since: event.envelope.time, now: now) }
    }

    /// What the listener has done, and is.
    var report: ListenerReport {
        var report = counts
        report.isAttached = machine.isAttached
        report.isVerified = machine.isVerified
        report.isPump = machine.isPump
        report.isParked = machine.isParked
        report.head = machine.head ?? 0
        report.clockOffset = clock.offset
        report.fanout = fanout?.report
        return report
    }

    private func advanced(_ events: [Event], _ outcome: ListenerStateMachine.Advance) {
        let (deliver, next) = machine.advanceReturned(outcome, now: loop.now)
        if deliver, case .events(let first, let last, _) = outcome {
            dispatch(events, first: first, last: last)
            fanout?.send(SequencedBatch(events, first: first, last: last))
        }
        perform(next)
    }

    /// Another node has passed on what it sequenced.
    private func batchArrived(_ batch: SequencedBatch) {
        let (position, next) = machine.batchArrived(
            first: batch.first, last: batch.last, now: loop.now)
        if let rest = position.flatMap({ batch.after($0) }) {
            fanout?.taken()
            dispatch(rest.events, first: rest.first, last: rest.last)
        }
        perform(next)
    }

    private func dispatch(_ events: [Event], first: Int64, last: Int64) {
        for double in dispatcher.dispatch(events, first: first, last: last) {
            log.warning(
                "dispatch: an event stands in the log twice",
                ["event_id": String(double.eventID), "position": String(double.position)])
        }
    }

    /// Another connection has found out how high the floor is.
    func floorIs(_ floor: Int64) {
        dispatcher.floorIs(floor)
    }

    private func claimGate() {
        run("take the gate", "SELECT pg_try_advisory_lock(1163284052, 1)") { [unowned self] rows in
            perform(machine.gateClaimReturned(rows.bool(0, 0), now: loop.now))
        }
    }

    private func read(after position: Int64) {
        run(
            "read the log",
            "SELECT \(LogReader.newestEpoch), r.* FROM event_service.replay($1, $2, max_bytes => $3) r",
            [String(position), String(Self.pageSize), String(Self.maximumBytes)],
            timeout: .seconds(30)
        ) { [unowned self] rows in
            guard isAttached(to: rows.int64(0, 0)) else { return }
            let (head, floor, last) = (rows.int64(0, 1), rows.int64(0, 2), rows.int64(0, 3))
            let events = (0..<rows.count).filter { !rows.isNull($0, 4) }
                .map { logRows.event(rows, $0, from: 4) }
            counts.pages += 1
            // What was passed on meanwhile was handed over already.
            let known = max(position, machine.head ?? position)
            let (jumped, next) = machine.pageReturned(
                last: last, bounds: (head, floor), now: loop.now)
            if jumped {
                dispatcher.jumped(to: head, floor: floor)
            } else if let page = SequencedBatch(events, first: position + 1, last: last).after(
                known)
            {
                dispatch(page.events, first: page.first, last: page.last)
                if machine.isPump { fanout?.send(page) }
            }
            perform(next)
        }
    }

    private var probeChannel: String { "event_service_probe_\(connection.serverProcess)" }

    private func probe() {
        run(
            "probe",
            """
            SELECT NOT pg_is_in_recovery() AND (SELECT count(*) = 4 FROM pg_listening_channels() c \
            WHERE c IN ('event_service_tick', 'event_service_wake', $1, $2)), pg_notify($1, '')
            """, [probeChannel, RevocationReader.channel]
        ) { [unowned self] rows in
            let isSound = rows.bool(0, 0)
            if !isSound { isDeaf() }
            perform(machine.probeReturned(isSound: isSound, now: loop.now, random: nextRandom()))
        }
    }

    /// Ends the session that holds the pump's or the sequencer's lock, if its server has waited for it
    /// for so long: idle, or in the middle of an answer that nobody takes.
    private func deposePump(silentFor silence: Duration) {
        run(
            "end a silent pump's session",
            """
            SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
            WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 1163284052 \
            AND l.objid IN (2, 3) AND l.pid <> pg_backend_pid() \
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
            AND (a.state <> 'active' OR a.wait_event_type = 'Client') \
            AND a.state_change < clock_timestamp() - $1::interval
            """, ["\(silence.wholeMilliseconds) milliseconds"]
        ) { [unowned self] rows in
            if rows.count > 0 {
                log.warning("listener: ended the session that should sequence and was silent")
            }
            perform(machine.deposeReturned(now: loop.now))
        }
    }

    // MARK: Notifications and health

    private func notified(channel: String, payload: String) {
        switch channel {
        case "event_service_wake":
            perform(machine.notified(.wake, now: loop.now))
        case "event_service_tick":
            guard let head = Int64(payload) else { return }
            perform(machine.notified(.tick(head: head), now: loop.now))
        case RevocationReader.channel:
            revocations.notified()
        default:
            counts.lastProbe = MonotonicClock.date()
            perform(machine.notified(.probe, now: loop.now))
            if let until = machine.verifiedUntil { verificationTimer?.set(at: until) }
        }
    }

    /// A connection that stands is not ready before it has heard its own probe, nor while events wait
    /// that nobody can sequence.
    private var unreadyReasons: [UnreadyReason] {
        if machine.isVerified { return machine.isStalled ? [.sequencer] : [] }
        return missingMigrations ? [.migrations] : [lossReason]
    }

    private func reportHealth() {
        let reasons = unreadyReasons
        guard reasons != lastHealth else { return }
        lastHealth = reasons
        onHealth(reasons)
    }
}
