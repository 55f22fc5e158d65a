/// One event to be published, as `POST /api/v1/events` takes it; its `data` stays in the body.
public struct PublishItem: Sendable, Equatable {
    /// The full type.
    public var type: String
    /// The labels.
    public var audience: [AudienceLabel]
    /// The key.
    public var key: String?
    /// What makes repeats one event.
    public var deduplicationKey: String?
    /// The trace that it belongs to.
    public var traceParent: TraceParent?

    /// The members that an item may have.
    public static let members: Set<String> = [
        "type", "audience", "data", "key", "dedup_key", "traceparent",
    ]
    /// The most items of one request.
    public static let maximumCount = 1000

    /// Checks one item; throws a 400 that names its index.
    public init(
        index: Int, type: String, audience: [String], key: String?, deduplicationKey: String?,
        traceParent: String? = nil
    ) throws(Problem) {
        guard EventType.isPublishable(type) else {
            throw .badRequest(
                "item \(index): \"\(type.prefix(64))\" is not an event type: two or more parts of"
                    + " [A-Za-z0-9_-] joined by dots, at most 128 bytes, the first neither stream nor"
                    + " event_service.")
        }
        guard !audience.isEmpty else {
            throw .badRequest("item \(index): the audience is empty; [\"*\"] is everyone.")
        }
        self.audience = []
        for text in audience {
            guard let label = AudienceLabel(text) else {
                throw .badRequest(
                    "item \(index): \"\(text.prefix(64))\" is not an audience label: user:ID,"
                        + " session:ID, context:NAME or *, at most 1024 bytes.")
            }
            self.audience.append(label)
        }
        guard deduplicationKey?.utf8.count ?? 0 <= 1024 else {
            throw .badRequest("item \(index): dedup_key has more than 1024 bytes.")
        }
        if let traceParent {
            guard let trace = TraceParent(traceParent) else {
                throw .badRequest(
                    "item \(index): \"\(traceParent.prefix(64))\" is not a traceparent of W3C Trace"
                        + " Context, version 00.")
            }
            self.traceParent = trace
        }
        self.type = type
        self.key = key
        self.deduplicationKey = deduplicationKey
    }

    /// Appends the item without its data as a JSON object, for the database.
    public func appendEnvelope(to bytes: inout [UInt8]) {
        bytes.append("{")
        bytes.appendEnvelopeMembers(type, audience, key: key, deduplicationKey: deduplicationKey)
        if let traceParent {
            bytes.append(",\"traceparent\":")
            bytes.appendJSONString(traceParent.text)
        }
        bytes.append("}")
    }
}

extension [UInt8] {
    /// Appends what an event of an application or a bridge has beside its data, as members of a JSON
    /// object: as the database takes them.
    mutating func appendEnvelopeMembers(
        _ type: String, _ audience: [AudienceLabel], key: String?, deduplicationKey: String?
    ) {
        append("\"type\":")
        appendJSONString(type)
        append(",\"audience\":[")
        for (index, label) in audience.enumerated() {
            if index > 0 { append(UInt8(ascii: ",")) }
            appendJSONString(label.text)
        }
        append("]")
        if let key {
            append(",\"key\":")
            appendJSONString(key)
        }
        if let deduplicationKey {
            append(",\"dedup_key\":")
            appendJSONString(deduplicationKey)
        }
    }
}
