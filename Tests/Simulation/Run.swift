import EventCore

/// One run of a seed: writers, nodes and clients, faults for some seconds, then quiet, in which all must
/// come to its end.
struct Run {
    let seed: UInt64
    private let world: World
    private let truth = Truth()
    private let database: Database
    private let nodes: [Node]
    private let batches: BatchStream?
    private let clients: [Client]
    private let writers: [Writer]
    private let faultsEnd: MonotonicTime

    init(seed: UInt64, isTracing: Bool) throws {
        self.seed = seed
        let world = World(seed: seed, isTracing: isTracing)
        self.world = world
        let database = Database(world, truth: truth)
        self.database = database
        let batches = world.chance(0.5) ? BatchStream(world) : nil
        self.batches = batches
        let nodes = (0..<world.number(1...3)).map {
            Node(number: $0, world: world, database: database, batches: batches)
        }
        self.nodes = nodes
        clients = try (0..<world.number(2...5)).map { [truth] in
            try Client(number: $0, world: world, truth: truth, database: database) { nodes }
        }
        writers = (0..<world.number(1...5)).map { _ in Writer(world: world, database: database) }
        faultsEnd = world.now + .milliseconds(world.number(500...6000))
    }

    /// What a run brought.
    struct Outcome {
        let violations: [String]
        let counts: [String: Int]
        let trace: [String]
        let steps: Int
    }

    func run() -> Outcome {
        for node in nodes { world.after(0...5000) { node.start() } }
        for client in clients { client.start() }
        for writer in writers { writer.start() }
        scheduleFault()
        var steps = 0
        var isQuiet = false
        let deadline = faultsEnd + .seconds(120)
        while world.step() {
            steps += 1
            checkDatabase(steps)
            if !isQuiet, world.now >= faultsEnd {
                isQuiet = true
                quieten()
            }
            if isQuiet, steps % 64 == 0, isAtRest { break }
            if world.now > deadline {
                world.violation("nothing comes to rest: " + unrest)
            }
        }
        if world.violations.isEmpty { checkLog() }
        return Outcome(
            violations: world.violations, counts: world.counts, trace: world.trace, steps: steps)
    }

    // MARK: Faults

    private func scheduleFault() {
        world.after(2000...400_000) { [self] in
            guard world.now < faultsEnd else { return }
            injectFault()
            scheduleFault()
        }
    }

    private func injectFault() {
        guard let node = world.pick(nodes) else { return }
        let kind = world.number(0...14)
        world.note("fault \(kind) at node \(node.number)")
        switch kind {
        case 0, 1, 2:
            guard let stream = world.pick(node.loops)?.randomStream() else { return }
            world.count("stream cut")
            stream.cut()
        case 3:
            guard node.isRunning else { return }
            world.count("node killed")
            node.kill()
            world.after(1000...2_000_000) { if !node.isRunning { node.start() } }
        case 4:
            guard node.isRunning else { return }
            world.count("node paused")
            node.pause(for: .milliseconds(world.number(10...30_000)))
        case 5:
            guard let session = database.randomSession() else { return }
            world.count("session ended")
            database.end(session)
        case 6:
            guard let session = database.pumpSession else { return }
            world.count("pump's session ended")
            database.end(session)
        case 7:
            guard database.isUp else { return }
            world.count("database stopped")
            database.crash(loses: world.chance(0.5))
            world.after(1000...3_000_000) { if !database.isUp { database.start() } }
        case 8:
            world.count("copy taken")
            database.takeCopy()
        case 9:
            guard database.copy != nil, world.chance(0.5) else { return }
            let isRestore = world.chance(0.3)
            world.count(isRestore ? "restored into another cluster" : "standby promoted")
            database.fork(intoAnotherCluster: isRestore)
        case 10:
            world.count("floor raised")
            database.raiseFloor()
            let floor = database.state.floor
            world.after(1000...500_000) { [database] in database.sweep(below: floor) }
        case 11:
            world.count("disk full")
            database.hasRoom = false
            world.after(1000...3_000_000) { [database] in database.hasRoom = true }
        case 12:
            // By what it is now, or was.
            if world.chance(0.3) { database.takeCopy() }
            if world.chance(0.5), database.replaceLog() { world.count("log replaced in place") }
        case 13:
            guard let batches, batches.isUp else { return }
            world.count("batch stream away")
            batches.set(isUp: false)
            world.after(1000...2_000_000) { batches.set(isUp: true) }
        default:
            guard let loop = world.pick(node.loops) else { return }
            world.count("loop stalled")
            loop.pausedUntil = world.now + .milliseconds(world.number(5...500))
        }
    }

    private func quieten() {
        for writer in writers { writer.isStopped = true }
        if !database.isUp { database.start() }
        database.hasRoom = true
        for node in nodes where !node.isRunning { node.start() }
    }

    // MARK: Judging

    private var isAtRest: Bool {
        !writers.contains(where: \.isAtWork) && database.state.inbox.isEmpty
            && clients.allSatisfy { $0.isComplete(database.state) }
    }

    private var unrest: String {
        let waiting = clients.filter { !$0.isComplete(database.state) }.map(\.description)
        return
            "\(database.state.inbox.count) in the inbox (xids \(database.state.inbox.map(\.xid))),"
            + " tick at \(database.state.tickSnapshot), head \(database.state.head), "
            + waiting.joined(separator: ", ")
    }

    /// After every step: positions are dense, and only what was captured is there.
    private func checkDatabase(_ step: Int) {
        let state = database.state
        if state.logStart + Int64(state.log.count) != state.head + 1 {
            world.violation("the log ends before its head")
        }
        if state.floor > state.head + 1 { world.violation("the floor lies above the head") }
        if state.logStart > state.floor { world.violation("dropped above the floor") }
    }

    /// In the end: what has committed stands in the log, once, each row's writes in their order.
    private func checkLog() {
        let state = database.state
        var serials: Set<Int> = []
        var versions: [String: Int] = [:]
        for row in state.log {
            if !serials.insert(row.serial).inserted {
                world.violation("write \(row.serial) is there twice")
            }
            if !state.committed.contains(row.serial) {
                world.violation("write \(row.serial) never committed here")
            }
            if let before = versions[row.key], before >= row.version {
                world.violation("row \(row.key): version \(row.version) after \(before)")
            }
            versions[row.key] = row.version
        }
        let dropped = state.logStart - 1
        let missing = state.committed.count - serials.count
        if Int64(missing) != dropped {
            world.violation(
                "\(missing) committed writes are not in the log, \(dropped) were dropped")
        }
    }
}
