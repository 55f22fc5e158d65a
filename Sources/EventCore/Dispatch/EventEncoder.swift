/// Writes events as the bytes that all streams share.
///
/// A frame is encoded once, with the chunk framing of HTTP/1.1 around it (RFC 9112, section 7.1), so
/// that a stream that is due several frames that stand side by side gets one buffer:
/// ```
/// 0c7\r\n id: 1764000000-42\nevent: task.created\ndata: {"event_id":"57",…}\n\n \r\n
/// └ start  └ payload                              └ data                 └ …ends  └ end
/// ```
public struct EventEncoder: Sendable {
    /// The setting `max_event_bytes`: what an event's JSON may take on the wire.
    public let maximumBytes: Int

    /// Creates an encoder.
    public init(maximumBytes: Int) {
        self.maximumBytes = maximumBytes
    }

    /// Encodes what became visible at once, in order of position.
    ///
    /// - Parameter last: the last position that was looked at; behind the last event when what follows
    ///   it is not to be sent.
    public func encode(
        _ events: [Event], history: EpochHistory, first: Int64, last: Int64
    ) -> EncodedBatch {
        var batch = EncodedBatch(first: first, last: last)
        batch.reserve(frames: events.count, bytes: events.reduce(0) { $0 + $1.data.count })
        for event in events {
            append(event.envelope, data: event.data.span, history: history, to: &batch)
        }
        return batch
    }

    /// Encodes one event behind those of a batch, unless its type is one that is never sent.
    ///
    /// - Parameter data: the event's JSON as the log keeps it, empty for none; only read.
    public func append(
        _ envelope: EventEnvelope, data: Span<UInt8>, history: EpochHistory,
        to batch: inout EncodedBatch
    ) {
        guard EventType.isSent(envelope.type) else { return }
        let cursor = history.cursor(at: envelope.position)
        let chunk = batch.bytes.beginChunk()
        batch.bytes.append("id: ")
        batch.bytes.appendDecimal(cursor.epoch)
        batch.bytes.append(UInt8(ascii: "-"))
        batch.bytes.appendDecimal(cursor.position)
        batch.bytes.append("\nevent: ")
        batch.bytes.append(contentsOf: envelope.type.utf8)
        batch.bytes.append("\ndata: ")
        let dataStart = batch.bytes.count
        appendJSON(
            of: envelope, data: data, cursor: cursor, clock: &batch.clock, to: &batch.bytes)
        let dataEnd = batch.bytes.count
        batch.bytes.append("\n\n")
        let moved = batch.bytes.endChunk(chunk)
        let payload = chunk.payloadStart + moved
        batch.frames.append(
            EncodedFrame(
                envelope: envelope, cursor: cursor, chunk: chunk.start..<batch.bytes.count,
                payload: payload..<batch.bytes.count - 2,
                data: dataStart + moved..<dataEnd + moved))
    }

    /// Encodes one event in full, whatever its size, as `GET /api/v1/events/ID` answers.
    public static func json(of event: Event, cursor: Cursor) -> [UInt8] {
        var bytes: [UInt8] = []
        var clock = TimestampWriter()
        EventEncoder(maximumBytes: .max).appendJSON(
            of: event.envelope, data: event.data.span, cursor: cursor, clock: &clock, to: &bytes)
        return bytes.withIDMember(cursor)
    }

    private func appendJSON(
        of envelope: EventEnvelope, data: Span<UInt8>, cursor: Cursor,
        clock: inout TimestampWriter, to bytes: inout [UInt8]
    ) {
        let start = bytes.count
        bytes.append("{\"event_id\":\"")
        bytes.appendDecimal(envelope.eventID)
        bytes.append("\",")
        bytes.appendMembers(of: envelope, clock: &clock)
        let envelopeEnd = bytes.count
        if envelope.operation == .publish {
            bytes.append(",\"data\":")
            if data.isEmpty { bytes.append("null") } else { bytes.appendOnOneLine(data) }
        } else if data.count > 2 {
            // The log's object goes on where the envelope ends.
            bytes.append(UInt8(ascii: ","))
            bytes.appendOnOneLine(data.extracting(1..<data.count - 1))
        }
        bytes.append(UInt8(ascii: "}"))
        let size = bytes.count - start
        guard size > maximumBytes else { return }

        bytes.removeSubrange(envelopeEnd...)
        if envelope.operation != .publish, let changed = Self.changed(in: data) {
            bytes.append(",\"changed\":")
            bytes.appendOnOneLine(data.extracting(changed))
        }
        bytes.append(",\"oversize\":{\"bytes\":")
        bytes.appendDecimal(Int64(size))
        bytes.append(",\"href\":\"/api/v1/events/")
        bytes.append(contentsOf: cursor.description.utf8)
        bytes.append("\"}}")
    }

    private static func changed(in data: Span<UInt8>) -> Range<Int>? {
        JSONMembers.find(in: data)?.first { member in
            let name = Array("changed".utf8)
            return member.name.count == name.count
                && name.indices.allSatisfy { data[member.name.lowerBound + $0] == name[$0] }
        }?.value
    }
}

extension EventType {
    /// Whether events of this type are sent at all: the canary of `doctor` never is.
    public static func isSent(_ type: String) -> Bool {
        !type.utf8.starts(with: "event_service.".utf8)
    }
}

/// The frames of events that became visible at once, side by side in one buffer.
public struct EncodedBatch: Sendable {
    /// The first position that the batch covers.
    public let first: Int64
    /// The last position that the batch covers; `first - 1` if it covers none.
    public let last: Int64
    /// The frames, in order of position; positions that are not sent have none.
    public fileprivate(set) var frames: [EncodedFrame] = []
    /// What the frames' ranges point into.
    public fileprivate(set) var bytes: [UInt8] = []
    fileprivate var clock = TimestampWriter()

    /// Creates a batch without frames.
    public init(first: Int64, last: Int64) {
        self.first = first
        self.last = last
    }

    /// Makes room for frames with this many bytes of data.
    public mutating func reserve(frames count: Int, bytes size: Int) {
        frames.reserveCapacity(count)
        bytes.reserveCapacity(size + count * 320)
    }
}

/// Where one event stands in its batch, and what decides who sees it.
public struct EncodedFrame: Sendable {
    /// All of the event but its data.
    public let envelope: EventEnvelope
    /// The event's id.
    public let cursor: Cursor
    /// The event's position.
    public var position: Int64 { cursor.position }
    /// The frame with the chunk framing around it.
    public let chunk: Range<Int>
    /// The frame alone, as HTTP/1.0 gets it.
    public let payload: Range<Int>
    /// The event's JSON alone.
    public let data: Range<Int>
}

extension Subscription {
    /// Whether the subscriber sees an event.
    public func admits(_ envelope: EventEnvelope) -> Bool {
        admits(
            type: envelope.type, key: envelope.key, audience: envelope.audience,
            hiddenFrom: envelope.hiddenFrom)
    }
}

extension [UInt8] {
    /// Appends what an event's JSON has between its id and its data: `type` to `traceparent`.
    mutating func appendMembers(of envelope: EventEnvelope, clock: inout TimestampWriter) {
        // A type is made of characters that JSON does not escape.
        append("\"type\":\"")
        append(contentsOf: envelope.type.utf8)
        append("\",\"topic\":\"")
        append(contentsOf: EventType.topic(of: envelope.type))
        append(UInt8(ascii: "\""))
        if let key = envelope.key {
            append(",\"key\":")
            appendJSONString(key)
        }
        append(",\"op\":\"")
        append(envelope.operation.name)
        append("\",\"time\":\"")
        clock.append(envelope.time, to: &self)
        append(UInt8(ascii: "\""))
        if let trace = envelope.traceParent {
            append(",\"traceparent\":\"")
            append(contentsOf: trace.text.utf8)
            append(UInt8(ascii: "\""))
        }
    }

    /// An event's JSON object with `id` as its first member, as history and single events have it.
    public func withIDMember(_ cursor: Cursor) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 48)
        bytes.append("{\"id\":\"")
        bytes.append(contentsOf: cursor.description.utf8)
        bytes.append("\",")
        bytes.append(contentsOf: self.dropFirst())
        return bytes
    }
}
