/// What a stream is sent when nothing has been sent to it for a while.
public struct IdlePolicy: Sendable {
    /// The setting `heartbeat`.
    public var heartbeat: Duration
    /// After this long without an id the client's cursor is brought up to date …
    public var cursorInterval = Duration.seconds(300)
    /// … or after this many positions.
    public var cursorPositions: Int64 = 10_000

    /// Creates a policy.
    public init(heartbeat: Duration) {
        self.heartbeat = heartbeat
    }

    /// What is due.
    public enum Due: Sendable, Equatable {
        /// Nothing until this time.
        case nothing(until: MonotonicTime)
        /// A comment.
        case heartbeat
        /// A `stream.cursor` in its place: retention shall not overtake a client that merely sees
        /// little.
        case cursor
    }

    /// Decides what is due now.
    ///
    /// - Parameters:
    ///   - lastWrite: when anything was last sent.
    ///   - lastID: when an id was last sent, and which position it named.
    ///   - position: the position up to which the stream is complete.
    public func due(
        now: MonotonicTime, lastWrite: MonotonicTime, lastID: (at: MonotonicTime, position: Int64),
        position: Int64
    ) -> Due {
        guard now >= lastWrite + heartbeat else { return .nothing(until: lastWrite + heartbeat) }
        let passed = position - lastID.position
        return passed >= cursorPositions || passed > 0 && now >= lastID.at + cursorInterval
            ? .cursor : .heartbeat
    }
}
