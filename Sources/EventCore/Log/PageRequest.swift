/// The page of the log that a subscriber reads next.
public enum PageRequest: Sendable, Equatable {
    /// A page behind a position, narrowed to what the subscriber may see.
    case own(after: Int64, Narrowing)
    /// A page that covers what lies behind a position, the same for everybody who is near it; `until`
    /// is where the ring begins, so that a page that ends short of its size must reach it.
    case shared(after: Int64, until: Int64)

    /// How many positions a shared page covers, and how many events another has at most.
    public static let size: Int64 = 1000
    /// How many bytes of events a page has at most, beside the event that goes past them.
    public static let maximumBytes = 8 << 20

    /// Decides between the two.
    ///
    /// Near the ring, many come back at once and read the same; far behind, with a narrow view, a page
    /// of one's own finds more in one query.
    public init(after position: Int64, ringLow: Int64, _ subscription: Subscription) {
        let narrowing = subscription.narrowing
        let isNear = ringLow - position <= 20 * Self.size
        self =
            isNear || narrowing == .none
            ? .shared(after: position, until: ringLow) : .own(after: position, narrowing)
    }
}
