import EventCore

/// A client that comes back with its last id, and judges everything that it is sent.
final class Client {
    let number: Int
    private let world: World
    private let truth: Truth
    private let database: Database
    private let nodes: () -> [Node]
    private let subscription: Subscription
    private let gap: GapPolicy
    private var parser = EventStreamParser()
    private var connection: StreamEnd?
    private var isConnecting = false
    private var attempt = 0
    /// Up to here the client has everything that is for it; `nil` before its first stream.
    private(set) var last: Cursor?
    private var mayReset = false
    private(set) var received = 0
    private var isStopped = false

    init(number: Int, world: World, truth: Truth, database: Database, nodes: @escaping () -> [Node])
        throws
    {
        self.number = number
        self.world = world
        self.truth = truth
        self.database = database
        self.nodes = nodes
        gap = world.chance(0.5) ? .head : .earliest
        let everything = world.chance(0.5)
        let labels = ["user:a", "user:b", "context:x"].compactMap { AudienceLabel($0) }
        let held = labels.filter { _ in world.chance(0.5) }
        subscription = try Subscription(
            grants: everything ? .all : Grants(labels: Set(held)), filter: EventFilter())
    }

    // MARK: Connecting

    func start() {
        guard connection == nil, !isConnecting else { return }
        isConnecting = true
        attempt += 1
        let started = attempt
        // A node that dies meanwhile answers nothing.
        world.after(8_000_000...8_000_000) { [self] in
            retry(started)
        }
        world.after(50...20_000) { [self] in
            guard let node = world.pick(nodes().filter(\.isRunning)),
                let loop = world.pick(node.loops)
            else { return retry(started) }
            locate(node, loop, started)
        }
    }

    private func retry(_ number: Int) {
        guard isConnecting, attempt == number else { return }
        isConnecting = false
        world.after(10_000...200_000) { [self] in start() }
    }

    private func locate(_ node: Node, _ loop: SimulatedLoop, _ number: Int) {
        let request = last.map(StartRequest.after) ?? (world.chance(0.5) ? .now : .earliest)
        var locator = StreamLocator(request, gap: gap, subscription: subscription)
        let step = locator.begin(
            hub: loop.hub.bounds, ringLow: loop.hub.ring.low, ringHead: loop.hub.ring.head)
        take(step, locator, node, loop, number)
    }

    private func take(
        _ step: StreamLocator.Step, _ locator: StreamLocator, _ node: Node,
        _ loop: SimulatedLoop, _ number: Int
    ) {
        var locator = locator
        guard isConnecting, attempt == number, loop.isAlive else { return retry(number) }
        switch step {
        case .unavailable:
            world.count("refused: database")
            retry(number)
        case .found(let start, let bounds, let page):
            isConnecting = false
            parser = EventStreamParser()
            let end = StreamEnd(client: self, node: node, loop: loop)
            connection = end
            end.open(
                subscription, gap: gap, start, bounds, page: page,
                requested: last.map { "\($0)" } ?? "")
        case .askBounds:
            node.askBounds(for: loop) { [self] bounds in
                guard let bounds else { return retry(number) }
                let next = locator.boundsReturned(
                    bounds, positionBefore: nil, hub: loop.hub.bounds?.history,
                    ringLow: loop.hub.ring.low)
                take(next, locator, node, loop, number)
            }
        case .readPage(let request):
            node.readPage(request, for: loop) { [self] page in
                guard let page else { return retry(number) }
                let next = locator.pageReturned(page, hub: loop.hub.bounds?.history)
                take(next, locator, node, loop, number)
            }
        }
    }

    func lostConnection(_ end: StreamEnd) {
        guard connection === end else { return }
        connection = nil
        world.count("connections cut")
        if !isStopped { start() }
    }

    // MARK: Judging

    func received(_ bytes: [UInt8], from end: StreamEnd) {
        guard connection === end else { return }
        for message in parser.consume(bytes) { judge(message) }
    }

    private func judge(_ message: EventStreamParser.Message) {
        world.note("client \(number): \(message.type) \(message.lastEventID)")
        guard let cursor = Cursor(message.lastEventID) else {
            // Health before any id is the one frame without.
            if message.type != "stream.health" { violation("\(message.type) has no id") }
            return
        }
        switch message.type {
        case "stream.open": opened(cursor, message)
        case "stream.reset": wasReset(cursor, message)
        case "stream.live", "stream.cursor", "stream.end": moved(to: cursor, by: message.type)
        case "stream.health": break
        default: event(cursor, message)
        }
    }

    private func opened(_ cursor: Cursor, _ message: EventStreamParser.Message) {
        let isFresh = message.data.contains("\"resumed\":\"fresh\"")
        let isComplete = message.data.contains("\"resumed\":\"complete\"")
        mayReset = message.data.contains("\"resumed\":\"gap\"")
        if let last {
            if isFresh { violation("a stream that asked for \(last) is fresh") }
            if isComplete, cursor != last { violation("asked for \(last), got \(cursor)") }
        } else if !isFresh {
            violation("the first stream is not fresh")
        }
        // What a gap leaves is judged with the reset that must follow.
        if !mayReset { last = cursor }
    }

    private func wasReset(_ cursor: Cursor, _ message: EventStreamParser.Message) {
        let reason = ResetReason.allCases.first {
            message.data.contains("\"reason\":\"\($0.rawValue)\"")
        }
        guard let last, let history = database.state.history else {
            return violation("a reset of what was never begun")
        }
        switch reason {
        case .expired:
            // A copy that took its place may have a lower floor than the one that was asked.
            if truth.highestFloor - 1 <= last.position, history.contains(last) {
                violation("\(last) had not expired, the floor was at most \(truth.highestFloor)")
            }
        case .unknownEpoch:
            if history.contains(last), truth.forks == 0 { violation("\(last) is of this history") }
        case .ahead:
            // The database that answered is a copy that nobody is attached to yet.
            if truth.forks == 0 { violation("\(last) is not ahead of anything") }
        case .malformed, nil:
            violation("reset: \(message.data)")
        }
        world.count("resets")
        mayReset = false
        self.last = cursor
    }

    private func moved(to cursor: Cursor, by what: String) {
        checkNothingMissed(up: cursor.position + 1, in: cursor.epoch, what)
        advance(to: cursor, what)
    }

    private func event(_ cursor: Cursor, _ message: EventStreamParser.Message) {
        received += 1
        world.count("events received")
        guard let row = truth.events[cursor] else {
            return violation("\(cursor) was never sequenced")
        }
        if !message.data.contains("\"serial\":\(row.serial),") {
            violation("\(cursor) is write \(row.serial), not \(message.data)")
        }
        if !subscription.admits(
            type: message.type, key: row.key, audience: row.audience, hiddenFrom: [])
        {
            violation("\(cursor) is not for this client")
        }
        checkNothingMissed(up: cursor.position, in: cursor.epoch, message.type)
        if let last, cursor.position <= last.position { violation("\(cursor) came after \(last)") }
        advance(to: cursor, message.type)
    }

    private func checkNothingMissed(up high: Int64, in epoch: Int64, _ what: String) {
        if mayReset { violation("\(what) before the reset that was announced") }
        guard let last else { return }
        let missed = truth.missed(between: last.position, and: high, in: epoch, for: subscription)
        if let first = missed.first {
            violation("missed \(first) of \(missed.count) before \(what)")
        }
    }

    private func advance(to cursor: Cursor, _ what: String) {
        if let last, cursor.position < last.position || cursor.epoch < last.epoch {
            violation("\(what) went back from \(last) to \(cursor)")
        }
        last = cursor
    }

    private func violation(_ text: String) {
        world.violation("client \(number): \(text)")
    }

    // MARK: The end

    /// Whether everything that is for the client has come.
    func isComplete(_ state: DatabaseState) -> Bool {
        guard connection != nil, !mayReset, let last, let history = state.history,
            history.contains(last)
        else { return false }
        let epoch = state.epochs.last?.epoch ?? 0
        return truth.missed(
            between: last.position, and: state.head + 1, in: epoch, for: subscription
        ).isEmpty
    }

    var description: String { "client \(number) at \(last.map { "\($0)" } ?? "-")" }
}
