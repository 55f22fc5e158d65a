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

    /// Sends the commands as one transaction: while a server loads its data, or has no memory left, it
    /// refuses some and takes later ones, which would come before them then.
    func send(_ events: [SinkEvent], completion: @escaping ([DeadLetter]?) -> Void) {
        var letters: [DeadLetter] = []
        var commands: [(event: SinkEvent, arguments: [[UInt8]])] = []
        for event in events {
            do throws(SinkFault) {
                commands.append((event, try settings.command(for: event)))
            } catch {
                letters.append(event.deadLetter(sink: settings.name, reason: error.reason))
            }
        }
        guard !commands.isEmpty else { return completion(letters) }
        let connection = link.connection
        // Outside a transaction each command would be carried out by itself, so its start is awaited.
        connection.send(["MULTI"]) { [self] reply in
            if let failure = Self.failure(reply) { return refused(failure, completion) }
            var failure: String?
            for command in commands {
                connection.send(command.arguments) { failure = failure ?? Self.failure($0) }
            }
            connection.send(["EXEC"]) { [self] reply in
                if let failure = failure ?? Self.failure(reply) {
                    return refused(failure, completion)
                }
                // All was carried out. What failed even so, as where a key is no stream, always will.
                for (command, reply) in zip(commands, reply?.elements ?? []) {
                    guard let reason = reply.errorMessage else { continue }
                    letters.append(command.event.deadLetter(sink: settings.name, reason: reason))
                }
                completion(letters)
            }
        }
    }

    private static func failure(_ reply: RedisReply?) -> String? {
        guard let reply else { return "the connection broke" }
        return reply.errorMessage
    }

    private func refused(_ failure: String, _ completion: ([DeadLetter]?) -> Void) {
        log.warning(
            "bridge: Redis refuses, trying again", ["bridge": settings.name, "error": failure])
        completion(nil)
    }
}
