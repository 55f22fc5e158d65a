import EventCore

/// What the database thread is told.
enum DatabaseControl: Sendable {
    /// What it knows is wanted for a page of metrics.
    case report(ReportRound<MetricsPart>)
    /// Close the connections and end.
    case stop
}

/// The thread that talks to PostgreSQL: listening and sequencing, dispatch, and what workers ask of the
/// log.
///
/// One thread for all of it, because it is all waiting: the work is done in the database.
final class DatabaseThread: Sendable {
    /// Where workers send what they ask.
    let calls: Mailbox<LogCall>
    /// Where it is told what to do.
    let control: Mailbox<DatabaseControl>
    private let thread: LoopThread

    init(
        configuration: Configuration, inboxes: [WorkerInbox], access: AccessState,
        clock: DatabaseClock, log: Log, onHealth: @escaping @Sendable ([UnreadyReason]) -> Void
    ) throws(SystemError) {
        let calls = try Mailbox<LogCall>()
        let control = try Mailbox<DatabaseControl>()
        thread = try LoopThread(name: "database") {
            do throws(SystemError) {
                try Self.run(configuration, inboxes, access, clock, log, calls, control, onHealth)
            } catch {
                log.error("database: thread not started", ["error": error.description])
                onHealth([.database])
            }
        }
        self.calls = calls
        self.control = control
    }

    /// Closes the connections and ends the thread.
    func stop() {
        control.post(.stop)
        thread.join()
    }

    private static func run(
        _ configuration: Configuration, _ inboxes: [WorkerInbox], _ access: AccessState,
        _ clock: DatabaseClock, _ log: Log, _ calls: Mailbox<LogCall>,
        _ control: Mailbox<DatabaseControl>,
        _ onHealth: @escaping @Sendable ([UnreadyReason]) -> Void
    ) throws(SystemError) {
        let loop = try EventLoop()
        let encoder = EventEncoder(maximumBytes: configuration.maxEventBytes)
        let servers = ServerList(url: configuration.databaseURL)
        let pool = ConnectionPool(
            loop: loop, servers: servers, size: configuration.databasePoolSize, log: log)
        let reader = LogReader(
            loop: loop, pool: pool, encoder: encoder, ringBytes: configuration.ringBytes,
            maximumBacklog: configuration.maxBacklogBytes,
            access: AccessReader(pool: pool, checker: configuration.sessionCheck, log: log),
            log: log)
        let revocations = RevocationReader(
            loop: loop, servers: servers, pool: pool, configuration: configuration, state: access,
            inboxes: inboxes, log: log)
        let dispatcher = Dispatcher(
            targets: inboxes, encoder: encoder,
            longestBacklog: max(configuration.ringBytes, 1 << 20))
        let fanout = Self.fanout(configuration, loop, log)
        let listener = NotificationListener(
            loop: loop, servers: servers, configuration: configuration, dispatcher: dispatcher,
            reader: reader, revocations: revocations, fanout: fanout, clock: clock, log: log,
            onHealth: onHealth)
        reader.onOtherHistory = { [unowned listener] in listener.historyDiffered() }
        let measures = DatabaseMeasures(
            loop: loop, listener: listener, pool: pool, reader: reader)
        let retention = Retention(
            loop: loop, pool: pool, reader: reader, keep: configuration.retention, log: log,
            onFloor: { listener.floorIs($0) })
        let callReader = try MailboxReader(calls, on: loop) { reader.received($0) }
        let controlReader = try MailboxReader(control, on: loop) { message in
            switch message {
            case .report(let round):
                measures.report(to: round)
            case .stop:
                listener.stop()
                fanout?.stop()
                revocations.stop()
                pool.close()
                loop.stop()
            }
        }
        fanout?.start()
        listener.start()
        withExtendedLifetime((retention, callReader, controlReader)) { loop.run() }
        calls.close()
    }

    private static func fanout(
        _ configuration: Configuration, _ loop: EventLoop, _ log: Log
    ) -> FanoutStream? {
        guard configuration.fanout == .redis, let address = configuration.redisURL else {
            return nil
        }
        return FanoutStream(
            loop: loop, address: address, timeout: configuration.redis.timeout, log: log)
    }
}
