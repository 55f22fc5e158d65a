/// The frames by which the service speaks of the stream itself.
///
/// Text of the WHATWG event stream format (HTML, section 9.2.5). Schemas stand in `Schemas/`.
public enum StreamFrame: Sendable {
    /// First on every stream.
    case open(StreamOpen)
    /// What the client holds is void.
    case reset(StreamReset)
    /// Whether the service is ready has changed, and why it is not.
    case health(ready: Bool, reasons: [UnreadyReason])
    /// Replay has caught up.
    case live(at: Cursor, head: Cursor)
    /// Only events passed that this stream may not see: its id keeps up with the log.
    case cursor(Cursor)
    /// Last on a stream that ends as planned.
    case end(DisconnectReason, at: Cursor, retry: Int64)
    /// Nothing happened.
    case heartbeat

    /// The id that the frame carries, from which its receiver resumes.
    public var id: Cursor? {
        switch self {
        case .open(let open): open.cursor
        case .reset(let reset): reset.cursor
        case .live(let cursor, _), .cursor(let cursor), .end(_, let cursor, _): cursor
        case .health, .heartbeat: nil
        }
    }

    /// Appends the frame's text.
    public func append(to bytes: inout [UInt8]) {
        switch self {
        case .open(let open):
            bytes.appendField("retry", Int64(open.retryMilliseconds))
            bytes.appendID(open.cursor)
            bytes.append("event: stream.open\ndata: {\"connection_id\":")
            bytes.appendJSONString(open.connectionID)
            bytes.append(",\"time\":\"")
            open.time.append(to: &bytes)
            bytes.append("\",\"heartbeat_seconds\":")
            bytes.appendSeconds(milliseconds: open.heartbeatMilliseconds)
            bytes.append(",\"resumed\":\"")
            bytes.append(contentsOf: open.resumed.rawValue.utf8)
            bytes.append("\",\"head\":\"")
            bytes.append(contentsOf: open.head.description.utf8)
            bytes.append("\"}\n\n")
        case .reset(let reset):
            bytes.appendID(reset.cursor)
            bytes.append("event: stream.reset\ndata: ")
            reset.appendJSON(to: &bytes)
            bytes.append("\n\n")
        case .health(let ready, let reasons):
            bytes.append("event: stream.health\ndata: ")
            bytes.append(contentsOf: UnreadyReason.json(ready: ready, reasons: reasons))
            bytes.append("\n\n")
        case .live(let cursor, let head):
            bytes.appendID(cursor)
            bytes.append("event: stream.live\ndata: {\"head\":\"")
            bytes.append(contentsOf: head.description.utf8)
            bytes.append("\"}\n\n")
        case .cursor(let cursor):
            bytes.appendID(cursor)
            bytes.append("event: stream.cursor\ndata: {}\n\n")
        case .end(let reason, let cursor, let retry):
            bytes.appendID(cursor)
            bytes.appendField("retry", retry)
            bytes.append("event: stream.end\ndata: {\"reason\":\"")
            bytes.append(contentsOf: reason.rawValue.utf8)
            bytes.append("\"}\n\n")
        case .heartbeat:
            // A comment and one line end: with a blank line some clients make an empty message of it.
            bytes.append(": hb\n")
        }
    }

    /// The frame's text.
    public var text: [UInt8] {
        var bytes: [UInt8] = []
        append(to: &bytes)
        return bytes
    }
}

/// The data of `stream.open`.
public struct StreamOpen: Sendable {
    /// Names the connection in logs and in the admin API.
    public var connectionID: String
    /// Now.
    public var time: Timestamp
    /// The setting `heartbeat`.
    public var heartbeatMilliseconds: Int64
    /// How what follows joins on to what the client had.
    public var resumed: StreamStart.Resumed
    /// Where the stream starts.
    public var cursor: Cursor
    /// The last event of the log.
    public var head: Cursor
    /// How long a client should wait before it connects again.
    public var retryMilliseconds: Int

    /// Creates the data of `stream.open`.
    public init(
        connectionID: String, time: Timestamp, heartbeatMilliseconds: Int64,
        resumed: StreamStart.Resumed, cursor: Cursor, head: Cursor, retryMilliseconds: Int
    ) {
        self.connectionID = connectionID
        self.time = time
        self.heartbeatMilliseconds = heartbeatMilliseconds
        self.resumed = resumed
        self.cursor = cursor
        self.head = head
        self.retryMilliseconds = retryMilliseconds
    }
}

/// The data of `stream.reset`, and of `reset` in a page of history.
public struct StreamReset: Sendable {
    /// Why the position cannot be served.
    public var reason: ResetReason
    /// The position as the client gave it.
    public var requested: String
    /// The cursor before the first event that is kept.
    public var earliest: Cursor
    /// The last event of the log.
    public var head: Cursor
    /// Where the stream goes on.
    public var cursor: Cursor

    /// Creates the data of `stream.reset`.
    public init(
        reason: ResetReason, requested: String, earliest: Cursor, head: Cursor, cursor: Cursor
    ) {
        self.reason = reason
        self.requested = requested
        self.earliest = earliest
        self.head = head
        self.cursor = cursor
    }

    /// Appends the data as a JSON object.
    public func appendJSON(to bytes: inout [UInt8]) {
        bytes.append("{\"reason\":\"")
        bytes.append(contentsOf: reason.rawValue.utf8)
        bytes.append("\",\"requested\":")
        // What a client sent comes back to it, but not at any length.
        bytes.appendJSONString(requested.prefix(StartRequest.maximumBytes))
        bytes.append(",\"earliest\":\"")
        bytes.append(contentsOf: earliest.description.utf8)
        bytes.append("\",\"head\":\"")
        bytes.append(contentsOf: head.description.utf8)
        bytes.append("\"}")
    }
}

/// Why the service is not ready: the codes of `/readyz` and `stream.health`, never messages.
public enum UnreadyReason: String, Sendable, CaseIterable {
    /// No connection to PostgreSQL.
    case database
    /// The migrations are not all applied.
    case migrations
    /// The listener has not heard its own probe.
    case listener
    /// Events wait that nobody can sequence: the log's disk is full, for example.
    case sequencer
    /// The service is about to stop.
    case draining

    /// `{"ready":…,"reasons":[…]}`.
    public static func json(ready: Bool, reasons: [UnreadyReason]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(ready ? "{\"ready\":true,\"reasons\":[" : "{\"ready\":false,\"reasons\":[")
        for (index, reason) in reasons.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            bytes.appendJSONString(reason.rawValue)
        }
        bytes.append("]}")
        return bytes
    }
}

/// Why a stream ends as planned: the reasons of `stream.end`.
public enum DisconnectReason: String, Sendable, CaseIterable {
    /// It has lasted its `stream_lifetime`.
    case lifetime
    /// The service stops.
    case shutdown
    /// Its socket has taken nothing for `slow_grace`.
    case slow
    /// Its token was revoked.
    case revoked
    /// Its token has expired.
    case expired
}

extension [UInt8] {
    /// `15`, `0.25`: a JSON number of seconds.
    fileprivate mutating func appendSeconds(milliseconds: Int64) {
        appendDecimal(milliseconds / 1000)
        guard milliseconds % 1000 != 0 else { return }
        append(UInt8(ascii: "."))
        appendDecimal(milliseconds % 1000, width: 3)
        while last == UInt8(ascii: "0") { removeLast() }
    }

    fileprivate mutating func appendID(_ cursor: Cursor) {
        append("id: ")
        append(contentsOf: cursor.description.utf8)
        append(UInt8(ascii: "\n"))
    }

    fileprivate mutating func appendField(_ name: StaticString, _ value: Int64) {
        append(name)
        append(": ")
        appendDecimal(value)
        append(UInt8(ascii: "\n"))
    }
}
