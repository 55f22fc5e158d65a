import EventCore
import Testing

@Suite struct `Ends of streams` {
    /// A peer that takes so many bytes and then no more.
    private final class Peer: StreamSink, StreamTransport {
        private var room: Int
        private var queue: [UInt8] = []
        private(set) var taken: [UInt8] = []
        /// Whether the connection was to end after what is queued; one for each time.
        private(set) var endings: [Bool] = []

        init(room: Int) {
            self.room = room
        }

        var unsentBytes: Int { queue.count }

        func enqueue(_ bytes: [UInt8]) {
            queue += bytes
        }

        func enqueue(_ bytes: SharedBytes, _ range: Range<Int>) {
            Issue.record("no event is sent here")
        }

        func send(_ bytes: SharedBytes, _ range: Range<Int>) -> Int? { flush() }

        func flush() -> Int? {
            let count = min(room, queue.count)
            taken += queue.prefix(count)
            queue.removeFirst(count)
            room -= count
            return count
        }

        func requestPage(
            _ request: PageRequest, completion: @escaping (LogPage?, MonotonicTime) -> Void
        ) {}

        func deadlineMoved() {}

        func noted(_ note: StreamNote) {}

        func end(afterQueue: Bool) {
            endings.append(afterQueue)
        }
    }

    private static func end(_ reason: DisconnectReason, room: Int) throws -> Peer {
        let peer = Peer(room: room)
        let settings = StreamSettings(
            idle: IdlePolicy(heartbeat: .seconds(15)), maximumBacklog: 1000,
            slowGrace: .seconds(30))
        let session = StreamSession(
            sink: peer, transport: peer, hub: HubShard(ringBytes: 0), settings: settings,
            subscription: try Subscription(grants: .all, filter: EventFilter()), gap: .head,
            isChunked: false, start: try #require(Cursor("1-1")),
            endsAt: .zero + .seconds(60), endReason: reason, retryMilliseconds: 500, now: .zero)
        switch reason {
        case .lifetime, .expired: session.timeReached(now: .zero + .seconds(60))
        case .revoked: session.tokenRevoked(now: .zero)
        case .slow, .shutdown: session.end(reason, now: .zero)
        }
        return peer
    }

    /// What waits for a peer that does not read is dropped, where the right to it is gone.
    @Test(arguments: DisconnectReason.allCases)
    func `a stream that may not go on does not wait for its queue`(reason: DisconnectReason) throws
    {
        let waits = [DisconnectReason.lifetime, .shutdown].contains(reason)
        #expect(try Self.end(reason, room: 10).endings == [waits])
        let reader = try Self.end(reason, room: 1000)
        #expect(reader.endings == [true], "the end frame has gone, so has the queue")
        if !waits {
            let text = String(decoding: reader.taken, as: UTF8.self)
            #expect(text.hasSuffix("data: {\"reason\":\"\(reason.rawValue)\"}\n\n"))
        }
    }
}
