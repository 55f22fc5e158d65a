import EventCore
import Testing

@Suite struct `Repeat limit` {
    private static func time(_ milliseconds: Int64) -> MonotonicTime {
        MonotonicTime(nanoseconds: milliseconds * 1_000_000)
    }

    @Test func `what comes too often is counted, and the next line says how much that was`() {
        var limit = RepeatLimit(most: 2, length: .seconds(1))
        #expect(limit.arrived("a", now: Self.time(0)) == .write(leftOut: 0))
        #expect(limit.arrived("a", now: Self.time(1)) == .write(leftOut: 0))
        #expect(limit.arrived("a", now: Self.time(2)) == .leaveOut)
        #expect(limit.arrived("a", now: Self.time(999)) == .leaveOut)
        #expect(limit.arrived("a", now: Self.time(1000)) == .write(leftOut: 2))
        #expect(limit.arrived("a", now: Self.time(1001)) == .write(leftOut: 0))
        #expect(limit.arrived("a", now: Self.time(1002)) == .leaveOut)
    }

    @Test func `one message does not use up what another may`() {
        var limit = RepeatLimit(most: 1, length: .seconds(1))
        #expect(limit.arrived("a", now: Self.time(0)) == .write(leftOut: 0))
        #expect(limit.arrived("b", now: Self.time(0)) == .write(leftOut: 0))
        #expect(limit.arrived("a", now: Self.time(5)) == .leaveOut)
    }

    @Test func `what comes now and then is never left out`() {
        var limit = RepeatLimit()
        for second in 0..<100 {
            #expect(limit.arrived("a", now: Self.time(Int64(second) * 1500)) == .write(leftOut: 0))
        }
    }
}
