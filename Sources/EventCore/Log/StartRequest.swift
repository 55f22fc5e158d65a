/// Where a client wants to begin: `Last-Event-ID`, `last_event_id` and `since`.
public enum StartRequest: Sendable, Equatable {
    /// With what is committed from now on.
    case now
    /// With the first event that is kept.
    case earliest
    /// With the first event behind this one.
    case after(Cursor)
    /// With everything captured at this time or later.
    case time(Timestamp)
    /// An id was given that is not one of ours: the client is told, and begins anew.
    case malformed(String)

    /// The longest id, in bytes.
    public static let maximumBytes = 128

    /// Reads a `Last-Event-ID` or `last_event_id`, in which anything unreadable is `malformed`.
    public init(lastEventID text: String) {
        self = Cursor(text).map(StartRequest.after) ?? .malformed(text)
    }

    /// Reads a `since`; `nil` if it is neither `now`, `earliest`, an id nor an RFC 3339 time.
    public init?(since text: String) {
        switch text {
        case "now": self = .now
        case "earliest": self = .earliest
        default:
            if let cursor = Cursor(text) {
                self = .after(cursor)
            } else if let time = Timestamp(rfc3339: text) {
                self = .time(time)
            } else {
                return nil
            }
        }
    }
}

/// Why a position cannot be served; the reasons of `stream.reset`.
public enum ResetReason: String, Sendable, CaseIterable {
    /// Retention has dropped events behind it.
    case expired
    /// It belongs to another history of the log, or to a stretch of this one that was lost.
    case unknownEpoch = "unknown-epoch"
    /// It lies past the head.
    case ahead
    /// It is no id of ours.
    case malformed
}

/// Where a stream begins.
public struct StreamStart: Sendable, Equatable {
    /// The position behind which it goes on.
    public var position: Int64
    /// What `stream.open` says of it.
    public var resumed: Resumed
    /// Why what was asked for could not be served, if it could not.
    public var reset: ResetReason?

    /// How what the client gets joins on to what it had.
    public enum Resumed: String, Sendable {
        /// It had nothing.
        case fresh
        /// Without a gap.
        case complete
        /// With one; a `stream.reset` follows.
        case gap
    }

    /// Creates a start.
    public init(position: Int64, resumed: Resumed, reset: ResetReason? = nil) {
        self.position = position
        self.resumed = resumed
        self.reset = reset
    }
}

/// Where a stream goes on after a reset: the query parameter `gap`.
public enum GapPolicy: String, Sendable {
    /// With what is committed from now on.
    case head
    /// With the first event that is kept.
    case earliest
}

extension LogBounds {
    /// Decides where a stream begins.
    ///
    /// - Parameter positionBefore: for `time`, the last position sequenced before it, `nil` if it lies
    ///   before all that is known.
    public func start(
        _ request: StartRequest, gap: GapPolicy, positionBefore: Int64? = nil
    ) -> StreamStart {
        switch request {
        case .now:
            return StreamStart(position: head, resumed: .fresh)
        case .earliest:
            return StreamStart(position: floor - 1, resumed: .fresh)
        case .time:
            // Before the floor, events were dropped; before the first tick of a log that has lost
            // nothing, none were there.
            let position = positionBefore ?? 0
            return position < floor - 1
                ? reset(.expired, gap) : StreamStart(position: position, resumed: .fresh)
        case .malformed:
            return reset(.malformed, gap)
        case .after(let cursor):
            if !history.contains(cursor) { return reset(.unknownEpoch, gap) }
            if cursor.position < floor - 1 { return reset(.expired, gap) }
            if cursor.position > head { return reset(.ahead, gap) }
            return StreamStart(position: cursor.position, resumed: .complete)
        }
    }

    /// Where a stream goes on when the position that it needs cannot be served.
    public func reset(_ reason: ResetReason, _ gap: GapPolicy) -> StreamStart {
        StreamStart(
            position: gap == .head ? head : floor - 1, resumed: .gap, reset: reason)
    }
}
