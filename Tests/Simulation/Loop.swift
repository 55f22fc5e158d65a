import EventCore

/// One loop of a node: a shard of the hub, and what is on its way to it.
final class SimulatedLoop {
    let world: World
    let hub: HubShard
    private(set) var isAlive = true
    var pausedUntil = MonotonicTime.zero
    /// When the newest thing that is on its way arrives: what follows comes later.
    private var lastArrival = MonotonicTime.zero
    fileprivate(set) var waitingBytes = 0
    private var streams: [ObjectIdentifier: StreamEnd] = [:]

    init(world: World, ringBytes: Int) {
        self.world = world
        hub = HubShard(ringBytes: ringBytes)
    }

    func kill() {
        isAlive = false
        for stream in streams.values.sorted(by: { $0.number < $1.number }) { stream.cut() }
        streams = [:]
    }

    func add(_ stream: StreamEnd) {
        streams[ObjectIdentifier(stream)] = stream
    }

    func remove(_ stream: StreamEnd) {
        streams[ObjectIdentifier(stream)] = nil
    }

    func randomStream() -> StreamEnd? {
        // In the order of their clients: a dictionary's own is not the same from run to run.
        world.pick(streams.values.sorted { $0.number < $1.number })
    }

    /// Puts something into the mailbox; it is taken out in order.
    func post(_ action: @escaping () -> Void) {
        let delay = world.chance(0.02) ? 20_000...80_000 : 5...300
        lastArrival = max(lastArrival, world.now + .microseconds(world.number(delay)), pausedUntil)
        world.at(lastArrival) { [self] in if isAlive { action() } }
    }
}

/// The dispatcher's end of a loop.
struct SimulatedTarget: DispatchTarget {
    let loop: SimulatedLoop

    var waitingBytes: Int { loop.waitingBytes }

    func send(_ block: FrameBlock) {
        loop.add(waiting: block.byteCount)
        loop.post { [loop] in
            loop.add(waiting: -block.byteCount)
            loop.hub.receive(block, now: loop.world.now)
        }
    }

    func send(_ bounds: LogBounds, fork: Int64?) {
        loop.post { [loop] in loop.hub.logIs(bounds, fork: fork, now: loop.world.now) }
    }
}

extension SimulatedLoop {
    fileprivate func add(waiting bytes: Int) {
        waitingBytes += bytes
    }
}
