/// The histories that this log went through: where each epoch begins on the line of positions.
///
/// ```
/// position   0 ─────────── 100 ───────── 180
/// epoch      1764000000   │1764300000   …
///                         └ a standby was promoted that had 100 events of the then 150
/// ```
/// Positions 101…150 of the first epoch are gone and were given anew. `1764000000-100` is still a good
/// cursor, `1764000000-120` is not: its holder saw what never happened here.
public struct EpochHistory: Sendable, Equatable {
    /// One epoch and its first position.
    public struct Entry: Sendable, Equatable {
        /// The epoch's number.
        public let epoch: Int64
        /// The first position that was given in it.
        public let firstPosition: Int64

        /// Creates an entry.
        public init(epoch: Int64, firstPosition: Int64) {
            self.epoch = epoch
            self.firstPosition = firstPosition
        }
    }

    /// All epochs, oldest first; never empty.
    public let entries: [Entry]

    /// Creates a history from its epochs, oldest first; `nil` if there is none.
    public init?(_ entries: [Entry]) {
        guard !entries.isEmpty else { return nil }
        self.entries = entries
    }

    /// The epoch that is open now.
    public var newestEpoch: Int64 { entries[entries.count - 1].epoch }

    /// The epoch in which an event at this position was given it; position 0 counts to the first.
    public func epoch(of position: Int64) -> Int64 {
        entries.last { $0.firstPosition <= position }?.epoch ?? entries[0].epoch
    }

    /// The cursor of a position.
    public func cursor(at position: Int64) -> Cursor {
        Cursor(epoch: epoch(of: position), position: position)
    }

    /// Whether the cursor stands for a place in this history, or may do so yet.
    public func contains(_ cursor: Cursor) -> Bool {
        epoch(of: cursor.position) == cursor.epoch
    }

    /// The first position that may hold another event than it did in `earlier`, or `nil` if this
    /// history only continues it.
    public func fork(from earlier: EpochHistory) -> Int64? {
        let common = zip(entries, earlier.entries).prefix { $0 == $1 }.count
        let next = entries.dropFirst(common).first?.firstPosition
        let lost = earlier.entries.dropFirst(common).first?.firstPosition
        return [next, lost].compactMap { $0 }.min()
    }
}
