import TestSupport
import Testing

@testable import EventCore

@Suite struct `Ephemeral events` {
    private static func event(
        _ type: String, _ audience: [String], key: String? = nil, data: String = "1"
    ) -> BridgedEvent {
        BridgedEvent(
            type: type, key: key, audience: audience.compactMap { AudienceLabel($0) },
            data: Array(data.utf8))
    }

    @Test func `a frame has no id, and its data stand on one line`() {
        let block = EphemeralBlock(
            [
                Self.event("a.b", ["*"], key: "k\"", data: "{\n \"x\": 1}"),
                Self.event("c.d.e", ["user:1"]),
            ], time: Timestamp(microseconds: 0))
        let payloads = block.frames.map { String(decoding: block.bytes[$0.payload], as: UTF8.self) }
        #expect(
            payloads == [
                "event: a.b\ndata: {\"type\":\"a.b\",\"topic\":\"a\",\"key\":\"k\\\"\",\"op\":\"publish\","
                    + "\"time\":\"1970-01-01T00:00:00.000000Z\",\"data\":{  \"x\": 1}}\n\n",
                "event: c.d.e\ndata: {\"type\":\"c.d.e\",\"topic\":\"c.d\",\"op\":\"publish\","
                    + "\"time\":\"1970-01-01T00:00:00.000000Z\",\"data\":1}\n\n",
            ])
        for (frame, payload) in zip(block.frames, payloads) {
            let size = String(payload.utf8.count, radix: 16)
            let chunk = String(decoding: block.bytes[frame.chunk], as: UTF8.self)
            #expect(
                chunk == String(repeating: "0", count: 3 - size.count) + size + "\r\n" + payload
                    + "\r\n")
        }
    }

    private final class Listener: HubMember {
        var heard: [String] = []

        override func deliverEphemeral(
            _ frame: EphemeralBlock.Frame, of block: EphemeralBlock, now: MonotonicTime
        ) {
            heard.append(frame.envelope.type)
        }
    }

    private static func listener(
        _ labels: [String], type: String? = nil
    ) throws -> Listener {
        let grants = Grants(labels: Set(labels.compactMap { AudienceLabel($0) }))
        let filter = EventFilter(types: [type].compactMap { $0.flatMap { TypePattern($0) } })
        return Listener(subscription: try Subscription(grants: grants, filter: filter))
    }

    @Test func `it reaches who is live and may see it, and nobody else`() throws {
        let hub = HubShard(ringBytes: 1 << 20)
        let ada = try Self.listener(["user:ada"])
        let bob = try Self.listener(["user:bob"])
        let picky = try Self.listener(["user:ada"], type: "other.*")
        let late = try Self.listener(["user:ada"])
        for member in [ada, bob, picky, late] { hub.join(member) }
        for member in [ada, bob, picky] { hub.goLive(member) }
        hub.receive(
            EphemeralBlock(
                [
                    Self.event("task.tick", ["user:ada"]), Self.event("other.tick", ["*"]),
                    Self.event("task.tock", ["session:ada"]),
                ], time: Timestamp(microseconds: 0)), now: .zero)
        #expect(ada.heard == ["task.tick", "other.tick"])
        #expect(bob.heard == ["other.tick"])
        #expect(picky.heard == ["other.tick"])
        #expect(late.heard == [])
        #expect(hub.ring.head == 0, "it has no place in the log")
    }

    @Test func `who is reached by several labels hears it once`() throws {
        let hub = HubShard(ringBytes: 1 << 20)
        let ada = try Self.listener(["user:ada", "session:1", "context:a"])
        hub.join(ada)
        hub.goLive(ada)
        hub.receive(
            EphemeralBlock(
                [
                    Self.event("task.tick", ["user:ada", "session:1", "*"]),
                    Self.event("task.tock", ["context:a", "context:b", "user:ada"]),
                ], time: Timestamp(microseconds: 0)), now: .zero)
        #expect(ada.heard == ["task.tick", "task.tock"])
    }
}
