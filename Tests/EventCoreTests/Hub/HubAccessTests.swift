import EventCore
import Testing

@Suite struct `Access of what is open` {
    /// Notes when it is told to end.
    private final class Member: HubMember {
        let hub: HubShard
        private(set) var endings = 0

        init(_ hub: HubShard, _ identity: TokenIdentity?) throws {
            self.hub = hub
            let subscription = try Subscription(grants: .all, filter: EventFilter())
            super.init(subscription: subscription, identity: identity)
            hub.join(self)
        }

        override func tokenRevoked(now: MonotonicTime) {
            endings += 1
            hub.leave(self)
        }
    }

    private static let (ann, bob) = (
        TokenIdentity(user: "ann", issuedAt: 10), TokenIdentity(user: "bob", issuedAt: 10)
    )

    @Test func `a revocation ends what is open by its tokens, and nothing else`() throws {
        let hub = HubShard(ringBytes: 0)
        let members = try [Self.ann, Self.bob, nil, Self.ann].map { try Member(hub, $0) }
        var table = RevocationTable()
        table.insert(Revocation(user: "ann", second: 10))
        hub.revoke(by: table, now: .zero)
        #expect(members.map(\.endings) == [1, 0, 0, 1])
        #expect(hub.count == 2)
        #expect(hub.identities == [Self.bob])
    }

    @Test func `a session that is over ends at once, one that nobody knows of after three rounds`()
        throws
    {
        let hub = HubShard(ringBytes: 0)
        let members = try [Self.ann, Self.bob, nil].map { try Member(hub, $0) }
        for answer in [SessionAnswer.unknown, .unknown, .open, .unknown, .unknown] {
            hub.sessionsAnswered([Self.bob: answer], now: .zero)
        }
        #expect(members.map(\.endings) == [0, 0, 0], "an answer begins the count anew")
        hub.sessionsAnswered([Self.ann: .closed, Self.bob: .unknown], now: .zero)
        #expect(members.map(\.endings) == [1, 1, 0])
        hub.sessionsAnswered([Self.ann: .closed], now: .zero)
        #expect(members.map(\.endings) == [1, 1, 0], "who has left is told nothing")
    }
}
