/// Remembers the newest event ids, so that none is dispatched twice.
///
/// Positions alone make sure of that; this is the second line, for an event that somebody wrote into
/// the log twice. Ids may be given again in a new epoch: it begins with an empty window.
public struct DeduplicationWindow: Sendable {
    private var known: Set<Int64> = []
    private var order: [Int64] = []
    private var next = 0
    private let capacity: Int

    /// Creates a window over this many ids.
    public init(capacity: Int) {
        self.capacity = capacity
    }

    /// Takes an id; `false` if it is in the window already.
    public mutating func insert(_ eventID: Int64) -> Bool {
        guard known.insert(eventID).inserted else { return false }
        if order.count < capacity {
            order.append(eventID)
        } else {
            known.remove(order[next])
            order[next] = eventID
            next = (next + 1) % capacity
        }
        return true
    }

    /// Forgets all ids.
    public mutating func removeAll() {
        known.removeAll(keepingCapacity: true)
        order.removeAll(keepingCapacity: true)
        next = 0
    }
}
