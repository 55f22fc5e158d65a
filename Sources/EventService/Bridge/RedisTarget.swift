import EventCore

/// Publishes events to channels of Redis, or adds them to streams.
final class RedisTarget: SinkTarget {
    private let link: RedisLink
    private let settings: RedisSinkSettings
    private let log: Log
    private var heartbeat: LoopTimer?
    /// How often an idle server is asked whether it is there.
    private static let heartbeatInterval = Duration.seconds(5)
    var onUp: () -> Void {
        get { link.onUp }
        set { link.onUp = newValue }
    }

    init(
        loop: EventLoop, address: RedisAddress, timeout: Duration, settings: RedisSinkSettings,
        counters: BridgeCounters, log: Log
    ) {
        self.settings = settings
        self.log = log
        link = RedisLink(
            loop: loop, address: address, timeout: timeout, counters: counters, log: log)
        heartbeat = LoopTimer(loop) { [unowned self] _ in beat() }
    }

    var isUp: Bool { link.isUp }

    func start() {
        link.start()
        heartbeat?.set(after: Self.heartbeatInterval)
    }

    func stop() {
        heartbeat?.cancel()
        link.stop()
    }

    /// A server that hangs is noticed before there is something to send. Any answer is one, also that
    /// the user may not ask.
    private func beat() {
        heartbeat?.set(after: Self.heartbeatInterval)
        if isUp, link.connection.pendingCount == 0 { link.connection.send(["PING"]) { _ in } }
    }

    /// All commands are sent at once: the server answers them in their order.
    func send(_ events: [SinkEvent], completion: @escaping ([DeadLetter]?) -> Void) {
        var letters: [DeadLetter] = []
        var commands: [[[UInt8]]] = []
        for event in events {
            do throws(SinkFault) {
                commands.append(try settings.command(for: event))
            } catch {
                letters.append(event.deadLetter(sink: settings.name, reason: error.reason))
            }
        }
        guard !commands.isEmpty else { return completion(letters) }
        var (answers, failure) = (0, String?.none)
        for command in commands {
            link.connection.send(command) { [log, settings] reply in
                answers += 1
                failure = failure ?? (reply.map(\.errorMessage) ?? "the connection broke")
                guard answers == commands.count else { return }
                if let failure {
                    log.warning(
                        "bridge: Redis refuses, trying again",
                        ["bridge": settings.name, "error": failure])
                }
                completion(failure == nil ? letters : nil)
            }
        }
    }
}
