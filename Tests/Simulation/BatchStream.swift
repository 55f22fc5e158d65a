import EventCore

/// The stream over which nodes pass on what they have sequenced: it loses some batches, doubles some,
/// lets some be overtaken, and is away at times.
final class BatchStream {
    private let world: World
    private(set) var isUp = true

    /// What reads it, in the order of the nodes: bytes and the epoch under whose name they came.
    var onBatch: [([UInt8], Int64) -> Void] = []
    /// Told when the stream is away or back.
    var onAvailability: [(Bool) -> Void] = []

    init(_ world: World) {
        self.world = world
    }

    func send(_ batch: SequencedBatch, epoch: Int64) {
        guard isUp, !world.chance(0.1) else { return world.count("batch not passed on") }
        world.count("batch passed on")
        let bytes = batch.encoded
        for reader in onBatch {
            for _ in 0..<(world.chance(0.1) ? 2 : 1) {
                world.after(world.chance(0.1) ? 0...500_000 : 20...3000) { [self] in
                    if isUp { reader(bytes, epoch) }
                }
            }
        }
    }

    func set(isUp: Bool) {
        self.isUp = isUp
        for reader in onAvailability { reader(isUp) }
    }
}
