import EventCore
import Testing

@testable import EventService

@Suite struct `Rounds of session checks` {
    private final class Member: HubMember {
        private let onEnd: () -> Void

        init(_ hub: HubShard, session: String, onEnd: @escaping () -> Void) throws {
            self.onEnd = onEnd
            let subscription = try Subscription(grants: .all, filter: EventFilter())
            super.init(subscription: subscription, identity: TokenIdentity(session: session))
            hub.join(self)
        }

        override func tokenRevoked(now: MonotonicTime) { onEnd() }
    }

    @Test func `a round that is not answered in time is one without an answer`() throws {
        let loop = try EventLoop()
        let hub = HubShard(ringBytes: 0)
        var configuration = Configuration()
        configuration.sessionCheck = SQLName("app.check")
        configuration.sessionCheckInterval = .milliseconds(1)
        // Nobody takes the calls.
        let calls = try Mailbox<LogCall>()
        let client = LogClient(calls: calls, replies: try Mailbox<WorkerMessage>())
        let checks = SessionChecks(
            configuration, loop: loop, hub: hub, client: client,
            log: Log(level: .error, format: .text), patience: .milliseconds(5))
        var endings = 0
        let member = try Member(hub, session: "s") {
            endings += 1
            loop.stop()
        }
        let tooLong = LoopTimer(loop) { _ in loop.stop() }
        tooLong.set(after: .seconds(20))
        withExtendedLifetime((checks, member)) {
            loop.run()
            #expect(endings == 1, "after three rounds")
            client.received(.access(.checked([.unknown])), number: 1)
            #expect(endings == 1, "that nobody knows was noted")
            client.received(.access(.checked([.closed])), number: 2)
            #expect(endings == 2, "an answer that comes late is one")
        }
    }
}
