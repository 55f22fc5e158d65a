import TestSupport
import Testing

@testable import EventCore

@Suite struct `Batches that are passed on` {
    private static func event(_ position: Int64, key: String? = "k") -> Event {
        Event(
            EventEnvelope(
                position: position, eventID: position * 10, time: Timestamp(microseconds: -5),
                operation: .leave, conflates: position % 2 == 0, type: "a.b", key: key,
                audience: [.everyone, AudienceLabel(unchecked: "user:é")],
                hiddenFrom: position == 3 ? [AudienceLabel(unchecked: "user:x")] : [],
                traceParent: position == 6 ? trace : nil),
            data: Array("{\"n\":\(position)}".utf8))
    }

    private static let trace = TraceParent(
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")

    private static let batch = SequencedBatch(
        [event(3), event(4, key: nil), event(6)], first: 3, last: 7)

    private static func describe(_ batch: SequencedBatch?) -> String {
        batch.map { "\($0.first)…\($0.last) \($0.events)" } ?? "none"
    }

    @Test func `what is written is read`() {
        let read = SequencedBatch(Self.batch.encoded)
        #expect(Self.describe(read) == Self.describe(Self.batch))
        let empty = SequencedBatch([], first: 1, last: 1)
        #expect(Self.describe(SequencedBatch(empty.encoded)) == Self.describe(empty))
    }

    @Test func `what is cut off anywhere is no batch, and nothing traps`() {
        let bytes = Self.batch.encoded
        for length in 0..<bytes.count {
            // Between two events it is a shorter one, which the numbers at its head still cover.
            let read = SequencedBatch(Array(bytes[..<length]))
            #expect(read == nil || (read?.events.count ?? 9) < 3)
        }
    }

    @Test func `a position behind which there is none is none`() {
        let bytes = SequencedBatch([], first: 1, last: .max).encoded
        #expect(SequencedBatch(bytes) == nil)
    }

    @Test func `bytes that lie trap nothing`() {
        var random = SeededGenerator(seed: 7)
        for _ in 0..<20_000 {
            var bytes = Self.batch.encoded
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(
                    in: 0...255, using: &random)
            }
            if let read = SequencedBatch(bytes) {
                #expect(
                    read.events.allSatisfy {
                        (read.first...read.last).contains($0.envelope.position)
                    })
            }
        }
    }

    @Test(arguments: [
        (2, "3…7 [3, 4, 6]"), (3, "4…7 [4, 6]"), (5, "6…7 [6]"), (6, "7…7 []"), (7, "none"),
        (9, "none"),
    ])
    func `what a node has already is left out`(position: Int64, rest: String) {
        let batch = Self.batch.after(position)
        let text =
            batch.map { "\($0.first)…\($0.last) \($0.events.map(\.envelope.position))" } ?? "none"
        #expect(text == rest)
    }
}
