/// What the log holds at one moment, from one snapshot.
public struct LogBounds: Sendable, Equatable {
    /// The epochs of its positions.
    public var history: EpochHistory
    /// The last position; 0 if there is none.
    public var head: Int64
    /// The lowest position that is kept; `head + 1` if none is.
    public var floor: Int64

    /// Creates the bounds of a log.
    public init(history: EpochHistory, head: Int64, floor: Int64) {
        self.history = history
        self.head = head
        self.floor = floor
    }

    /// The cursor behind the last event.
    public var headCursor: Cursor { history.cursor(at: head) }

    /// The cursor before the first event that is kept.
    public var earliestCursor: Cursor { history.cursor(at: floor - 1) }
}
