/// How one stream gets from where it begins to the live events: the hand-over of replay to live.
///
/// ```
///            behind the ring                 within the ring              at its head
///  behind ── requestPage ─▶ awaiting page    deliverFromRing ─▶ … ─▶      becomeLive ─▶ live
///    ▲                          │ pageArrived                                            │
///    └──────────────────────────┴──────────────── fellBehind (slow, or a gap) ───────────┘
/// ```
/// There is no moment at which an event could fall between replay and live: both read the same line of
/// positions behind `position`, the ring on the loop's own thread, and live means that nothing in the
/// ring lies behind it.
///
/// Benign race: a page may run past the ring's head, because the database knows of events before this
/// node does. They reach the ring later, and are not delivered again: they lie before `position`.
public struct CatchUp: Sendable {
    /// What the stream does next.
    public enum Action: Sendable, Equatable {
        /// Ask for a page of the log behind this position.
        case requestPage(after: Int64)
        /// Take what the ring has behind this position.
        case deliverFromRing(after: Int64)
        /// Replay has caught up: from here on the hub delivers.
        case becomeLive
        /// Something has to happen first.
        case none
    }

    private enum Phase: Sendable {
        case behind
        case awaitingPage
        case live
    }

    private var phase = Phase.behind
    /// Everything up to here has been delivered, or is not for this stream.
    public private(set) var position: Int64

    /// Creates the state of a stream that begins behind a position.
    public init(position: Int64) {
        self.position = position
    }

    /// Whether the hub delivers to the stream.
    public var isLive: Bool { phase == .live }

    /// Decides what to do, given what the ring holds and whether the socket has taken all there was.
    public mutating func next(ringLow: Int64, ringHead: Int64, socketIsDrained: Bool) -> Action {
        guard phase == .behind, socketIsDrained else { return .none }
        if position >= ringHead {
            // Ahead of the ring: what it still gets up to here was delivered from a page.
            phase = .live
            return .becomeLive
        }
        if position >= ringLow { return .deliverFromRing(after: position) }
        phase = .awaitingPage
        return .requestPage(after: position)
    }

    /// A page of the log was delivered up to this position: one that was asked for, or the first, by
    /// which it was found out where the stream begins.
    public mutating func pageArrived(upTo last: Int64) {
        guard phase != .live else { return }
        phase = .behind
        position = max(position, last)
    }

    /// No page will come: it is asked for again.
    public mutating func pageFailed() {
        guard phase == .awaitingPage else { return }
        phase = .behind
    }

    /// Events were delivered up to this position, from the ring or by the hub.
    public mutating func delivered(upTo last: Int64) {
        position = max(position, last)
    }

    /// The stream can no longer follow the hub, and has everything up to this position.
    public mutating func fellBehind(at last: Int64) {
        guard phase == .live else { return }
        phase = .behind
        position = max(position, last)
    }

    /// The stream goes on elsewhere, after a reset.
    public mutating func restarted(at position: Int64) {
        phase = .behind
        self.position = position
    }
}
