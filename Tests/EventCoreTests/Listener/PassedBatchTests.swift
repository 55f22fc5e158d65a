import EventCore
import Testing

/// What a follower does with the batches of other nodes.
@Suite struct `Batches in the listener's state machine` {
    private typealias Machine = ListenerStateMachine

    private static func time(_ milliseconds: Int) -> MonotonicTime {
        MonotonicTime.zero + .milliseconds(milliseconds)
    }

    /// A follower with head 10 whose status came at 0 ms and found another pump.
    private static func follower(expectsBatches: Bool = true) throws -> Machine {
        var machine = Machine(timing: .init(batchDelay: .milliseconds(5)))
        _ = machine.retryTimeReached()
        _ = machine.connected()
        _ = machine.prepared()
        let history = try #require(EpochHistory([.init(epoch: 1000, firstPosition: 1)]))
        let bounds = LogBounds(history: history, head: 10, floor: 1)
        #expect(machine.attached(bounds, now: time(0)).next == .request(.probe))
        _ = machine.notified(.probe, now: time(0))
        _ = machine.probeReturned(isSound: true, now: time(0), random: 0)
        let status = Machine.Status(head: 10, waiting: nil, holdsPump: false)
        #expect(machine.statusReturned(status, now: time(0)) == .wait(until: time(1000)))
        _ = machine.batchesExpected(expectsBatches, now: time(0))
        return machine
    }

    @Test func `a batch that goes on from the head saves the query`() throws {
        var machine = try Self.follower()
        #expect(
            machine.notified(.tick(head: 12), now: Self.time(100)) == .wait(until: Self.time(150)))
        let batch = machine.batchArrived(first: 11, last: 12, now: Self.time(101))
        #expect(batch == (10, .wait(until: Self.time(1000))))
        #expect(machine.head == 12)
    }

    @Test func `a batch may come before its tick`() throws {
        var machine = try Self.follower()
        #expect(machine.batchArrived(first: 11, last: 12, now: Self.time(100)).deliverAfter == 10)
        #expect(
            machine.notified(.tick(head: 12), now: Self.time(101)) == .wait(until: Self.time(1000)))
    }

    @Test func `a batch that does not come in time is read`() throws {
        var machine = try Self.follower()
        _ = machine.notified(.tick(head: 12), now: Self.time(100))
        #expect(machine.waitEnded(now: Self.time(149), random: 0) == .wait(until: Self.time(150)))
        #expect(
            machine.notified(.tick(head: 13), now: Self.time(149)) == .wait(until: Self.time(150)),
            "another tick is no reason to wait longer")
        #expect(
            machine.waitEnded(now: Self.time(150), random: 0) == .request(.read(after: 10)))
    }

    @Test func `what still lies ahead of a batch gets its own time`() throws {
        var machine = try Self.follower()
        _ = machine.notified(.tick(head: 14), now: Self.time(100))
        let batch = machine.batchArrived(first: 11, last: 12, now: Self.time(140))
        #expect(batch == (10, .wait(until: Self.time(190))))
    }

    @Test func `a gap is read at once, and its batch with it`() throws {
        var machine = try Self.follower()
        let batch = machine.batchArrived(first: 13, last: 14, now: Self.time(100))
        #expect(batch == (nil, .request(.read(after: 10))))
        let page = machine.pageReturned(last: 14, bounds: (14, 1), now: Self.time(101))
        #expect(page == (false, .wait(until: Self.time(1000))))
    }

    @Test func `a page that is not the last is followed by the next at once`() throws {
        var machine = try Self.follower()
        _ = machine.batchArrived(first: 13, last: 14, now: Self.time(100))
        let page = machine.pageReturned(last: 12, bounds: (14, 1), now: Self.time(101))
        #expect(page == (false, .request(.read(after: 12))))
    }

    @Test
    func `a batch that arrives while a page is read is handed over, and the page's part is not`()
        throws
    {
        var machine = try Self.follower(expectsBatches: false)
        #expect(
            machine.notified(.tick(head: 12), now: Self.time(100)) == .request(.read(after: 10)))
        let batch = machine.batchArrived(first: 11, last: 13, now: Self.time(101))
        #expect(batch == (10, .none))
        #expect(machine.head == 13)
        let page = machine.pageReturned(last: 12, bounds: (12, 1), now: Self.time(102))
        #expect(page == (false, .wait(until: Self.time(1000))))
        #expect(machine.head == 13, "it does not go back")
    }

    @Test func `a batch that overtakes an answer is no older copy of the log`() throws {
        var machine = try Self.follower()
        #expect(
            machine.waitEnded(now: Self.time(1000), random: 0)
                == .request(.status(claimPump: true)))
        #expect(machine.batchArrived(first: 11, last: 12, now: Self.time(1001)) == (10, .none))
        let overtaken = Machine.Status(head: 10, waiting: nil, holdsPump: false)
        #expect(
            machine.statusReturned(overtaken, now: Self.time(1002)) == .wait(until: Self.time(2002))
        )
        _ = machine.waitEnded(now: Self.time(2002), random: 0)
        guard case .reconnect = machine.statusReturned(overtaken, now: Self.time(2003)) else {
            Issue.record("less than there was when it was asked")
            return
        }
    }

    @Test(arguments: [(9, 10), (10, 10), (1, 3)])
    func `a batch that is known changes nothing`(first: Int64, last: Int64) throws {
        var machine = try Self.follower()
        let batch = machine.batchArrived(first: first, last: last, now: Self.time(100))
        #expect(batch == (nil, .wait(until: Self.time(1000))))
        #expect(machine.head == 10)
    }

    @Test func `a batch that overlaps is taken from the head on`() throws {
        var machine = try Self.follower()
        #expect(machine.batchArrived(first: 8, last: 12, now: Self.time(100)).deliverAfter == 10)
        #expect(machine.head == 12)
    }

    @Test func `without a stream to expect them from nothing is waited for`() throws {
        var machine = try Self.follower()
        _ = machine.notified(.tick(head: 12), now: Self.time(100))
        #expect(
            machine.batchesExpected(false, now: Self.time(110)) == .request(.read(after: 10)))
    }

    @Test func `a node that is not attached takes no batch`() throws {
        var machine = try Self.follower()
        _ = machine.failed(now: Self.time(50), random: 0)
        #expect(machine.batchArrived(first: 11, last: 12, now: Self.time(100)) == (nil, .none))
        #expect(machine.head == 10)
    }

    @Test func `the pump waits for nobody's batch`() throws {
        var machine = try Self.follower()
        _ = machine.waitEnded(now: Self.time(1000), random: 0)
        let status = Machine.Status(head: 12, waiting: nil, holdsPump: true)
        #expect(machine.statusReturned(status, now: Self.time(1000)) == .request(.read(after: 10)))
    }
}
