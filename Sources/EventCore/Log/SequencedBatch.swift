/// Events that were sequenced at once, as the node that did it passes them on to the others.
///
/// Numbers are big-endian; a text or a value is its length in four bytes and its bytes.
/// ```
///  version 1 │ first 8 │ last 8 │ events …
///  event: position 8 │ event id 8 │ time 8 │ operation 1 │ flags 1 │ type │ key? │ trace?
///         │ audience … │ hidden … │ data
/// ```
public struct SequencedBatch: Sendable {
    /// The first position that the batch covers.
    public let first: Int64
    /// The last one; none between is missing.
    public let last: Int64
    /// The events, in order of position.
    public let events: [Event]

    /// Creates a batch.
    public init(_ events: [Event], first: Int64, last: Int64) {
        self.first = first
        self.last = last
        self.events = events
    }

    private static let version: UInt8 = 1
    // The flags of an event.
    private static let conflates: UInt8 = 1
    private static let hasKey: UInt8 = 2
    private static let hasTrace: UInt8 = 4

    /// The batch as bytes.
    public var encoded: [UInt8] {
        var bytes = [Self.version]
        bytes.reserveCapacity(events.reduce(32) { $0 + $1.data.count + 160 })
        bytes.append(first)
        bytes.append(last)
        for event in events {
            let envelope = event.envelope
            bytes.append(envelope.position)
            bytes.append(envelope.eventID)
            bytes.append(envelope.time.microseconds)
            bytes.append(envelope.operation.rawValue)
            bytes.append(
                (envelope.conflates ? Self.conflates : 0) | (envelope.key == nil ? 0 : Self.hasKey)
                    | (envelope.traceParent == nil ? 0 : Self.hasTrace))
            bytes.append(field: envelope.type.utf8)
            if let key = envelope.key { bytes.append(field: key.utf8) }
            if let trace = envelope.traceParent { bytes.append(field: trace.text.utf8) }
            for labels in [envelope.audience, envelope.hiddenFrom] {
                bytes.append(Int64(labels.count))
                for label in labels { bytes.append(field: label.text.utf8) }
            }
            bytes.append(field: event.data)
        }
        return bytes
    }

    /// Reads a batch; `nil` if the bytes are none of this version, or none at all. No position is the
    /// greatest number: one can be added to each.
    public init?(_ bytes: [UInt8]) {
        var rest = bytes[...]
        guard rest.popFirst() == Self.version, let first = rest.number(), let last = rest.number(),
            first <= last, last < .max
        else { return nil }
        var events: [Event] = []
        while !rest.isEmpty {
            guard let event = Self.event(&rest),
                (first...last).contains(event.envelope.position),
                event.envelope.position > events.last?.envelope.position ?? .min
            else { return nil }
            events.append(event)
        }
        self.init(events, first: first, last: last)
    }

    private static func event(_ rest: inout ArraySlice<UInt8>) -> Event? {
        guard let position = rest.number(), let eventID = rest.number(), let time = rest.number(),
            let operation = rest.popFirst().flatMap({ EventOperation(rawValue: $0) }),
            let flags = rest.popFirst(), let type = rest.text()
        else { return nil }
        var key: String?
        if flags & hasKey != 0 {
            guard let text = rest.text() else { return nil }
            key = text
        }
        var trace: TraceParent?
        if flags & hasTrace != 0 {
            guard let read = rest.text().flatMap({ TraceParent($0) }) else { return nil }
            trace = read
        }
        guard let audience = labels(&rest), let hiddenFrom = labels(&rest),
            let data = rest.field()
        else { return nil }
        return Event(
            EventEnvelope(
                position: position, eventID: eventID, time: Timestamp(microseconds: time),
                operation: operation, conflates: flags & conflates != 0, type: type, key: key,
                audience: audience, hiddenFrom: hiddenFrom, traceParent: trace),
            data: Array(data))
    }

    private static func labels(_ rest: inout ArraySlice<UInt8>) -> [AudienceLabel]? {
        // Each takes four bytes at least: a count that lies is found before it is believed.
        guard let count = rest.number(), count >= 0, count <= rest.count / 4 else { return nil }
        var labels: [AudienceLabel] = []
        for _ in 0..<count {
            guard let text = rest.text() else { return nil }
            labels.append(AudienceLabel(unchecked: text))
        }
        return labels
    }

    /// The same without what stands at or before a position; `nil` if nothing is left.
    public func after(_ position: Int64) -> SequencedBatch? {
        guard position < last else { return nil }
        guard position >= first else { return self }
        return SequencedBatch(
            events.filter { $0.envelope.position > position }, first: position + 1, last: last)
    }
}

extension [UInt8] {
    fileprivate mutating func append(_ number: Int64) {
        for shift in stride(from: 56, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: number >> Int64(shift)))
        }
    }

    fileprivate mutating func append(field: some Collection<UInt8>) {
        let count = UInt32(field.count)
        for shift in stride(from: 24, through: 0, by: -8) {
            append(UInt8(truncatingIfNeeded: count >> UInt32(shift)))
        }
        append(contentsOf: field)
    }
}

extension ArraySlice<UInt8> {
    fileprivate mutating func number() -> Int64? {
        guard count >= 8 else { return nil }
        defer { removeFirst(8) }
        return prefix(8).reduce(0) { $0 << 8 | Int64($1) }
    }

    fileprivate mutating func field() -> ArraySlice<UInt8>? {
        guard count >= 4 else { return nil }
        let length = Int(prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
        guard count - 4 >= length else { return nil }
        defer { removeFirst(4 + length) }
        return dropFirst(4).prefix(length)
    }

    fileprivate mutating func text() -> String? {
        field().flatMap { String(validating: $0, as: UTF8.self) }
    }
}
