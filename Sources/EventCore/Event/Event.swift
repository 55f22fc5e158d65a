/// What happened to the row, or that nobody's row but a publisher spoke.
public enum EventOperation: UInt8, Sendable, CaseIterable {
    /// A row was inserted.
    case insert = 0x69  // i
    /// A row was updated.
    case update = 0x75  // u
    /// A row was deleted.
    case delete = 0x64  // d
    /// A row came into the audience of those who see this event.
    case enter = 0x65  // e
    /// A row left the audience of those who see this event.
    case leave = 0x6c  // l
    /// All rows went at once.
    case truncate = 0x74  // t
    /// An event of its own, by `event_service.publish` or `POST /api/v1/events`.
    case publish = 0x70  // p

    /// The name on the wire.
    public var name: StaticString {
        switch self {
        case .insert: "insert"
        case .update: "update"
        case .delete: "delete"
        case .enter: "enter"
        case .leave: "leave"
        case .truncate: "truncate"
        case .publish: "publish"
        }
    }
}

/// All of an event but its data: what decides who sees it, and what its frame begins with.
public struct EventEnvelope: Sendable {
    /// Its number in the log.
    public var position: Int64
    /// The number it was given at capture; unlike the position it exists before the commit.
    public var eventID: Int64
    /// When it was captured, by the database's clock.
    public var time: Timestamp
    /// What happened.
    public var operation: EventOperation
    /// Whether a slow stream may be given only the newest event of this type and key.
    public var conflates: Bool
    /// The full type, topic included.
    public var type: String
    /// The row's key; `nil` for TRUNCATE and for a publisher that named none.
    public var key: String?
    /// Those who may see it: a subscriber needs one of these labels …
    public var audience: [AudienceLabel]
    /// … and must have none of these.
    public var hiddenFrom: [AudienceLabel]
    /// The trace in which it was written or published.
    public var traceParent: TraceParent?

    /// Creates an envelope from its columns.
    public init(
        position: Int64, eventID: Int64, time: Timestamp, operation: EventOperation,
        conflates: Bool = false, type: String, key: String? = nil, audience: [AudienceLabel],
        hiddenFrom: [AudienceLabel] = [], traceParent: TraceParent? = nil
    ) {
        self.position = position
        self.eventID = eventID
        self.time = time
        self.operation = operation
        self.conflates = conflates
        self.type = type
        self.key = key
        self.audience = audience
        self.hiddenFrom = hiddenFrom
        self.traceParent = traceParent
    }

    /// What it takes in memory, about.
    var byteCount: Int {
        192 + Self.byteCount(of: key ?? "") + Self.byteCount(of: audience)
            + Self.byteCount(of: hiddenFrom)
    }

    private static func byteCount(of labels: [AudienceLabel]) -> Int {
        labels.reduce(0) { $0 + MemoryLayout<AudienceLabel>.stride + byteCount(of: $1.text) }
    }

    /// Up to 15 bytes stand in the string itself, more in an object of their own.
    private static func byteCount(of text: String) -> Int {
        text.utf8.count > 15 ? text.utf8.count + 32 : 0
    }
}

/// One event as it stands in the log.
public struct Event: Sendable {
    /// All but the data.
    public var envelope: EventEnvelope
    /// JSON as the log keeps it: an object with `new`, `old`, `changed`, or the payload that was
    /// published; empty where there is none.
    public var data: [UInt8]

    /// Creates an event.
    public init(_ envelope: EventEnvelope, data: [UInt8] = []) {
        self.envelope = envelope
        self.data = data
    }
}
