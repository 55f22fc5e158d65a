/// What a ring holds: events that became visible at once.
public protocol RingBlock {
    /// The first position that the block covers.
    var first: Int64 { get }
    /// The last position that the block covers.
    var last: Int64 { get }
    /// What the block takes in memory.
    var byteCount: Int { get }
}

/// The newest blocks of the log, without a gap between them.
///
/// A stream whose cursor lies within the ring is served from it, without a query; that it is live is
/// nothing but its cursor having reached the ring's head. Bounded by `ring_bytes`: what is oldest goes
/// first, and whoever still needs it reads the log.
public struct Ring<Block: RingBlock> {
    private var blocks: [Block] = []
    /// Blocks before this index are dropped; they are removed some at a time.
    private var start = 0
    private let maximumBytes: Int

    /// What the blocks take in memory.
    public private(set) var byteCount = 0
    /// The last position that has come; the stream of the log goes on behind it.
    public private(set) var head: Int64
    /// A cursor here or above can be served from the ring.
    public private(set) var low: Int64

    /// Creates an empty ring behind a position.
    public init(head: Int64, maximumBytes: Int) {
        self.head = head
        low = head
        self.maximumBytes = maximumBytes
    }

    /// What came to a ring.
    public enum Arrival: Equatable {
        /// It goes on from the head.
        case continued
        /// Positions between the old head and the block are missing: the ring begins anew with it.
        case gap
        /// All of it was there already.
        case known
    }

    /// Takes the next block.
    public mutating func append(_ block: Block) -> Arrival {
        guard block.last > head else { return .known }
        let arrival: Arrival = block.first == head + 1 ? .continued : .gap
        if arrival == .gap { reset(head: block.first - 1) }
        blocks.append(block)
        byteCount += block.byteCount
        head = block.last
        while byteCount > maximumBytes, start < blocks.count { dropFirst() }
        return arrival
    }

    /// Forgets what lies below the floor: what the log no longer serves, nobody serves.
    public mutating func raise(floor: Int64) {
        while start < blocks.count, blocks[start].last < floor { dropFirst() }
        low = max(low, min(floor - 1, head))
    }

    private mutating func dropFirst() {
        byteCount -= blocks[start].byteCount
        low = blocks[start].last
        start += 1
        // Removed some at a time, so that each block is moved a few times at most.
        if start > 64, start > blocks.count / 2 {
            blocks.removeFirst(start)
            start = 0
        }
    }

    /// Forgets all blocks and goes on behind another position.
    public mutating func reset(head: Int64) {
        blocks.removeAll()
        start = 0
        byteCount = 0
        low = head
        self.head = head
    }

    /// The blocks that hold positions behind `position`, the first of them perhaps only in part.
    public func blocks(after position: Int64) -> ArraySlice<Block> {
        var (lower, upper) = (start, blocks.count)
        while lower < upper {
            let middle = (lower + upper) / 2
            if blocks[middle].last <= position { lower = middle + 1 } else { upper = middle }
        }
        return blocks[lower...]
    }
}
