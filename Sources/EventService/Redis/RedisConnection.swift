import CHiredis
import CLinux
import EventCore
import Glibc

/// One connection to Redis on a loop, never blocking it (but for the name of a host, which the library
/// resolves while it connects).
///
/// Commands are answered in the order in which they were sent. Each has a time within which its answer
/// must have come; past it the connection is given up. A connection that has subscribed sends nothing
/// else any more, but subscribes to its first channel again now and then: what answers is alive.
///
/// The library frees its context from within its own calls. `cleanUp` is where that is noticed; after
/// each call into it the context is looked at anew.
final class RedisConnection: ReadinessHandler, TimerHandler {
    typealias Context = UnsafeMutablePointer<redisAsyncContext>

    private enum State {
        case closed
        /// Connecting, or logging in.
        case connecting((String?) -> Void)
        case open
    }

    private struct Pending {
        let deadline: MonotonicTime
        let completion: (RedisReply?) -> Void
    }

    /// Channels and patterns, the first of which is asked for again while nothing comes.
    private struct Subscription {
        let heartbeat: [[UInt8]]
        var heartbeatDue: MonotonicTime
    }

    private static let heartbeatInterval = Duration.seconds(5)

    var timerIndex = -1
    private let loop: EventLoop
    private let address: RedisAddress
    private let timeout: Duration
    private var context: Context?
    private var socket: Int32 = -1
    private var interest: Readiness = []
    private var isPaused = false
    private var state = State.closed
    private var pending: [Pending] = []
    private var pendingStart = 0
    private var subscription: Subscription?
    private var lastRead = MonotonicTime.zero
    private var lossReason = ""

    /// Called with the channel and payload of every message.
    var onMessage: (_ channel: [UInt8], _ payload: [UInt8]) -> Void = { _, _ in }
    /// Called once, with the reason, when an open connection breaks.
    var onLoss: (String) -> Void = { _ in }

    /// - Parameter timeout: for connecting and logging in, and for the answer to each command.
    init(loop: EventLoop, address: RedisAddress, timeout: Duration) {
        self.loop = loop
        self.address = address
        self.timeout = timeout
    }

    deinit {
        loop.cancelTimer(self)
        release()
    }

    var isOpen: Bool { if case .open = state { true } else { false } }

    /// How many commands have no answer yet.
    var pendingCount: Int { pending.count - pendingStart }

    // MARK: Connecting

    /// Connects and logs in; `completion` gets why that failed, or `nil`.
    func connect(completion: @escaping (String?) -> Void) {
        guard case .closed = state else { preconditionFailure("connect() on an open connection") }
        state = .connecting(completion)
        isPaused = false
        lossReason = "no connection within \(DurationText.text(timeout))"
        let made: Context? =
            switch address.location {
            case .host(let host, let port): redisAsyncConnect(host, Int32(port))
            case .path(let path): redisAsyncConnectUnix(path)
            }
        guard let context = made else { return fail("out of memory") }
        self.context = context
        guard context.pointee.err == 0 else { return fail(Self.message(of: context)) }
        socket = context.pointee.c.fd
        Self.noticeLoss(on: socket)
        do throws(SystemError) {
            try loop.register(socket, for: interest, handler: self)
        } catch {
            socket = -1
            return fail(error.description)
        }
        loop.setTimer(self, at: loop.now + timeout)
        let this = Unmanaged.passUnretained(self).toOpaque()
        context.pointee.data = this
        context.pointee.ev.data = this
        context.pointee.ev.addRead = addRead
        context.pointee.ev.delRead = deleteRead
        context.pointee.ev.addWrite = addWrite
        context.pointee.ev.delWrite = deleteWrite
        context.pointee.ev.cleanup = cleanUp
        redisAsyncSetConnectCallback(context, connected)
    }

    /// Half a minute without a sign of life from the other side ends the connection.
    private static func noticeLoss(on socket: Int32) {
        Sockets.setOption(socket, SOL_SOCKET, SO_KEEPALIVE, 1)
        for (option, value) in [
            (TCP_KEEPIDLE, Int32(10)), (TCP_KEEPINTVL, 5), (TCP_KEEPCNT, 3),
            (TCP_USER_TIMEOUT, 20_000),
        ] {
            Sockets.setOption(socket, Int32(IPPROTO_TCP), option, value)
        }
    }

    fileprivate func logIn() {
        guard case .connecting(let completion) = state else { return }
        var commands: [[String]] = []
        if let password = address.password {
            commands.append(["AUTH"] + (address.user.map { [$0] } ?? []) + [password])
        }
        if address.database > 0 { commands.append(["SELECT", String(address.database)]) }
        commands.append(["CLIENT", "SETNAME", "event-service"])
        for command in commands {
            let isLast = command[0] == "CLIENT"
            send(command) { [unowned self] reply in
                guard let reply, case .connecting = state else { return }
                // Not every user may give the connection a name; that is no reason to have none.
                if let message = reply.errorMessage, !isLast {
                    return fail("\(command[0]): \(message)")
                }
                guard isLast else { return }
                state = .open
                completion(nil)
            }
        }
    }

    /// Closes the connection; what has no answer yet gets none.
    func close() {
        state = .closed
        loop.cancelTimer(self)
        release()
        giveUpPending()
    }

    // MARK: Commands

    /// Sends a command; `completion` gets the answer, or `nil` if the connection broke before.
    ///
    /// - Parameter wait: how long the server itself may wait before it answers.
    func send(
        _ arguments: [[UInt8]], wait: Duration = .zero, completion: @escaping (RedisReply?) -> Void
    ) {
        guard write(arguments, replied) else { return completion(nil) }
        pending.append(Pending(deadline: loop.now + timeout + wait, completion: completion))
        if pendingCount == 1 { setTimer() }
    }

    /// Sends a command of texts.
    func send(
        _ arguments: [String], wait: Duration = .zero, completion: @escaping (RedisReply?) -> Void
    ) {
        send(arguments.map { Array($0.utf8) }, wait: wait, completion: completion)
    }

    /// Subscribes to channels and patterns, of which there is one at least. Nothing else can be sent from
    /// here on.
    func subscribe(channels: [String], patterns: [String]) {
        for (command, names) in [("SUBSCRIBE", channels), ("PSUBSCRIBE", patterns)]
        where !names.isEmpty {
            let arguments = ([command] + names).map { Array($0.utf8) }
            guard write(arguments, messageCame) else { continue }
            if subscription == nil {
                subscription = Subscription(
                    heartbeat: Array(arguments.prefix(2)),
                    heartbeatDue: loop.now + Self.heartbeatInterval)
            }
        }
        lastRead = loop.now
        setTimer()
    }

    private func write(_ arguments: [[UInt8]], _ callback: redisCallback.Function) -> Bool {
        guard let context else { return false }
        var lengths = arguments.map(\.count)
        return Array(arguments.joined()).withUnsafeBytes { bytes in
            // A pointer to nothing but an empty argument is never followed.
            let base = (bytes.baseAddress ?? UnsafeRawPointer(context)).assumingMemoryBound(
                to: CChar.self)
            var offset = 0
            var pointers: [UnsafePointer<CChar>?] = lengths.map { length in
                defer { offset += length }
                return base + offset
            }
            return redisAsyncCommandArgv(
                context, callback, nil, Int32(lengths.count), &pointers, &lengths) == REDIS_OK
        }
    }

    /// Reads no more until `resume()`: what comes waits in the kernel, and then at the server, which
    /// bounds it.
    func pause() {
        isPaused = true
        watch(interest)
    }

    /// Reads again.
    func resume() {
        isPaused = false
        lastRead = loop.now
        watch(interest)
    }

    // MARK: What the library and the loop say

    func ready(_ readiness: Readiness) {
        if !readiness.isDisjoint(with: [.readable, .hangUp, .broken]), let context {
            lastRead = loop.now
            redisAsyncHandleRead(context)
        }
        if readiness.contains(.writable), let context { redisAsyncHandleWrite(context) }
        if context == nil { fail(lossReason) }
    }

    fileprivate func watch(_ wanted: Readiness) {
        interest = wanted
        guard socket >= 0 else { return }
        loop.update(socket, to: isPaused ? wanted.subtracting(.readable) : wanted)
    }

    fileprivate func change(_ change: (inout Readiness) -> Void) {
        var wanted = interest
        change(&wanted)
        if wanted != interest { watch(wanted) }
    }

    fileprivate func answer(_ reply: RedisReply) {
        guard pendingStart < pending.count else { return }
        let completion = pending[pendingStart].completion
        pendingStart += 1
        if pendingStart > 64, pendingStart > pending.count / 2 {
            pending.removeFirst(pendingStart)
            pendingStart = 0
        }
        setTimer()
        completion(reply)
    }

    fileprivate func message(_ reply: RedisReply) {
        let parts = reply.elements
        // message CHANNEL PAYLOAD, pmessage PATTERN CHANNEL PAYLOAD; else the answer to a subscription.
        guard let kind = parts.first?.text, kind == "message" || kind == "pmessage",
            parts.count >= 3,
            let channel = parts[parts.count - 2].bytes, let payload = parts[parts.count - 1].bytes
        else { return }
        onMessage(channel, payload)
    }

    /// The library is about to free its context.
    fileprivate func lostContext() {
        guard let context else { return }
        lossReason = Self.message(of: context)
        self.context = nil
        deregister()
    }

    // MARK: Time and failing

    private func setTimer() {
        guard isOpen || pendingCount > 0 else { return }
        var deadline = subscription?.heartbeatDue ?? .distantFuture
        if pendingStart < pending.count { deadline = min(deadline, pending[pendingStart].deadline) }
        if deadline < .distantFuture {
            loop.setTimer(self, at: deadline)
        } else {
            loop.cancelTimer(self)
        }
    }

    func timerFired(now: MonotonicTime) {
        if case .connecting = state { return fail(lossReason) }
        if pendingStart < pending.count, now >= pending[pendingStart].deadline {
            return fail("no answer within \(DurationText.text(timeout))")
        }
        if let subscription, now >= subscription.heartbeatDue {
            if !isPaused, now - lastRead > Self.heartbeatInterval + timeout {
                return fail("no sign of life within \(DurationText.text(timeout))")
            }
            self.subscription?.heartbeatDue = now + Self.heartbeatInterval
            _ = write(subscription.heartbeat, messageCame)
        }
        setTimer()
    }

    private func fail(_ reason: String) {
        let failed = state
        close()
        switch failed {
        case .connecting(let completion): completion(reason)
        case .open: onLoss(reason)
        case .closed: break
        }
    }

    private func giveUpPending() {
        let waiting = pending[pendingStart...]
        pending = []
        pendingStart = 0
        for entry in waiting { entry.completion(nil) }
    }

    private func deregister() {
        if socket >= 0 { loop.deregister(socket) }
        socket = -1
        interest = []
    }

    private func release() {
        subscription = nil
        deregister()
        guard let context else { return }
        self.context = nil
        // What the library still has to say of it concerns nobody.
        context.pointee.data = nil
        context.pointee.ev.addRead = nil
        context.pointee.ev.delRead = nil
        context.pointee.ev.addWrite = nil
        context.pointee.ev.delWrite = nil
        context.pointee.ev.cleanup = nil
        redisAsyncFree(context)
    }

    private static func message(of context: Context) -> String {
        let text = context.pointee.errstr.map { String(cString: $0) } ?? ""
        return text.isEmpty ? "the connection was closed" : text
    }
}

extension redisCallback {
    /// What the library calls with an answer.
    typealias Function =
        @convention(c) (
            RedisConnection.Context?, UnsafeMutableRawPointer?, UnsafeMutableRawPointer?
        ) -> Void
}

// Free functions, so that they carry no isolation into the library. All are called on the loop's thread,
// from within a call that the connection itself has made.

private nonisolated func connection(_ data: UnsafeMutableRawPointer?) -> RedisConnection? {
    data.map { Unmanaged<RedisConnection>.fromOpaque($0).takeUnretainedValue() }
}

private nonisolated func addRead(_ data: UnsafeMutableRawPointer?) {
    connection(data)?.change { $0.insert(.readable) }
}

private nonisolated func deleteRead(_ data: UnsafeMutableRawPointer?) {
    connection(data)?.change { $0.remove(.readable) }
}

private nonisolated func addWrite(_ data: UnsafeMutableRawPointer?) {
    connection(data)?.change { $0.insert(.writable) }
}

private nonisolated func deleteWrite(_ data: UnsafeMutableRawPointer?) {
    connection(data)?.change { $0.remove(.writable) }
}

private nonisolated func cleanUp(_ data: UnsafeMutableRawPointer?) {
    connection(data)?.lostContext()
}

private nonisolated func connected(_ context: UnsafePointer<redisAsyncContext>?, _ status: Int32) {
    guard status == REDIS_OK else { return }
    connection(context?.pointee.data)?.logIn()
}

private nonisolated func replied(
    _ context: RedisConnection.Context?, _ reply: UnsafeMutableRawPointer?,
    _: UnsafeMutableRawPointer?
) {
    // Without a reply the context is about to go; what has no answer is told by the connection.
    guard let reply, let connection = connection(context?.pointee.data) else { return }
    connection.answer(RedisReply(reply.assumingMemoryBound(to: redisReply.self)))
}

private nonisolated func messageCame(
    _ context: RedisConnection.Context?, _ reply: UnsafeMutableRawPointer?,
    _: UnsafeMutableRawPointer?
) {
    guard let reply, let connection = connection(context?.pointee.data) else { return }
    connection.message(RedisReply(reply.assumingMemoryBound(to: redisReply.self)))
}
