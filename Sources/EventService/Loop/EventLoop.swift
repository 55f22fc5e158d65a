import CLinux
import EventCore
import Glibc

/// What a descriptor is ready for, or is watched for.
struct Readiness: OptionSet {
    let rawValue: UInt32

    static let readable = Readiness(rawValue: EPOLLIN.rawValue)
    static let writable = Readiness(rawValue: EPOLLOUT.rawValue)
    /// The peer has closed its side.
    static let hangUp = Readiness(rawValue: EPOLLRDHUP.rawValue)
    /// The whole connection is gone; reported unasked.
    static let broken = Readiness(rawValue: EPOLLHUP.rawValue | EPOLLERR.rawValue)
}

/// Something that acts when a descriptor is ready.
protocol ReadinessHandler: AnyObject {
    /// The descriptor is ready for these.
    func ready(_ readiness: Readiness)
}

/// One thread's loop over epoll and timers.
///
/// Everything that a loop holds belongs to its thread; only mailboxes bring something in from outside.
/// The user data of a registration is its number and the descriptor, so that an event that was
/// collected before the descriptor was closed and given out again finds another number and is dropped.
/// Level-triggered: a handler that leaves something is called again.
final class EventLoop {
    private struct Registration {
        var number: UInt32
        var handler: (any ReadinessHandler)?
    }

    private let epoll: FileDescriptor
    private var registrations: [Registration] = []
    private var lastNumber: UInt32 = 0
    private var timers = TimerQueue()
    private var isRunning = false

    /// When the loop last woke; fresh enough for everything that is done before it waits again.
    private(set) var now = MonotonicClock.now()
    private var busyNanoseconds: Int64 = 0
    /// For how long the loop has not waited.
    var busy: Duration { .nanoseconds(busyNanoseconds) }
    /// How many descriptors are registered.
    private(set) var registrationCount = 0
    /// How many timers are set.
    var timerCount: Int { timers.count }

    init() throws(SystemError) {
        let number = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard number >= 0 else { throw SystemError("epoll_create1") }
        epoll = FileDescriptor(owning: number)
    }

    // MARK: Descriptors

    /// Calls `handler` whenever the descriptor is ready for what is watched.
    func register(
        _ descriptor: Int32, for interest: Readiness, handler: any ReadinessHandler
    ) throws(SystemError) {
        let index = Int(descriptor)
        while registrations.count <= index {
            registrations.append(Registration(number: 0, handler: nil))
        }
        lastNumber &+= 1
        try control(EPOLL_CTL_ADD, descriptor, interest, number: lastNumber)
        registrations[index] = Registration(number: lastNumber, handler: handler)
        registrationCount += 1
    }

    /// Changes what is watched; `false` if the descriptor is not registered, or was closed since.
    @discardableResult
    func update(_ descriptor: Int32, to interest: Readiness) -> Bool {
        do {
            try control(
                EPOLL_CTL_MOD, descriptor, interest, number: registrations[Int(descriptor)].number)
            return true
        } catch {
            return false
        }
    }

    /// Ends the registration; to be called before the descriptor is closed.
    func deregister(_ descriptor: Int32) {
        let index = Int(descriptor)
        guard index < registrations.count, registrations[index].handler != nil else { return }
        registrations[index].handler = nil
        registrationCount -= 1
        epoll_ctl(epoll.number, EPOLL_CTL_DEL, descriptor, nil)
    }

    private func control(
        _ operation: Int32, _ descriptor: Int32, _ interest: Readiness, number: UInt32
    ) throws(SystemError) {
        var event = epoll_event()
        event.events = interest.rawValue
        event.data.u64 = UInt64(number) << 32 | UInt64(UInt32(descriptor))
        guard epoll_ctl(epoll.number, operation, descriptor, &event) == 0 else {
            throw SystemError("epoll_ctl")
        }
    }

    // MARK: Timers

    /// Sets or moves the timer of a handler.
    func setTimer(_ handler: any TimerHandler, at deadline: MonotonicTime) {
        timers.set(handler, at: deadline)
    }

    /// Takes back the timer of a handler.
    func cancelTimer(_ handler: any TimerHandler) {
        timers.cancel(handler)
    }

    // MARK: Running

    /// Runs until `stop()` is called from within.
    func run() {
        isRunning = true
        withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: 512) { events in
            while isRunning { turn(events) }
        }
    }

    /// Lets `run()` return once the present turn is done.
    func stop() {
        isRunning = false
    }

    private func turn(_ events: UnsafeMutableBufferPointer<epoll_event>) {
        let idleSince = MonotonicClock.now()
        busyNanoseconds &+= idleSince.nanoseconds - now.nanoseconds
        let count = epoll_wait(
            epoll.number, events.baseAddress, Int32(events.count),
            millisecondsToWait(since: idleSince))
        now = MonotonicClock.now()
        // A negative count is EINTR: a signal, after which the loop simply waits again.
        for event in events.prefix(Int(max(count, 0))) {
            let descriptor = Int(event.data.u64 & 0xFFFF_FFFF)
            let number = UInt32(truncatingIfNeeded: event.data.u64 >> 32)
            let registration = registrations[descriptor]
            guard registration.number == number, let handler = registration.handler else {
                continue
            }
            handler.ready(Readiness(rawValue: event.events))
        }
        while let handler = timers.popDue(now: now) { handler.timerFired(now: now) }
    }

    private func millisecondsToWait(since idleSince: MonotonicTime) -> Int32 {
        guard let deadline = timers.nextDeadline else { return -1 }
        let nanoseconds = deadline.nanoseconds - idleSince.nanoseconds
        // Rounded up: a turn that comes too early would find nothing due and wait for 0 ms.
        return Int32(clamping: max(0, (nanoseconds + 999_999) / 1_000_000))
    }
}

/// A timer that is not its owner's only one.
final class LoopTimer: TimerHandler {
    var timerIndex = -1
    private unowned let loop: EventLoop
    private let action: (MonotonicTime) -> Void

    init(_ loop: EventLoop, _ action: @escaping (MonotonicTime) -> Void) {
        self.loop = loop
        self.action = action
    }

    /// Sets or moves the timer.
    func set(at deadline: MonotonicTime) {
        loop.setTimer(self, at: deadline)
    }

    /// Sets or moves the timer.
    func set(after duration: Duration) {
        loop.setTimer(self, at: loop.now + duration)
    }

    /// Whether it is still to come.
    var isSet: Bool { timerIndex >= 0 }

    /// Takes the timer back.
    func cancel() {
        loop.cancelTimer(self)
    }

    func timerFired(now: MonotonicTime) {
        action(now)
    }
}
