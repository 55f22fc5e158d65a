import EventCore
import Testing

@Suite struct `Stream locator` {
    private static func bounds(
        head: Int64, floor: Int64, epochs: [(Int64, Int64)] = [(1000, 1)]
    ) throws -> LogBounds {
        let history = try #require(
            EpochHistory(epochs.map { .init(epoch: $0.0, firstPosition: $0.1) }))
        return LogBounds(history: history, head: head, floor: floor)
    }

    private static func locator(
        _ request: StartRequest, gap: GapPolicy = .head
    ) throws -> StreamLocator {
        StreamLocator(
            request, gap: gap,
            subscription: try Subscription(grants: .all, filter: EventFilter()))
    }

    private static func page(floor: Int64, scanned: Int64, head: Int64) -> LogPage {
        LogPage(
            head: head, floor: floor, scanned: scanned,
            block: FrameBlock(EncodedBatch(first: scanned + 1, last: scanned)))
    }

    /// Begins at a node whose ring holds 100…200 and whose floor is 50, and says what comes of it.
    private static func begin(_ request: StartRequest) throws -> String {
        var locator = try locator(request)
        let step = locator.begin(
            hub: try bounds(head: 200, floor: 50), ringLow: 99, ringHead: 200)
        return switch step {
        case .found(let start, _, _): "at \(start.position) \(start.resumed.rawValue)"
        case .askBounds(nil): "ask"
        case .askBounds: "ask for a time"
        case .readPage(let request): "read \(request)"
        case .unavailable: "unavailable"
        }
    }

    @Test(
        arguments: [
            (.now, "at 200 fresh"), (.malformed("x"), "at 200 gap"),
            (.after(Cursor(epoch: 1000, position: 99)), "at 99 complete"),
            (.after(Cursor(epoch: 1000, position: 200)), "at 200 complete"),
            (.after(Cursor(epoch: 1000, position: 98)), "read shared(after: 98, until: 99)"),
            (.after(Cursor(epoch: 1000, position: 49)), "read shared(after: 49, until: 99)"),
            (.earliest, "read shared(after: 49, until: 99)"),
            // The node's head, floor and history may be old: the database decides.
            (.after(Cursor(epoch: 1000, position: 201)), "ask"),
            (.after(Cursor(epoch: 1000, position: 48)), "ask"),
            (.after(Cursor(epoch: 999, position: 150)), "ask"),
            (.after(Cursor(epoch: 1001, position: 150)), "ask"),
            (.time(Timestamp(microseconds: 0)), "ask for a time"),
        ] as [(StartRequest, String)])
    func `what the node knows needs nobody else`(request: StartRequest, step: String) throws {
        #expect(try Self.begin(request) == step)
    }

    @Test func `a node that is not attached begins nothing`() throws {
        var locator = try Self.locator(.now)
        guard case .unavailable = locator.begin(hub: nil, ringLow: 0, ringHead: 0) else {
            Issue.record("a stream without a log")
            return
        }
    }

    @Test func `a floor that has risen since is told with the first page`() throws {
        let known = try Self.bounds(head: 200, floor: 50)
        for (request, gap, position, reset) in [
            (.after(Cursor(epoch: 1000, position: 60)), .head, 210, .expired),
            (.after(Cursor(epoch: 1000, position: 60)), .earliest, 79, .expired),
            (.earliest, .head, 79, nil),
        ] as [(StartRequest, GapPolicy, Int64, ResetReason?)] {
            var locator = try Self.locator(request, gap: gap)
            _ = locator.begin(hub: known, ringLow: 150, ringHead: 200)
            let step = locator.pageReturned(
                Self.page(floor: 80, scanned: 180, head: 210), hub: known.history)
            guard case .found(let start, let bounds, nil) = step else {
                Issue.record("\(step)")
                continue
            }
            #expect(start.position == position)
            #expect(start.reset == reset)
            #expect(bounds.floor == 80)
        }
    }

    @Test func `bounds and pages of another history are not taken`() throws {
        let known = try Self.bounds(head: 200, floor: 50)
        let forked = try Self.bounds(head: 150, floor: 50, epochs: [(1000, 1), (2000, 120)])
        var locator = try Self.locator(.after(Cursor(epoch: 2000, position: 130)))
        _ = locator.begin(hub: known, ringLow: 150, ringHead: 200)
        let asked = locator.boundsReturned(
            forked, positionBefore: nil, hub: known.history, ringLow: 150)
        guard case .unavailable = asked else { Issue.record("\(asked)"); return }
        var second = try Self.locator(.after(Cursor(epoch: 1000, position: 130)))
        _ = second.begin(hub: known, ringLow: 150, ringHead: 200)
        let read = second.pageReturned(
            Self.page(floor: 50, scanned: 150, head: 150), hub: forked.history)
        guard case .unavailable = read else { Issue.record("\(read)"); return }
    }
}
