import EventCore
import Testing

/// Remembers of which forks it heard.
private final class Listener: HubMember {
    private(set) var forks: [Int64] = []
    private(set) var cuts: [Int64] = []

    override func historyForked(at position: Int64, head: Int64, now: MonotonicTime) {
        forks.append(position)
    }

    override func ringWasCut(at head: Int64, now: MonotonicTime) {
        cuts.append(head)
    }
}

@Suite struct `A loop's hub` {
    private static func bounds(_ head: Int64, _ epochs: (Int64, Int64)...) throws -> LogBounds {
        let history = EpochHistory(epochs.map { .init(epoch: $0.0, firstPosition: $0.1) })
        return LogBounds(history: try #require(history), head: head, floor: 1)
    }

    /// A hub whose ring holds the positions 11 to 20.
    private static func hub() throws -> (HubShard, Listener) {
        let hub = HubShard(ringBytes: 1 << 20)
        hub.logIs(try bounds(10, (1000, 1)), fork: nil, now: .zero)
        hub.receive(FrameBlock(EncodedBatch(first: 11, last: 20)), now: .zero)
        let member = Listener(
            subscription: try Subscription(grants: .all, filter: EventFilter()))
        hub.join(member)
        return (hub, member)
    }

    @Test(
        arguments: [
            // The node's head, the fork; where the ring begins then.
            (20, 21, 10), (20, 30, 10), (20, 20, 20), (15, 16, 15), (25, 26, 25), (5, 6, 5),
        ] as [(Int64, Int64, Int64)])
    func `a fork voids the ring only if it lies within, and every member hears of it`(
        head: Int64, fork: Int64, low: Int64
    ) throws {
        let (hub, member) = try Self.hub()
        hub.logIs(try Self.bounds(head, (1000, 1), (2000, fork)), fork: fork, now: .zero)
        #expect(hub.ring.low == low)
        #expect(hub.ring.head == head)
        #expect(hub.bounds?.history.newestEpoch == 2000)
        #expect(member.forks == [fork])
        #expect(member.cuts == [])
    }

    @Test func `a block counts what its labels take`() throws {
        let labels = (0..<500).compactMap { AudienceLabel("user:0000-1111-2222-3333-\($0)") }
        let envelope = EventEnvelope(
            position: 1, eventID: 1, time: Timestamp(microseconds: 0), operation: .publish,
            type: "a.b", key: String(repeating: "k", count: 1000), audience: labels)
        let text = labels.reduce(0) { $0 + $1.text.utf8.count }
        let epochs = try #require(EpochHistory([.init(epoch: 1000, firstPosition: 1)]))
        let batch = EventEncoder(maximumBytes: 1000).encode(
            [Event(envelope, data: Array("1".utf8))], history: epochs, first: 1, last: 1)
        #expect(FrameBlock(batch).byteCount > text + 500 * 16 + 1000)
        #expect(FrameBlock(batch).byteCount < 3 * text)
    }

    @Test func `bounds that only move leave the ring, those of another head cut it`() throws {
        let (hub, member) = try Self.hub()
        hub.logIs(try Self.bounds(20, (1000, 1)), fork: nil, now: .zero)
        #expect(hub.ring.low == 10)
        #expect(member.cuts == [])
        hub.logIs(try Self.bounds(30, (1000, 1)), fork: nil, now: .zero)
        #expect(hub.ring.low == 30)
        #expect(member.cuts == [20])
        #expect(member.forks == [])
    }
}
