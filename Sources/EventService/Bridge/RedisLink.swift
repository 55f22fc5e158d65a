import EventCore

/// A bridge's own connection to Redis, which is opened again when it breaks.
final class RedisLink {
    private let loop: EventLoop
    private let address: RedisAddress
    private let counters: BridgeCounters
    private let log: Log
    private let backoff = Backoff(first: .milliseconds(100), maximum: .seconds(2))
    private var failures = 0
    private var isStopped = false
    private var timer: LoopTimer?
    /// `onUp` was called, and `onDown` is due.
    private var isAnnounced = false
    let connection: RedisConnection

    /// The connection is there: what it had subscribed to before is gone.
    var onUp: () -> Void = {}
    /// The connection is gone.
    var onDown: () -> Void = {}

    init(
        loop: EventLoop, address: RedisAddress, timeout: Duration, counters: BridgeCounters,
        log: Log
    ) {
        self.loop = loop
        self.address = address
        self.counters = counters
        self.log = log
        connection = RedisConnection(loop: loop, address: address, timeout: timeout)
        connection.onLoss = { [unowned self] in lost($0) }
        timer = LoopTimer(loop) { [unowned self] _ in connect() }
    }

    var isUp: Bool { connection.isOpen }

    /// Connects, and stays connected.
    func start() {
        isStopped = false
        connect()
    }

    /// Closes the connection until it is started again.
    func stop() {
        isStopped = true
        isAnnounced = false
        timer?.cancel()
        counters.connected.set(0)
        connection.close()
    }

    /// Gives the connection up, and opens another: what it says makes no sense, or another is wanted.
    func reset(_ reason: String) {
        connection.close()
        lost(reason)
    }

    private func connect() {
        guard !isStopped else { return }
        connection.connect { [unowned self] reason in
            if let reason { return lost(reason) }
            log.info(
                "bridge: connected to Redis",
                ["bridge": counters.name, "server": address.description])
            failures = 0
            isAnnounced = true
            counters.connected.set(1)
            onUp()
        }
    }

    private func lost(_ reason: String) {
        guard !isStopped else { return }
        let wasUp = isAnnounced
        isAnnounced = false
        counters.connected.set(0)
        failures += 1
        if failures == 1 {
            log.warning(
                "bridge: Redis lost",
                ["bridge": counters.name, "server": address.description, "error": reason])
        }
        timer?.set(
            after: backoff.delay(failures: failures, random: Double.random(in: 0..<1))
                + .milliseconds(20))
        if wasUp { onDown() }
    }
}
