/// A loop that takes part in the fan-out, as the dispatcher sees it.
///
/// The service's is a thread behind a mailbox; the simulation's is a queue that delays.
public protocol DispatchTarget {
    /// Bytes of blocks that were sent and not taken yet.
    var waitingBytes: Int { get }

    /// Sends events, right behind those of the block before.
    func send(_ block: FrameBlock)

    /// Tells that the node is attached to the log, or that its bounds have moved.
    ///
    /// - Parameter fork: the first position that may hold another event than before, if one may.
    func send(_ bounds: LogBounds, fork: Int64?)
}

/// Encodes what was sequenced, once, and hands it to every loop.
///
/// A loop that does not keep up is left out: the next thing it hears shows it the gap, and its streams
/// read the log for themselves. So no queue grows without a bound, and nothing is lost.
public struct Dispatcher<Target: DispatchTarget> {
    private let targets: [Target]
    private let encoder: EventEncoder
    private let longestBacklog: Int
    private var window = DeduplicationWindow(capacity: 8192)
    private var bounds: LogBounds?
    /// What each loop was last told of the bounds; `nil` where it has missed a block since.
    private var told: [LogBounds?]

    /// Creates a dispatcher of a node that is not attached yet.
    ///
    /// - Parameter longestBacklog: of blocks that a loop has not taken, in bytes.
    public init(targets: [Target], encoder: EventEncoder, longestBacklog: Int) {
        self.targets = targets
        self.encoder = encoder
        self.longestBacklog = longestBacklog
        told = targets.map { _ in nil }
    }

    /// The node has attached and goes on behind `bounds.head`.
    public mutating func attached(_ bounds: LogBounds) {
        let fork = self.bounds.flatMap { bounds.history.fork(from: $0.history) }
        if fork != nil { window.removeAll() }
        self.bounds = bounds
        tell(bounds, fork: fork)
    }

    /// Events were sequenced, or read from the log: everything from `first` to `last`. Returns those
    /// that stand in the log twice, which are not sent again.
    public mutating func dispatch(_ events: [Event], first: Int64, last: Int64) -> [EventEnvelope] {
        guard var bounds, last >= first else { return [] }
        var doubles: [EventEnvelope] = []
        let fresh = events.filter { event in
            if window.insert(event.envelope.eventID) { return true }
            doubles.append(event.envelope)
            return false
        }
        let block = FrameBlock(
            encoder.encode(fresh, history: bounds.history, first: first, last: last))
        bounds.head = last
        self.bounds = bounds
        for (index, target) in targets.enumerated() {
            guard target.waitingBytes < longestBacklog else {
                told[index] = nil
                continue
            }
            target.send(block)
            told[index]?.head = last
        }
        return doubles
    }

    /// The node goes on behind another position, because what lies between is gone.
    public mutating func jumped(to head: Int64, floor: Int64) {
        bounds?.head = head
        floorIs(floor)
    }

    /// The floor as it is now; also the moment to tell loops what they have missed.
    public mutating func floorIs(_ floor: Int64) {
        guard var bounds else { return }
        // Two connections ask for it; an answer may be overtaken by a later one.
        bounds.floor = max(bounds.floor, floor)
        self.bounds = bounds
        tell(bounds, fork: nil)
    }

    private mutating func tell(_ bounds: LogBounds, fork: Int64?) {
        for (index, target) in targets.enumerated() where told[index] != bounds || fork != nil {
            target.send(bounds, fork: fork)
            told[index] = bounds
        }
    }
}
