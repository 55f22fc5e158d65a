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

    @Test func `what comes again is passed over`() {
        var reading = PartitionReading(TakenOffset(next: 10, stamp: 77))
        for (offset, verdict) in [
            (9, PartitionReading.Verdict.skip), (10, .take), (11, .take), (9, .skip), (10, .skip),
            (11, .skip), (12, .take),
        ] {
            #expect(reading.received(offset: Int64(offset), stamp: 77) == verdict)
        }
    }

    @Test func `another message at the place shows a topic that was made anew`() {
        var reading = PartitionReading(TakenOffset(next: 10, stamp: 77))
        #expect(reading.received(offset: 9, stamp: 99) == .startOver)
        #expect(reading.received(offset: 0, stamp: 90) == .take)
        #expect(reading.received(offset: 1, stamp: 91) == .take)
    }

    @Test func `so does an end before it, also where nothing more comes`() {
        var reading = PartitionReading(TakenOffset(next: 10, stamp: 77))
        #expect(reading.ends(at: -1001) == .skip, "not known yet")
        #expect(reading.ends(at: 10) == .skip)
        #expect(reading.ends(at: 9) == .startOver)
        #expect(reading.ends(at: 9) == .skip, "said once")
        #expect(reading.received(offset: 0, stamp: 90) == .take)
        // The broker itself began anew, since it had no such offset.
        reading = PartitionReading(TakenOffset(next: 10, stamp: 77))
        #expect(reading.received(offset: 0, stamp: 90) == .take)
        #expect(reading.received(offset: 1, stamp: 91) == .take)
    }

    @Test func `a place that retention took is not missed`() {
        var reading = PartitionReading(TakenOffset(next: 10, stamp: 77))
        #expect(reading.received(offset: 40, stamp: 99) == .take)
        #expect(reading.received(offset: 39, stamp: 99) == .skip)
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
