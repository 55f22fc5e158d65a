import EventCore

/// Something that moves events between the log and another system, on a loop that is its own.
protocol Bridge: AnyObject {
    /// Begins. Nothing that is away keeps it from beginning.
    func start()

    /// Takes up nothing more, ends what is under way, and says when that is done.
    func finish(completion: @escaping () -> Void)

    /// Lets everything go. What was not finished is found again by the next that begins.
    func stop()
}

/// A bridge that is to be made on the thread that it will run on.
struct BridgePlan: Sendable {
    let counters: BridgeCounters
    let make: @Sendable (EventLoop) throws -> any Bridge
}

/// The thread of one bridge: whatever the other side does, nothing else waits for it.
final class BridgeThread: Sendable {
    private enum Command: Sendable {
        case finish(within: Duration)
        case stop
    }

    private let control: Mailbox<Command>
    private let thread: LoopThread

    /// - Parameter onEnd: called on the thread when the bridge has ended, or could not begin.
    init(_ plan: BridgePlan, log: Log, onEnd: @escaping @Sendable () -> Void) throws(SystemError) {
        let control = try Mailbox<Command>()
        self.control = control
        thread = try LoopThread(name: "bridge") {
            do {
                try Self.run(plan, control)
                plan.counters.logEnd(to: log)
            } catch {
                log.error(
                    "bridge: not started", ["bridge": plan.counters.name, "error": "\(error)"])
            }
            onEnd()
        }
    }

    /// Takes up nothing more, and ends within this time.
    func finish(within duration: Duration) {
        control.post(.finish(within: duration))
    }

    /// Waits until the bridge has ended, which it was told to do; `now`: without what is under way.
    func join(now: Bool) {
        if now { control.post(.stop) }
        thread.join()
    }

    /// How often the thread says for how long it did not wait.
    private static let busyInterval = Duration.seconds(1)

    private static func run(_ plan: BridgePlan, _ control: Mailbox<Command>) throws {
        let loop = try EventLoop()
        let bridge = try plan.make(loop)
        let deadline = LoopTimer(loop) { [unowned loop] _ in loop.stop() }
        let reader = try MailboxReader(control, on: loop) { [unowned loop] command in
            switch command {
            case .finish(let duration):
                deadline.set(after: duration)
                bridge.finish { loop.stop() }
            case .stop:
                loop.stop()
            }
        }
        var busyTimer: LoopTimer?
        busyTimer = LoopTimer(loop) { [unowned loop] _ in
            plan.counters.busy.set(Int(loop.busy.wholeNanoseconds))
            busyTimer?.set(after: Self.busyInterval)
        }
        busyTimer?.set(after: Self.busyInterval)
        bridge.start()
        withExtendedLifetime((reader, busyTimer)) { loop.run() }
        busyTimer?.cancel()
        busyTimer = nil
        control.close()
        bridge.stop()
    }
}
