import Testing

@testable import EventCore

@Suite struct `Reading of a partition` {
    @Test func `a partition that was never read begins where the group stands`() {
        var reading = PartitionReading(nil)
        #expect(reading.start == .group)
        #expect(reading.received(offset: 7, stamp: 1) == .take)
        #expect(reading.next == 8)
        #expect(reading.received(offset: 9, stamp: 1) == .take, "offsets may have gaps")
    }

    @Test func `it goes on behind the message that the database remembers`() {
        var reading = PartitionReading(TakenOffset(next: 10, stamp: 77))
        #expect(reading.start == .offset(9))
        #expect(reading.received(offset: 9, stamp: 77) == .skip)
        #expect(reading.received(offset: 10, stamp: 78) == .take)
    }

    @Test func `offsets that go back are looked into before anything is taken`() {
        var reading = PartitionReading(TakenOffset(next: 10, stamp: 77))
        #expect(reading.received(offset: 9, stamp: 77) == .skip)
        #expect(reading.received(offset: 10, stamp: 78) == .take)
        #expect(reading.received(offset: 11, stamp: 79) == .take)
        // The same topic: nothing comes twice.
        #expect(reading.received(offset: 9, stamp: 77) == .lookAgain(at: 11))
        #expect(reading.start == .offset(11))
        #expect(reading.received(offset: 11, stamp: 79) == .skip)
        #expect(reading.received(offset: 12, stamp: 80) == .take)
        // One that was made anew while it was read, and has not as much.
        #expect(reading.received(offset: 0, stamp: 90) == .lookAgain(at: 12))
        #expect(reading.received(offset: 0, stamp: 90) == .take)
        #expect(reading.received(offset: 1, stamp: 91) == .take)
        // And one that has by now.
        #expect(reading.received(offset: 0, stamp: 95) == .lookAgain(at: 1))
        #expect(reading.received(offset: 1, stamp: 96) == .startOver)
        #expect(reading.received(offset: 0, stamp: 95) == .take)
    }

    @Test func `offsets that go back are passed over where nothing is known to look for`() {
        var reading = PartitionReading(nil)
        reading.sought(5)
        #expect(reading.received(offset: 3, stamp: 1) == .skip)
        #expect(reading.received(offset: 5, stamp: 1) == .take)
    }

    @Test func `what another node has taken in is passed over`() {
        var reading = PartitionReading(TakenOffset(next: 10, stamp: 77))
        #expect(reading.received(offset: 9, stamp: 77) == .skip)
        #expect(reading.received(offset: 10, stamp: 78) == .take)
        reading.overtaken(13)
        #expect(reading.received(offset: 11, stamp: 79) == .skip)
        #expect(reading.received(offset: 12, stamp: 80) == .skip)
        #expect(reading.received(offset: 13, stamp: 81) == .take)
        reading.overtaken(14)
        reading.overtaken(2)
        #expect(reading.next == 14, "it is further already")
    }

    @Test func `another message at the place shows a topic that was made anew`() {
        var reading = PartitionReading(TakenOffset(next: 10, stamp: 77))
        #expect(reading.received(offset: 9, stamp: 99) == .startOver)
        #expect(reading.received(offset: 0, stamp: 90) == .take)
        #expect(reading.received(offset: 1, stamp: 91) == .take)
    }

    private static func time(_ seconds: Int) -> MonotonicTime { .zero + .seconds(seconds) }

    @Test func `so does an end before it that stays, also where nothing more comes`() {
        var reading = PartitionReading(TakenOffset(next: 10, stamp: 77))
        #expect(reading.timePassed(now: Self.time(99)) == false, "nothing is known of an end")
        reading.ended(at: 10, now: Self.time(100))
        #expect(reading.timePassed(now: Self.time(199)) == false, "where it should be")
        reading.ended(at: 9, now: Self.time(200))
        reading.ended(at: 9, now: Self.time(205))
        #expect(reading.timePassed(now: Self.time(209)) == false)
        #expect(reading.timePassed(now: Self.time(210)) == true)
        #expect(reading.timePassed(now: Self.time(300)) == false, "said once")
        #expect(reading.received(offset: 0, stamp: 90) == .take)
        // The broker itself began anew, since it had no such offset.
        reading = PartitionReading(TakenOffset(next: 10, stamp: 77))
        #expect(reading.received(offset: 0, stamp: 90) == .take)
        #expect(reading.received(offset: 1, stamp: 91) == .take)
    }

    /// A broker that has just become the leader, or one that was asked before the other node read on.
    @Test func `an early end that a message refutes shows nothing`() {
        var reading = PartitionReading(TakenOffset(next: 10, stamp: 77))
        reading.ended(at: 9, now: Self.time(0))
        #expect(reading.received(offset: 9, stamp: 77) == .skip)
        #expect(reading.timePassed(now: Self.time(60)) == false)
        #expect(reading.received(offset: 10, stamp: 78) == .take)
        reading.ended(at: 5, now: Self.time(70))
        #expect(reading.timePassed(now: Self.time(99)) == false, "it reads already")
    }

    @Test func `nor does one behind which nothing is fetched`() {
        var reading = PartitionReading(TakenOffset(next: 10, stamp: 77))
        reading.ended(at: 9, now: Self.time(0))
        reading.paused()
        #expect(reading.timePassed(now: Self.time(60)) == false)
        reading.ended(at: 9, now: Self.time(60))
        #expect(reading.timePassed(now: Self.time(70)) == true)
    }

    @Test func `a place that retention took is not missed`() {
        var reading = PartitionReading(TakenOffset(next: 10, stamp: 77))
        #expect(reading.received(offset: 40, stamp: 99) == .take)
        #expect(reading.next == 41)
    }

    @Test func `it is read from where it is told to`() {
        var reading = PartitionReading(nil)
        #expect(reading.received(offset: 20, stamp: 1) == .take)
        reading.sought(5)
        #expect(reading.start == .offset(5))
        #expect(reading.received(offset: 5, stamp: 1) == .take)
        reading.sought(nil)
        #expect(reading.received(offset: 0, stamp: 1) == .take)
    }
}
