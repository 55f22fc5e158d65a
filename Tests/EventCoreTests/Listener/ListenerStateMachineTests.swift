import EventCore
import TestSupport
import Testing

@Suite struct `Listener state machine` {
    private typealias Machine = ListenerStateMachine
    private static let second = Duration.seconds(1)

    private static func time(_ milliseconds: Int) -> MonotonicTime {
        MonotonicTime.zero + .milliseconds(milliseconds)
    }

    private static func bounds(
        head: Int64, floor: Int64 = 1, epochs: [(Int64, Int64)] = [(1000, 1)]
    ) throws -> LogBounds {
        let history = try #require(
            EpochHistory(epochs.map { .init(epoch: $0.0, firstPosition: $0.1) }))
        return LogBounds(history: history, head: head, floor: floor)
    }

    /// A machine whose connection stands and is verified, at 0 ms; its status was asked for.
    private static func attached(head: Int64 = 10) throws -> Machine {
        var machine = Machine(timing: .init(batchDelay: .milliseconds(5)))
        #expect(machine.retryTimeReached() == .request(.connect))
        #expect(machine.connected() == .request(.prepare))
        #expect(
            machine.prepared() == .request(.attach),
            "LISTEN is committed before the log is looked at")
        let attached = machine.attached(try bounds(head: head), now: time(0))
        #expect(attached == (head, .request(.probe)))
        #expect(!machine.isVerified)
        #expect(machine.notified(.probe, now: time(0)) == .none, "the probe's answer is under way")
        #expect(machine.isVerified)
        #expect(
            machine.probeReturned(isSound: true, now: time(0), random: 0)
                == .request(.status(claimPump: true)))
        return machine
    }

    /// A pump that is awake since 0 ms, and has found nothing at 0 ms.
    private static func pump(head: Int64 = 10) throws -> Machine {
        var machine = try attached(head: head)
        #expect(
            machine.statusReturned(status(head, holdsPump: true), now: time(0))
                == .request(.advance(releasesGate: false)))
        let advanced = machine.advanceReturned(.nothing, now: time(0))
        #expect(advanced == (false, .wait(until: time(5))))
        return machine
    }

    private static func status(_ head: Int64, waiting: Int? = nil, holdsPump: Bool = false)
        -> Machine.Status
    {
        Machine.Status(head: head, waiting: waiting.map { .milliseconds($0) }, holdsPump: holdsPump)
    }

    /// A pump that is parked, at 25 ms.
    private static func parked() throws -> Machine {
        var machine = try pump()
        for milliseconds in [5, 10, 15, 20] {
            #expect(
                machine.waitEnded(now: time(milliseconds), random: 0)
                    == .request(.advance(releasesGate: false)))
            _ = machine.advanceReturned(.nothing, now: time(milliseconds))
        }
        #expect(
            machine.waitEnded(now: time(25), random: 0) == .request(.advance(releasesGate: false)))
        let quiet = machine.advanceReturned(.nothing, now: time(25))
        #expect(quiet == (false, .request(.claimGate)), "25 ms in which nothing came")
        #expect(!machine.isParked)
        #expect(
            machine.gateClaimReturned(true, now: time(25))
                == .request(.advance(releasesGate: false)),
            "once more, with the gate")
        let last = machine.advanceReturned(.nothing, now: time(25))
        #expect(last == (false, .wait(until: time(1000))))
        #expect(machine.isParked)
        return machine
    }

    @Test func `a follower reads what a tick announces`() throws {
        var machine = try Self.attached()
        #expect(
            machine.statusReturned(Self.status(10), now: Self.time(0))
                == .wait(until: Self.time(1000)))
        #expect(!machine.isPump)
        #expect(
            machine.notified(.wake, now: Self.time(100)) == .wait(until: Self.time(1000)),
            "for the pump")
        #expect(
            machine.notified(.tick(head: 12), now: Self.time(200)) == .request(.read(after: 10)))
        #expect(machine.notified(.tick(head: 13), now: Self.time(201)) == .none)
        let page = machine.pageReturned(last: 12, bounds: (12, 1), now: Self.time(202))
        #expect(page == (false, .request(.read(after: 12))))
        let next = machine.pageReturned(last: 13, bounds: (13, 1), now: Self.time(203))
        #expect(next == (false, .wait(until: Self.time(1000))))
    }

    @Test func `a tick that got lost is made up for by the status`() throws {
        var machine = try Self.attached()
        _ = machine.statusReturned(Self.status(10), now: Self.time(0))
        #expect(
            machine.waitEnded(now: Self.time(1000), random: 0) == .request(.status(claimPump: true))
        )
        #expect(
            machine.statusReturned(Self.status(11), now: Self.time(1000))
                == .request(.read(after: 10)))
    }

    @Test func `the pump hands over what goes on from its head`() throws {
        var machine = try Self.pump()
        _ = machine.waitEnded(now: Self.time(5), random: 0)
        let events = machine.advanceReturned(
            .events(first: 11, last: 13, isFull: false), now: Self.time(6))
        #expect(events == (true, .wait(until: Self.time(11))))
        _ = machine.waitEnded(now: Self.time(11), random: 0)
        let full = machine.advanceReturned(
            .events(first: 14, last: 20, isFull: true), now: Self.time(12))
        #expect(full == (true, .request(.advance(releasesGate: false))), "more is waiting")
    }

    @Test func `what another node sequenced in between is read, in its place`() throws {
        var machine = try Self.pump()
        _ = machine.waitEnded(now: Self.time(5), random: 0)
        let events = machine.advanceReturned(
            .events(first: 15, last: 16, isFull: false), now: Self.time(6))
        #expect(events == (false, .request(.read(after: 10))))
        let page = machine.pageReturned(last: 16, bounds: (16, 1), now: Self.time(7))
        #expect(
            page == (false, .request(.advance(releasesGate: false))),
            "it may have been the last event of a larger batch, with more behind it")
    }

    @Test func `who rescues a backlog goes on through its larger batches`() throws {
        var machine = try Self.attached()
        _ = machine.statusReturned(Self.status(10, waiting: 9000), now: Self.time(0))
        #expect(
            machine.advanceReturned(
                .events(first: 11, last: 1010, isFull: true), now: Self.time(1)
            ).next == .request(.advance(releasesGate: false)))
        // Of 2000 events the last one alone.
        let larger = machine.advanceReturned(
            .events(first: 3010, last: 3010, isFull: false), now: Self.time(2))
        #expect(larger == (false, .request(.read(after: 1010))))
        let page = machine.pageReturned(last: 3010, bounds: (3010, 1), now: Self.time(3))
        #expect(page.next == .request(.advance(releasesGate: false)))
        #expect(
            machine.advanceReturned(.nothing, now: Self.time(4)).next
                == .request(.deposePump(silentFor: .seconds(20))))
    }

    @Test func `a parked pump lets the gate go before it looks`() throws {
        var machine = try Self.parked()
        #expect(
            machine.notified(.wake, now: Self.time(500)) == .request(.advance(releasesGate: true)))
        #expect(machine.notified(.wake, now: Self.time(500)) == .none)
        #expect(!machine.isParked)
        let events = machine.advanceReturned(
            .events(first: 11, last: 11, isFull: false), now: Self.time(502))
        #expect(events == (true, .wait(until: Self.time(507))))
    }

    @Test func `a wake-up that got lost is made up for by the status`() throws {
        var machine = try Self.parked()
        #expect(
            machine.waitEnded(now: Self.time(1000), random: 0)
                == .request(.status(claimPump: false)))
        #expect(
            machine.statusReturned(Self.status(10, waiting: 30), now: Self.time(1000))
                == .request(.advance(releasesGate: true)))
    }

    @Test func `what commits while the gate is being taken is found before parking`() throws {
        var machine = try Self.pump()
        _ = machine.waitEnded(now: Self.time(30), random: 0)
        let quiet = machine.advanceReturned(.nothing, now: Self.time(30))
        #expect(quiet.next == .request(.claimGate))
        _ = machine.gateClaimReturned(true, now: Self.time(31))
        let events = machine.advanceReturned(
            .events(first: 11, last: 11, isFull: false), now: Self.time(32))
        #expect(
            events == (true, .request(.advance(releasesGate: true))),
            "busy again: writers shall not pay for it")
        let rest = machine.advanceReturned(.nothing, now: Self.time(33))
        #expect(rest == (false, .wait(until: Self.time(38))), "awake")
    }

    @Test func `another session at work keeps the pump from parking`() throws {
        var machine = try Self.pump()
        _ = machine.waitEnded(now: Self.time(30), random: 0)
        _ = machine.advanceReturned(.nothing, now: Self.time(30))
        _ = machine.gateClaimReturned(true, now: Self.time(31))
        let busy = machine.advanceReturned(.busy, now: Self.time(32))
        #expect(
            busy == (false, .request(.advance(releasesGate: true))),
            "it may have looked before the gate was shut")
    }

    @Test func `a writer in flight keeps the gate open`() throws {
        var machine = try Self.pump()
        _ = machine.waitEnded(now: Self.time(30), random: 0)
        _ = machine.advanceReturned(.nothing, now: Self.time(30))
        #expect(machine.gateClaimReturned(false, now: Self.time(31)) == .wait(until: Self.time(35)))
        #expect(
            machine.waitEnded(now: Self.time(35), random: 0)
                == .request(.advance(releasesGate: false)))
    }

    /// Lets a follower live for some seconds in which `waiting` says for how long events have waited,
    /// and returns when it sequenced, when it asked for the silent one's end, and when it was stalled.
    /// Sequencing has this outcome every time, or fails.
    private static func live(
        _ machine: inout Machine, seconds: ClosedRange<Int>, outcome: Machine.Advance? = .busy,
        waiting: (Int) -> (head: Int64, milliseconds: Int?)
    ) -> (rescues: [Int], deposals: [Int], stalled: [Int]) {
        var (rescues, deposals, stalled): ([Int], [Int], [Int]) = ([], [], [])
        for second in seconds {
            // A little later each time: what is due a second after an answer is due then.
            let now = time(second * 1001)
            let (head, milliseconds) = waiting(second)
            var action = machine.waitEnded(now: now, random: 0)
            while case .request(let request) = action {
                switch request {
                case .status:
                    action = machine.statusReturned(status(head, waiting: milliseconds), now: now)
                case .advance:
                    rescues.append(second)
                    action =
                        outcome.map { machine.advanceReturned($0, now: now).next }
                        ?? machine.advanceFailed(now: now, random: 0.5)
                case .read:
                    action = machine.pageReturned(last: head, bounds: (head, 1), now: now).next
                case .probe:
                    _ = machine.notified(.probe, now: now)
                    action = machine.probeReturned(isSound: true, now: now, random: 0)
                case .deposePump(let silence):
                    #expect(silence == .seconds(20))
                    deposals.append(second)
                    action = machine.deposeReturned(now: now)
                case .connect, .prepare, .attach, .claimGate:
                    Issue.record("unexpected \(request)")
                    return (rescues, deposals, stalled)
                }
            }
            if machine.isStalled { stalled.append(second) }
        }
        return (rescues, deposals, stalled)
    }

    @Test func `a follower sequences when nobody does, and asks to end who should and is silent`()
        throws
    {
        var machine = try Self.attached()
        _ = machine.statusReturned(Self.status(10), now: Self.time(0))
        let life = Self.live(&machine, seconds: 1...25) { _ in (10, 90_000) }
        #expect(life.rescues == Array(1...25))
        #expect(life.deposals == life.rescues, "whether it has been silent, the server knows")
        #expect(life.stalled == Array(16...25), "15 s after the first look at a head that stands")
    }

    @Test func `one event in a while is enough to find a silent pump`() throws {
        var machine = try Self.attached()
        _ = machine.statusReturned(Self.status(10), now: Self.time(0))
        // Every tenth second an event waits, and is rescued a second later.
        let life = Self.live(&machine, seconds: 1...40, outcome: .nothing) {
            $0 % 10 == 1 ? (10, 1500) : (10, nil)
        }
        #expect(life.rescues == [1, 11, 21, 31])
        #expect(life.deposals == life.rescues)
        #expect(life.stalled.isEmpty)
    }

    @Test func `a pump that was away for a moment keeps its place, though events always wait`()
        throws
    {
        var machine = try Self.attached()
        _ = machine.statusReturned(Self.status(10), now: Self.time(0))
        let life = Self.live(&machine, seconds: 1...60) { second in
            // The head stands for two seconds, and moves ever after.
            (second <= 2 ? 10 : 10 + Int64(second) * 1000, 1200)
        }
        #expect(life.rescues == [1, 2])
        #expect(life.deposals == [1, 2])
        #expect(life.stalled.isEmpty)
    }

    @Test func `a pump whose head moves is at work, however long events wait`() throws {
        var machine = try Self.attached()
        _ = machine.statusReturned(Self.status(10), now: Self.time(0))
        let life = Self.live(&machine, seconds: 1...60) { (10 + Int64($0) * 1000, 90_000) }
        #expect(life.rescues.isEmpty)
        #expect(life.deposals.isEmpty)
        #expect(life.stalled.isEmpty)
    }

    @Test
    func `when sequencing fails the connection stays, and the pump tries again, later and later`()
        throws
    {
        var machine = try Self.pump()
        var (now, delays): (MonotonicTime, [Int64]) = (Self.time(5), [])
        _ = machine.waitEnded(now: now, random: 0)
        for _ in 1...4 {
            let failed = machine.advanceFailed(now: now, random: 0.999)
            guard case .wait(let time) = failed else {
                Issue.record("\(failed)")
                return
            }
            delays.append((time - now).wholeMilliseconds)
            now = time
            if delays.count < 4 {
                #expect(
                    machine.waitEnded(now: now, random: 0)
                        == .request(.advance(releasesGate: false)))
            }
        }
        #expect(delays == [99, 199, 399, 295], "the last is the time of the next status")
        #expect(machine.isAttached)
        #expect(machine.isVerified)
    }

    @Test func `when sequencing fails with the gate held, the gate is let go`() throws {
        var machine = try Self.pump()
        _ = machine.waitEnded(now: Self.time(30), random: 0)
        _ = machine.advanceReturned(.nothing, now: Self.time(30))
        _ = machine.gateClaimReturned(true, now: Self.time(31))
        #expect(
            machine.advanceFailed(now: Self.time(32), random: 0.5)
                == .request(.advance(releasesGate: true)))
        // An unlock is not undone by the failure of the statement that did it.
        #expect(
            machine.advanceFailed(now: Self.time(33), random: 0.5)
                == .wait(until: Self.time(133)))
        #expect(!machine.isParked)
        #expect(
            machine.waitEnded(now: Self.time(133), random: 0)
                == .request(.advance(releasesGate: false)))
        let events = machine.advanceReturned(
            .events(first: 11, last: 11, isFull: false), now: Self.time(134))
        #expect(events == (true, .wait(until: Self.time(139))), "there is room again")
    }

    @Test
    func `a node whose sequencer fails is not ready after a while, and ready when it goes on`()
        throws
    {
        var machine = try Self.pump()
        let life = Self.live(&machine, seconds: 1...30, outcome: nil) { _ in (10, 40_000) }
        #expect(life.stalled == Array(16...30))
        #expect(life.rescues.count > 10, "it goes on trying")
        #expect(machine.isVerified)
        let after = Self.live(&machine, seconds: 31...33) { (10 + Int64($0), 5) }
        #expect(after.stalled.isEmpty)
    }

    @Test func `a proof that is too old is none, though a request is under way`() throws {
        var machine = try Self.pump()
        #expect(machine.verifiedUntil == Self.time(20_000))
        #expect(
            machine.waitEnded(now: Self.time(5), random: 0)
                == .request(.advance(releasesGate: false)))
        machine.verificationExpired(now: Self.time(19_999))
        #expect(machine.isVerified, "another proof has moved the time meanwhile")
        machine.verificationExpired(now: Self.time(20_000))
        #expect(!machine.isVerified)
        #expect(machine.isAttached, "the request has its own time limit")
        // The answer comes after all, and with it the next proof.
        #expect(machine.advanceReturned(.nothing, now: Self.time(21_000)).next == .request(.probe))
        _ = machine.notified(.probe, now: Self.time(21_001))
        #expect(machine.isVerified)
        #expect(machine.verifiedUntil == Self.time(41_001))
    }

    @Test func `a connection that does not hear its own probe is dropped`() throws {
        var machine = try Self.attached()
        _ = machine.statusReturned(Self.status(10), now: Self.time(0))
        for second in 1...9 {
            #expect(
                machine.waitEnded(now: Self.time(second * 1000), random: 0)
                    == .request(.status(claimPump: true)))
            _ = machine.statusReturned(Self.status(10), now: Self.time(second * 1000))
        }
        #expect(machine.waitEnded(now: Self.time(10_000), random: 0) == .request(.probe))
        _ = machine.probeReturned(isSound: true, now: Self.time(10_001), random: 0)
        #expect(machine.isVerified)
        #expect(
            machine.waitEnded(now: Self.time(15_000), random: 0.5)
                == .reconnect(at: Self.time(15_125)))
        #expect(!machine.isVerified)
        #expect(!machine.isAttached)
    }

    @Test func `a session that is not sound is dropped`() throws {
        var machine = try Self.attached()
        _ = machine.statusReturned(Self.status(10), now: Self.time(0))
        _ = machine.waitEnded(now: Self.time(10_000), random: 0)
        #expect(
            machine.probeReturned(isSound: false, now: Self.time(10_001), random: 0)
                == .reconnect(at: Self.time(10_001)))
    }

    @Test func `attempts to connect come later and later`() {
        var machine = Machine(timing: .init(batchDelay: .milliseconds(5)))
        let delays = (0..<8).map { _ in
            #expect(machine.retryTimeReached() == .request(.connect))
            let action = machine.failed(now: Self.time(0), random: 0.999)
            #expect(
                machine.failed(now: Self.time(0), random: 0.999) == .none,
                "the rest of the same connection")
            return action
        }
        let expected = [249, 499, 999, 1998, 3996, 4995, 4995, 4995]
        for (action, milliseconds) in zip(delays, expected) {
            guard case .reconnect(let time) = action else { Issue.record("\(action)"); continue }
            #expect((time - .zero).wholeMilliseconds == milliseconds)
        }
    }

    @Test func `a connection that fails soon after it was attached does not begin anew to count`()
        throws
    {
        var (machine, delays): (Machine, [Int64]) = (try Self.attached(), [])
        for seconds in [1, 1, 1, 60, 1] {
            let now = Self.time(seconds * 1000)
            guard case .reconnect(let time) = machine.failed(now: now, random: 0.999) else {
                Issue.record("it does not connect again")
                return
            }
            delays.append((time - now).wholeMilliseconds)
            _ = machine.retryTimeReached()
            _ = machine.connected()
            _ = machine.prepared()
            _ = machine.attached(try Self.bounds(head: 10), now: Self.time(0))
        }
        #expect(delays == [249, 499, 999, 249, 499])
    }

    @Test(
        arguments: [
            (15, 1, [(1000, 1)], 10), (200_000, 1, [(1000, 1)], 200_000), (15, 12, [(1000, 1)], 15),
            (15, 1, [(1000, 1), (2000, 9)], 15), (15, 1, [(1000, 1), (2000, 10)], 15),
            (15, 1, [(1000, 1), (2000, 11)], 10), (15, 1, [(1000, 1), (2000, 12)], 10),
            (10, 1, [(1000, 1), (2000, 11), (3000, 11)], 10), (8, 1, [(1000, 1)], 8),
            (10, 11, [(1000, 1)], 10),
        ] as [(Int64, Int64, [(Int64, Int64)], Int64)])
    func `after an interruption the node goes on where it was, if that makes sense`(
        head: Int64, floor: Int64, epochs: [(Int64, Int64)], from: Int64
    ) throws {
        var machine = try Self.attached(head: 10)
        _ = machine.failed(now: Self.time(1), random: 0)
        _ = machine.retryTimeReached()
        _ = machine.connected()
        _ = machine.prepared()
        let attached = machine.attached(
            try Self.bounds(head: head, floor: floor, epochs: epochs), now: Self.time(2))
        #expect(attached.head == from)
    }

    @Test func `a page that retention has overtaken makes the node jump`() throws {
        var machine = try Self.attached()
        _ = machine.statusReturned(Self.status(500), now: Self.time(0))
        let page = machine.pageReturned(last: 500, bounds: (600, 300), now: Self.time(1))
        #expect(page.jumped)
        #expect(page.next == .wait(until: Self.time(1000)), "its head is the log's")
    }

    @Test(arguments: [false, true])
    func `a log that ends before what was handed over was replaced under the connection`(
        inStatus: Bool
    ) throws {
        var machine = try Self.attached(head: 10)
        let now = Self.time(1000)
        _ = machine.statusReturned(Self.status(10), now: now)
        if inStatus {
            _ = machine.waitEnded(now: Self.time(2000), random: 0)
            #expect(machine.statusReturned(Self.status(9), now: now) == .reconnect(at: now))
        } else {
            #expect(machine.notified(.tick(head: 12), now: now) == .request(.read(after: 10)))
            let page = machine.pageReturned(last: 10, bounds: (9, 1), now: now)
            #expect(page == (false, .reconnect(at: now)))
        }
        #expect(!machine.isAttached && machine.head == 10, "by which it is known what is void")
    }

    @Test func `another history found elsewhere has it look again`() throws {
        var machine = try Self.attached()
        _ = machine.statusReturned(Self.status(10), now: Self.time(0))
        #expect(
            machine.historyDiffered(now: Self.time(5), random: 0) == .reconnect(at: Self.time(5)))
        #expect(
            machine.historyDiffered(now: Self.time(6), random: 0) == .none, "it does so already")
        _ = machine.retryTimeReached()
        #expect(machine.historyDiffered(now: Self.time(7), random: 0) == .none)
    }

    @Test func `a tick that promises more than there is costs one look`() throws {
        var machine = try Self.attached()
        _ = machine.statusReturned(Self.status(10), now: Self.time(0))
        #expect(
            machine.notified(.tick(head: .max), now: Self.time(1)) == .request(.read(after: 10)))
        let page = machine.pageReturned(last: 11, bounds: (11, 1), now: Self.time(2))
        #expect(page == (false, .wait(until: Self.time(1000))))
        // One that comes while a page is read may be newer than that.
        #expect(
            machine.notified(.tick(head: 12), now: Self.time(3)) == .request(.read(after: 11)))
        #expect(machine.notified(.tick(head: 13), now: Self.time(4)) == .none)
        let short = machine.pageReturned(last: 12, bounds: (12, 1), now: Self.time(5))
        #expect(short == (false, .request(.read(after: 12))))
    }

    @Test func `a machine that has stopped does nothing more`() throws {
        var machine = try Self.pump()
        machine.stopped()
        #expect(machine.notified(.wake, now: Self.time(1)) == .none)
        #expect(machine.waitEnded(now: Self.time(1), random: 0) == .none)
        #expect(machine.failed(now: Self.time(1), random: 0) == .none)
        #expect(machine.retryTimeReached() == .none)
    }
}
