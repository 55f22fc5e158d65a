import EventCore

/// A bridge's own connection to PostgreSQL, which is opened again when it breaks.
///
/// One, and no pool: what it asks is one thing after the other, and the lock by which one node at a time
/// runs a bridge belongs to the session. So that the lock is not lost unnoticed, on a connection that
/// only seems to stand, the session is asked now and then whether it is there.
final class BridgeDatabase {
    private let loop: EventLoop
    private let connection: DatabaseConnection
    private let name: String
    private let log: Log
    private let backoff = Backoff(first: .milliseconds(250), maximum: .seconds(5))
    private var failures = 0
    private var isStopped = false
    private var timer: LoopTimer?
    private(set) var isReady = false
    private var probeTimer: LoopTimer?
    private var lastUse = MonotonicTime.zero

    /// How long a session may be idle before it is asked whether it is there.
    private static let idleInterval = Duration.seconds(5)
    /// How long that answer may take.
    private static let probeTimeout = Duration.seconds(5)

    /// What is asked again and again is parsed once.
    private let prepared: [Query]

    /// The session is there: what it held before, locks among it, is gone.
    var onUp: () -> Void = {}
    /// The session is idle again after it was asked whether it is there.
    var onIdle: () -> Void = {}
    /// The session is gone.
    var onDown: () -> Void = {}
    /// The session has heard a notification.
    var onNotification: (_ channel: String, _ payload: String) -> Void = { _, _ in }

    /// - Parameter prepared: what each new session begins with.
    init(loop: EventLoop, url: String, name: String, prepared: [Query], log: Log) {
        self.loop = loop
        self.name = name
        self.log = log
        self.prepared = [Session.prepare] + prepared
        connection = DatabaseConnection(loop: loop, servers: ServerList(url: url))
        connection.onLoss = { [unowned self] in lost($0) }
        connection.onNotification = { [unowned self] in onNotification($0, $1) }
        timer = LoopTimer(loop) { [unowned self] _ in connect() }
        probeTimer = LoopTimer(loop) { [unowned self] _ in probe() }
    }

    /// Connects, and stays connected.
    func start() {
        connect()
    }

    /// Closes the connection for good.
    func stop() {
        isStopped = true
        isReady = false
        timer?.cancel()
        probeTimer?.cancel()
        connection.close()
    }

    /// Whether a query can be sent.
    var isIdle: Bool { isReady && connection.isIdle }

    /// Runs a query; the session must be idle. An error that ends the connection is told to `completion`
    /// first, and then to `onDown`.
    func run(_ query: Query, completion: @escaping (consuming QueryOutcome) -> Void) {
        lastUse = loop.now
        connection.run(query) { [weak self] outcome in
            if let self { lastUse = loop.now }
            switch consume outcome {
            case .rows(let rows):
                completion(.rows(rows))
            case .failed(let error):
                completion(.failed(error))
                if error.isConnectionLoss { self?.lost(error) }
            }
        }
    }

    private func probe() {
        probeTimer?.set(after: Self.idleInterval)
        guard isIdle, loop.now - lastUse >= Self.idleInterval else { return }
        run(Query("ask whether the session is there", "SELECT", timeout: Self.probeTimeout)) {
            [weak self] outcome in
            if case .rows = consume outcome { self?.onIdle() }
        }
    }

    private func connect() {
        guard !isStopped else { return }
        connection.connect { [unowned self] error in
            if let error { return lost(error) }
            prepare(prepared[...])
        }
    }

    private func prepare(_ queries: ArraySlice<Query>) {
        guard let query = queries.first else {
            if failures > 0 { log.info("bridge: database is back", ["bridge": name]) }
            failures = 0
            isReady = true
            lastUse = loop.now
            probeTimer?.set(after: Self.idleInterval)
            return onUp()
        }
        connection.run(query) { [weak self] outcome in
            guard let self else { return }
            switch consume outcome {
            case .rows: prepare(queries.dropFirst())
            // A function may be missing until the migrations are applied: that too is waited for.
            case .failed(let error): lost(error)
            }
        }
    }

    private func lost(_ error: DatabaseError) {
        guard !isStopped else { return }
        let wasReady = isReady
        isReady = false
        connection.close()
        failures += 1
        // The first says that it is away, the rest would only repeat it.
        if failures == 1 {
            log.warning(
                "bridge: database lost", ["bridge": name, "error": error.description])
        }
        timer?.set(
            after: backoff.delay(failures: failures, random: Double.random(in: 0..<1))
                + .milliseconds(50))
        if wasReady { onDown() }
    }
}
