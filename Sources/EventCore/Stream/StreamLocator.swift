/// Finds out where a stream, or a page of history, begins.
///
/// ```
/// begin ──▶ found                       within the ring: needs nobody
///      ├──▶ readPage ──▶ found          behind it: the first page comes with the answer
///      └──▶ askBounds ──▶ as above      where the node cannot know
/// ```
/// A node's head and floor may be old, but both only rise: what lies between them is there, unless the
/// page shows that the floor has risen since. Whether a cursor is ahead, has expired, or belongs to a
/// history that the node has not heard of, the database decides.
public struct StreamLocator: Sendable {
    /// What happens next.
    public enum Step: Sendable {
        /// The stream begins here; with what was read of the log, and the bounds that decided it.
        case found(StreamStart, LogBounds, LogPage?)
        /// Ask the database for its bounds and, for a time, the last position sequenced before it.
        case askBounds(before: Timestamp?)
        /// Read a page of the log.
        case readPage(PageRequest)
        /// It cannot be found out now.
        case unavailable
    }

    /// What the client asked for.
    public let request: StartRequest
    private let gap: GapPolicy
    private let subscription: Subscription
    private var start: StreamStart?
    private var bounds: LogBounds?

    /// Creates a locator of one request.
    public init(_ request: StartRequest, gap: GapPolicy, subscription: Subscription) {
        self.request = request
        self.gap = gap
        self.subscription = subscription
    }

    /// The request has come.
    public mutating func begin(hub bounds: LogBounds?, ringLow: Int64, ringHead: Int64) -> Step {
        guard let bounds else { return .unavailable }
        switch request {
        case .now, .malformed, .earliest:
            return begins(at: bounds.start(request, gap: gap), bounds, ringLow: ringLow)
        case .after(let cursor):
            guard bounds.history.contains(cursor),
                (min(ringLow, bounds.floor - 1)...ringHead).contains(cursor.position)
            else { return .askBounds(before: nil) }
            let start = StreamStart(position: cursor.position, resumed: .complete)
            return begins(at: start, bounds, ringLow: ringLow)
        case .time(let time):
            return .askBounds(before: time)
        }
    }

    /// The database has answered with its bounds.
    ///
    /// - Parameter hub: the history that the node is attached to. One that differs shows that the log
    ///   forked, and that the node is not attached to what came of it yet.
    public mutating func boundsReturned(
        _ bounds: LogBounds, positionBefore: Int64?, hub: EpochHistory?, ringLow: Int64
    ) -> Step {
        guard bounds.history == hub else { return .unavailable }
        let start = bounds.start(request, gap: gap, positionBefore: positionBefore)
        return begins(at: start, bounds, ringLow: ringLow)
    }

    private mutating func begins(
        at start: StreamStart, _ bounds: LogBounds, ringLow: Int64
    ) -> Step {
        guard start.position < ringLow else { return .found(start, bounds, nil) }
        self.start = start
        self.bounds = bounds
        return .readPage(PageRequest(after: start.position, ringLow: ringLow, subscription))
    }

    /// The page that was asked for has come.
    ///
    /// - Parameter hub: the history that the node is attached to now: the log may have forked since the
    ///   bounds were asked for.
    public func pageReturned(_ page: LogPage, hub: EpochHistory?) -> Step {
        guard let start, var bounds, bounds.history == hub else { return .unavailable }
        bounds.floor = max(bounds.floor, page.floor)
        bounds.head = max(bounds.head, page.head)
        guard page.floor - 1 > start.position else { return .found(start, bounds, page) }
        // The floor has risen since the node heard of it.
        if case .earliest = request {
            return .found(bounds.start(.earliest, gap: gap), bounds, nil)
        }
        return .found(bounds.reset(.expired, gap), bounds, nil)
    }
}
