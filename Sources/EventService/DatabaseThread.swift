import EventCore

/// The thread that talks to PostgreSQL: listening and sequencing, dispatch, and what workers ask of the
/// log.
///
/// One thread for all of it, because it is all waiting: the work is done in the database.
final class DatabaseThread: Sendable {
    /// Where workers send what they ask.
    let calls: Mailbox<LogCall>
    private let control: Mailbox<Void>
    private let thread: LoopThread

    init(
        configuration: Configuration, inboxes: [WorkerInbox], access: AccessState, log: Log,
        onHealth: @escaping @Sendable ([UnreadyReason]) -> Void
    ) throws(SystemError) {
        let calls = try Mailbox<LogCall>()
        let control = try Mailbox<Void>()
        thread = try LoopThread(name: "database") {
            do throws(SystemError) {
                try Self.run(configuration, inboxes, access, log, calls, control, onHealth)
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
        control.post(())
        thread.join()
    }

    private static func run(
        _ configuration: Configuration, _ inboxes: [WorkerInbox], _ access: AccessState, _ log: Log,
        _ calls: Mailbox<LogCall>, _ control: Mailbox<Void>,
        _ onHealth: @escaping @Sendable ([UnreadyReason]) -> Void
    ) throws(SystemError) {
        let loop = try EventLoop()
        let encoder = EventEncoder(maximumBytes: configuration.maxEventBytes)
        let servers = ServerList(url: configuration.databaseURL)
        let pool = ConnectionPool(
            loop: loop, servers: servers, size: configuration.databasePoolSize, log: log)
        let reader = LogReader(
            pool: pool, encoder: encoder, ringBytes: configuration.ringBytes,
            access: AccessReader(pool: pool, checker: configuration.sessionCheck, log: log),
            log: log)
        let revocations = RevocationReader(
            loop: loop, servers: servers, pool: pool, configuration: configuration, state: access,
            inboxes: inboxes, log: log)
        let dispatcher = Dispatcher(
            targets: inboxes, encoder: encoder,
            longestBacklog: max(configuration.ringBytes, 1 << 20))
        let listener = NotificationListener(
            loop: loop, servers: servers, configuration: configuration, dispatcher: dispatcher,
            reader: reader, revocations: revocations, log: log, onHealth: onHealth)
        reader.onOtherHistory = { [unowned listener] in listener.historyDiffered() }
        let retention = Retention(
            loop: loop, pool: pool, reader: reader, keep: configuration.retention, log: log,
            onFloor: { listener.floorIs($0) })
        let callReader = try MailboxReader(calls, on: loop) { reader.received($0) }
        let controlReader = try MailboxReader(control, on: loop) {
            listener.stop()
            revocations.stop()
            pool.close()
            loop.stop()
        }
        listener.start()
        withExtendedLifetime((retention, callReader, controlReader)) { loop.run() }
        calls.close()
    }
}
