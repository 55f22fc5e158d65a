/// A query that answers everybody who waits for the same.
///
/// At most one is in flight and one is next. Who asks while one is in flight waits for the next: the
/// answer that is on its way may be older than the question. Waiters are bounded by who can ask, which is
/// one a connection.
public struct CoalescedQuery<Waiter> {
    private var waiting: [Waiter] = []
    private var inFlight: [Waiter]?

    /// Creates a query that nobody has asked for.
    public init() {}

    /// Somebody asks; the result says whether the query is to be sent now.
    public mutating func asked(by waiter: Waiter) -> Bool {
        waiting.append(waiter)
        return begin()
    }

    /// The query has its outcome: those whom it answers, and whether it is to be sent again now, for those
    /// who have asked since.
    public mutating func answered() -> (waiters: [Waiter], isSentAgain: Bool) {
        let waiters = inFlight ?? []
        inFlight = nil
        return (waiters, begin())
    }

    private mutating func begin() -> Bool {
        guard inFlight == nil, !waiting.isEmpty else { return false }
        inFlight = waiting
        waiting = []
        return true
    }
}
