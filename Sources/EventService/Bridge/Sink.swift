import EventCore

/// What a sink writes to.
protocol SinkTarget: AnyObject {
    /// Whether it can be written to now.
    var isUp: Bool { get }
    /// It can be written to from now on.
    var onUp: () -> Void { get set }

    /// Connects, and stays connected.
    func start()

    /// Lets everything go.
    func stop()

    /// Writes events in their order, and tells which of them never can be, and why; or, with `nil`, that
    /// not all were written, and that all must be written again.
    func send(_ events: [SinkEvent], completion: @escaping ([DeadLetter]?) -> Void)
}

/// Sends what the log holds to another system: page by page, in order, each event once or more often.
///
/// ```
///  claimed? ─▶ position ─▶ page of the log ─▶ target ─▶ all written ─▶ next page, noting the position
/// ```
/// One node at a time does it: who holds the lock of its session. After a crash the next begins at the
/// position that was noted, so that at most a page comes again.
final class Sink: Bridge {
    private let loop: EventLoop
    private let database: BridgeDatabase
    private let target: any SinkTarget
    private let name: String
    private let types: [TypePattern]
    private let counters: BridgeCounters
    private let log: Log
    private var logRows = LogRows()
    private var history: EpochHistory?
    /// Everything up to here was written; `nil`: another node does it.
    private var position: Int64?
    /// Behind it, and read already.
    private var page: (events: [SinkEvent], scanned: Int64)?
    private var letters: [DeadLetter] = []
    private var isWriting = false
    private var isWaiting = false
    private let backoff = Backoff(first: .milliseconds(100), maximum: .seconds(5))
    private var failures = 0
    private var timer: LoopTimer?
    private var onFinished: (() -> Void)?
    private var isFinishing = false

    /// How soon another node takes over, and how long a tick that got lost delays.
    private static let interval = Duration.seconds(1)

    init(
        loop: EventLoop, url: String, name: String, types: [TypePattern], target: any SinkTarget,
        counters: BridgeCounters, log: Log
    ) {
        self.loop = loop
        self.name = name
        self.types = types
        self.target = target
        self.counters = counters
        self.log = log
        database = BridgeDatabase(
            loop: loop, url: url, name: counters.name,
            prepared: [Query("listen", "LISTEN event_service_tick")], log: log)
        database.onUp = { [unowned self] in step() }
        database.onIdle = { [unowned self] in step() }
        database.onDown = { [unowned self] in lostSession() }
        database.onNotification = { [unowned self] _, _ in
            // What failed waits for its timer, however much comes.
            guard failures == 0 else { return }
            isWaiting = false
            step()
        }
        target.onUp = { [unowned self] in step() }
        timer = LoopTimer(loop) { [unowned self] _ in
            isWaiting = false
            step()
        }
    }

    func start() {
        target.start()
        database.start()
    }

    func finish(completion: @escaping () -> Void) {
        isFinishing = true
        onFinished = completion
        step()
    }

    func stop() {
        timer?.cancel()
        counters.active.set(0)
        database.stop()
        target.stop()
    }

    // MARK: Steps

    /// Does the next thing, if nothing is under way.
    private func step() {
        guard database.isIdle, !isWriting else { return }
        guard let position else { return isFinishing ? end() : claim() }
        if !letters.isEmpty { return keepLetters() }
        if let page { return write(page) }
        if isFinishing { return note(position) }
        if !isWaiting { read(behind: position) }
    }

    private func wait() {
        isWaiting = true
        timer?.set(after: Self.interval)
    }

    private func end() {
        onFinished?()
        onFinished = nil
    }

    /// The lock went with the session; what is being written may be written by another, too.
    private func lostSession() {
        position = nil
        page = nil
        letters = []
        counters.active.set(0)
    }

    private func failed(_ error: DatabaseError) {
        // A broken connection is opened again, and then told.
        if error.isConnectionLoss { return }
        log.warning(
            "bridge: database refuses, trying again",
            ["bridge": counters.name, "error": error.description])
        tryLater()
    }

    private func tryLater() {
        counters.retried.increase()
        failures += 1
        isWaiting = true
        timer?.set(
            after: backoff.delay(failures: failures, random: Double.random(in: 0..<1))
                + .milliseconds(20))
    }

    /// The query's rows go to `body`; then comes the next step.
    private func run(_ query: Query, _ body: @escaping (borrowing Rows) -> Void) {
        database.run(query) { [weak self] outcome in
            guard let self else { return }
            switch consume outcome {
            case .rows(let rows):
                body(rows)
                step()
            case .failed(let error): failed(error)
            }
        }
    }

    // MARK: Position

    private func claim() {
        guard !isWaiting else { return }
        run(Query("claim a bridge", "SELECT event_service.claim_bridge($1)", ["sink:\(name)"])) {
            [unowned self] rows in
            guard rows.bool(0, 0) else { return wait() }
            locate()
        }
    }

    private func locate() {
        let query = Query(
            "ask for a sink's position",
            """
            SELECT epoch, first_position, head, floor, event_service.sink_position($1) \
            FROM event_service.attach()
            """, [name])
        database.run(query) { [weak self] outcome in
            guard let self else { return }
            switch consume outcome {
            case .rows(let rows):
                guard let bounds = LogRows.bounds(rows) else { return wait() }
                history = bounds.history
                position = rows.int64(0, 4)
                counters.active.set(1)
                log.info(
                    "bridge: sends",
                    ["bridge": counters.name, "after": String(rows.int64(0, 4))])
                step()
            case .failed(let error): failed(error)
            }
        }
    }

    /// Notes how far was written, and ends.
    private func note(_ reached: Int64) {
        self.position = nil
        run(page(reached, rows: 1)) { _ in }
    }

    private func page(_ reached: Int64, rows: Int) -> Query {
        let patterns = types.contains { $0.likePattern == "%" } ? nil : types.map(\.likePattern)
        return Query(
            "read the log for a sink",
            "SELECT * FROM event_service.sink_page($1, $2, $2, $3, $4)",
            [name, String(reached), patterns.map(Query.array), String(rows)],
            timeout: .seconds(15))
    }

    private func read(behind position: Int64) {
        run(page(position, rows: 1000)) { [unowned self] rows in
            guard rows.count > 0, let history else {
                // The log has another history by now, in which positions may stand for other events.
                self.position = nil
                return wait()
            }
            let (head, floor, scanned) = (rows.int64(0, 0), rows.int64(0, 1), rows.int64(0, 2))
            guard head >= position else {
                // The database is an older copy of itself by now: it has another history.
                self.position = nil
                return
            }
            if floor > position + 1 {
                counters.missed.increase(by: Int(floor - position - 1))
                log.warning(
                    "bridge: events were dropped before they were sent",
                    ["bridge": counters.name, "count": String(floor - position - 1)])
            }
            let events = (0..<rows.count).filter { !rows.isNull($0, 3) }
                .map { logRows.event(rows, $0, from: 3) }
                .filter { EventType.isSent($0.envelope.type) }
                .map { SinkEvent($0, cursor: history.cursor(at: $0.envelope.position)) }
            counters.lag.set(Int(head - scanned))
            failures = 0
            if events.isEmpty {
                self.position = max(scanned, position)
                if scanned >= head { wait() }
            } else {
                page = (events, scanned)
            }
        }
    }

    // MARK: Writing

    private func write(_ page: (events: [SinkEvent], scanned: Int64)) {
        guard !isWaiting else { return }
        // Told when it is there.
        guard target.isUp else { return }
        isWriting = true
        target.send(page.events) { [weak self] letters in
            guard let self else { return }
            isWriting = false
            // Without a session another node may have gone on meanwhile.
            if self.page?.scanned == page.scanned {
                if let letters {
                    self.page = nil
                    position = page.scanned
                    failures = 0
                    counters.sent.increase(by: page.events.count - letters.count)
                    self.letters = letters
                } else {
                    tryLater()
                }
            }
            step()
        }
    }

    private func keepLetters() {
        for letter in letters {
            counters.deadLettered.increase()
            log.warning("bridge: dead letter", ["source": letter.source, "reason": letter.reason])
        }
        var bytes = Array("[".utf8)
        for (index, letter) in letters.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            letter.appendJSON(to: &bytes)
        }
        run(
            Query(
                "keep dead letters", "SELECT * FROM event_service.take_in('[]', '{}', $1, '[]')",
                [String(decoding: bytes, as: UTF8.self) + "]"])
        ) { [unowned self] _ in
            letters = []
        }
    }
}
