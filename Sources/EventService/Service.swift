import CLinux
import EventCore
import Glibc

/// The service: the only one that knows every part.
///
/// ```
///  control (this thread)   signals, accepting
///  worker × cores          connections, streams, one shard of the hub each
///  database                listener, sequencer, dispatch, reading the log
///  bridge × bridges        one to another system each, with connections of its own
/// ```
/// Threads share nothing but mailboxes: the database thread posts blocks of events to the workers, the
/// workers post requests to the database thread, this thread posts connections to the workers.
final class Service {
    private let configuration: Configuration
    private let log: Log
    private let loop: EventLoop
    private let control: Mailbox<ControlMessage>
    private var controlReader: MailboxReader<ControlMessage>?
    private let inboxes: [WorkerInbox]
    private let workers: [LoopThread]
    private let database: DatabaseThread
    private let keys: KeyThread?
    private let bridges: Bridges
    private var listeners: [HTTPListener] = []
    private var signals: SignalReader?
    private var trim: MemoryTrim?
    private var drainDeadline: LoopTimer?
    private var isStopping = false
    private var isLastRound = false
    private var isStoppingAtOnce = false
    /// The workers that serve streams or requests, and the bridges that run.
    private var undrained: Int

    /// What threads tell the control thread.
    private enum ControlMessage: Sendable {
        /// A worker's last stream, or a bridge, has ended.
        case drained
    }

    /// Listens, and starts all threads.
    init(_ configuration: Configuration, log: Log, files: StaticFiles) throws {
        self.configuration = configuration
        self.log = log
        // Blocked before any thread is started: all inherit it, and only the reader gets them.
        SignalReader.block()
        loop = try EventLoop()
        control = try Mailbox()
        let maximum = DescriptorLimit.raise(for: configuration.maxConnections, log: log)
        let connectionCount = ConnectionCount(maximum: maximum)

        // Sockets first: an address in use is the likeliest reason not to start.
        let publicSocket = try Sockets.listen(on: configuration.listen)
        let opsSocket = try Sockets.listen(on: configuration.opsListen)
        let addresses = (
            Sockets.address(configuration.listen, publicSocket.number),
            Sockets.address(configuration.opsListen, opsSocket.number)
        )

        let inboxes = try (0..<Self.workerCount(configuration)).map { _ in try WorkerInbox() }
        self.inboxes = inboxes
        // What is wrong in their settings is said before anything else is.
        let bridges = try Bridges(configuration, inboxes: inboxes, log: log) { [control] in
            control.post(.drained)
        }
        self.bridges = bridges
        undrained = inboxes.count + bridges.counters.count
        let access = AccessState(configuration)
        let clock = DatabaseClock()
        database = try DatabaseThread(
            configuration: configuration, inboxes: inboxes, access: access, clock: clock, log: log
        ) { reasons in
            for inbox in inboxes { inbox.mailbox.post(.health(reasons)) }
        }
        keys = try Self.keySource(configuration).map { source throws(SystemError) in
            try KeyThread(source, inboxes: inboxes, log: log)
        }
        let metrics = MetricsSources(
            inboxes: inboxes, database: database.control, connectionCount: connectionCount,
            access: access, bridges: bridges.counters)
        workers = try inboxes.enumerated().map { [control, database, keys] index, inbox in
            try LoopThread(name: "worker-\(index)") {
                do throws(SystemError) {
                    let worker = try Worker(
                        index: index, configuration: configuration, inbox: inbox,
                        calls: database.calls, connectionCount: connectionCount, access: access,
                        keyRequests: keys.map {
                            KeyRequests(mailbox: $0.mailbox, inbox: inbox)
                        }, files: files, metrics: metrics, allInboxes: inboxes, clock: clock,
                        log: log
                    ) { control.post(.drained) }
                    worker.run()
                } catch {
                    log.error("worker: not started", ["error": error.description])
                }
            }
        }
        listeners = [
            try HTTPListener(
                publicSocket, listener: .publicListener, loop: loop, inboxes: inboxes,
                connectionCount: connectionCount, log: log),
            try HTTPListener(
                opsSocket, listener: .opsListener, loop: loop, inboxes: inboxes,
                connectionCount: connectionCount, log: log),
        ]
        controlReader = try MailboxReader(control, on: loop) { [unowned self] _ in drained() }
        signals = try SignalReader(on: loop) { [unowned self] in stopAsked(by: $0) }
        trim = MemoryTrim(on: loop)
        drainDeadline = LoopTimer(loop) { [unowned self] _ in loop.stop() }
        log.info(
            "service: listening",
            [
                "address": addresses.0, "ops": addresses.1, "auth": configuration.auth.rawValue,
                "workers": String(inboxes.count),
            ])
    }

    private static func keySource(_ configuration: Configuration) throws -> KeySource? {
        guard configuration.auth == .required, !configuration.jwtJWKS.isEmpty else { return nil }
        return try KeySource(configuration.jwtJWKS)
    }

    private static func workerCount(_ configuration: Configuration) -> Int {
        configuration.workers > 0
            ? configuration.workers : max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    }

    /// Serves until a signal asks for the end, ends all streams, and returns.
    func run() {
        loop.run()
        for listener in listeners { listener.close() }
        for inbox in inboxes { inbox.mailbox.post(.stop) }
        for worker in workers { worker.join() }
        bridges.join(now: isStoppingAtOnce)
        database.stop()
        keys?.stop()
        log.info("service: stopped")
    }

    private func stopAsked(by signal: Int32) {
        guard !isStopping else {
            log.warning("service: stops at once")
            isStoppingAtOnce = true
            return loop.stop()
        }
        isStopping = true
        log.info("service: drains", ["within": DurationText.text(configuration.drain)])
        // The listeners stay open: health checks get their answer, and new streams their 503.
        for inbox in inboxes { inbox.mailbox.post(.drain(over: configuration.drain)) }
        bridges.finish(within: configuration.drain)
        drainDeadline?.set(after: configuration.drain + .milliseconds(500))
    }

    private func drained() {
        undrained -= 1
        guard isStopping, undrained == 0 else { return }
        guard !bridges.counters.isEmpty, !isLastRound else { return loop.stop() }
        // While bridges were ending, requests came that are to be answered, too.
        isLastRound = true
        undrained = inboxes.count
        for inbox in inboxes { inbox.mailbox.post(.drain(over: .zero)) }
    }
}
