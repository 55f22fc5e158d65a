/// Writes events as the bytes that all streams share.
///
/// A frame is encoded once, with the chunk framing of HTTP/1.1 around it (RFC 9112, section 7.1), so
/// that a stream that is due several frames that stand side by side gets one buffer:
/// ```
/// c7\r\n id: 1764000000-42\nevent: task.created\ndata: {"event_id":"57",…}\n\n \r\n
/// └ start └ payload                              └ data                 └ …ends  └ end
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
        batch.bytes.reserveCapacity(events.reduce(0) { $0 + $1.data.count + 320 })
        batch.frames.reserveCapacity(events.count)
        var payload: [UInt8] = []
        for event in events where EventType.isSent(event.type) {
            let cursor = history.cursor(at: event.position)
            payload.removeAll(keepingCapacity: true)
            payload.append("id: ")
            payload.appendDecimal(cursor.epoch)
            payload.append(UInt8(ascii: "-"))
            payload.appendDecimal(cursor.position)
            payload.append("\nevent: ")
            payload.append(contentsOf: event.type.utf8)
            payload.append("\ndata: ")
            let dataStart = payload.count
            appendJSON(of: event, cursor: cursor, limit: maximumBytes, to: &payload)
            let dataEnd = payload.count
            payload.append("\n\n")

            let start = batch.bytes.count
            let payloadStart = batch.bytes.appendChunk(payload)
            batch.frames.append(
                EncodedFrame(
                    event: event, cursor: cursor, chunk: start..<batch.bytes.count,
                    payload: payloadStart..<payloadStart + payload.count,
                    data: payloadStart + dataStart..<payloadStart + dataEnd))
        }
        return batch
    }

    /// Encodes one event in full, whatever its size, as `GET /api/v1/events/ID` answers.
    public static func json(of event: Event, cursor: Cursor) -> [UInt8] {
        var bytes: [UInt8] = []
        EventEncoder(maximumBytes: .max).appendJSON(
            of: event, cursor: cursor, limit: .max, to: &bytes)
        return bytes.withIDMember(cursor)
    }

    private func appendJSON(
        of event: Event, cursor: Cursor, limit: Int, to bytes: inout [UInt8]
    ) {
        let start = bytes.count
        bytes.append("{\"event_id\":\"")
        bytes.appendDecimal(event.eventID)
        bytes.append("\",\"type\":")
        bytes.appendJSONString(event.type)
        bytes.append(",\"topic\":")
        bytes.appendJSONString(EventType.topic(of: event.type))
        if let key = event.key {
            bytes.append(",\"key\":")
            bytes.appendJSONString(key)
        }
        bytes.append(",\"op\":\"")
        bytes.append(event.operation.name)
        bytes.append("\",\"time\":\"")
        event.time.append(to: &bytes)
        bytes.append("\"")
        let envelopeEnd = bytes.count
        if event.operation == .publish {
            bytes.append(",\"data\":")
            bytes.appendOnOneLine(event.data.isEmpty ? Array("null".utf8) : event.data)
        } else if event.data.count > 2 {
            // The log's object goes on where the envelope ends.
            bytes.append(UInt8(ascii: ","))
            bytes.appendOnOneLine(event.data.dropFirst().dropLast())
        }
        bytes.append(UInt8(ascii: "}"))
        let size = bytes.count - start
        guard size > limit else { return }

        bytes.removeSubrange(envelopeEnd...)
        if event.operation != .publish, let changed = Self.changed(in: event.data) {
            bytes.append(",\"changed\":")
            bytes.appendOnOneLine(event.data[changed])
        }
        bytes.append(",\"oversize\":{\"bytes\":")
        bytes.appendDecimal(Int64(size))
        bytes.append(",\"href\":\"/api/v1/events/")
        bytes.append(contentsOf: cursor.description.utf8)
        bytes.append("\"}}")
    }

    private static func changed(in data: [UInt8]) -> Range<Int>? {
        JSONMembers.find(in: data.span)?.first {
            data[$0.name].elementsEqual("changed".utf8)
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

    /// Creates a batch without frames.
    public init(first: Int64, last: Int64) {
        self.first = first
        self.last = last
    }
}

/// Where one event stands in its batch, and what decides who sees it.
public struct EncodedFrame: Sendable {
    /// The event's id.
    public let cursor: Cursor
    /// The event's position.
    public var position: Int64 { cursor.position }
    /// The event's type.
    public let type: String
    /// The event's key.
    public let key: String?
    /// The labels of which a subscriber needs one …
    public let audience: [AudienceLabel]
    /// … and those of which it must have none.
    public let hiddenFrom: [AudienceLabel]
    /// Whether a slow stream may skip it for a newer one of its type and key.
    public let conflates: Bool
    /// The frame with the chunk framing around it.
    public let chunk: Range<Int>
    /// The frame alone, as HTTP/1.0 gets it.
    public let payload: Range<Int>
    /// The event's JSON alone.
    public let data: Range<Int>

    fileprivate init(
        event: Event, cursor: Cursor, chunk: Range<Int>, payload: Range<Int>, data: Range<Int>
    ) {
        self.cursor = cursor
        type = event.type
        key = event.key
        audience = event.audience
        hiddenFrom = event.hiddenFrom
        conflates = event.conflates
        self.chunk = chunk
        self.payload = payload
        self.data = data
    }
}

extension Subscription {
    /// Whether the subscriber sees the event of this frame.
    public func admits(_ frame: EncodedFrame) -> Bool {
        admits(
            type: frame.type, key: frame.key, audience: frame.audience,
            hiddenFrom: frame.hiddenFrom)
    }
}

extension [UInt8] {
    /// Appends a chunk of HTTP/1.1 and returns where its payload begins.
    @discardableResult
    public mutating func appendChunk(_ payload: [UInt8]) -> Int {
        appendHexadecimal(payload.count)
        append("\r\n")
        let start = count
        append(contentsOf: payload)
        append("\r\n")
        return start
    }

    /// Appends a number in hexadecimal.
    public mutating func appendHexadecimal(_ value: Int) {
        var shift = (Int.bitWidth - Swift.max(value.leadingZeroBitCount, 0) + 3) / 4 * 4
        shift = Swift.max(shift, 4)
        while shift > 0 {
            shift -= 4
            append(Self.hexadecimal(UInt8(truncatingIfNeeded: value >> shift & 15)))
        }
    }

    /// Appends JSON with the line ends that may stand between its tokens made blanks: a line end would
    /// end the `data` field of the frame. Within strings JSON has none (RFC 8259, section 7).
    mutating func appendOnOneLine(_ json: some Collection<UInt8>) {
        let start = count
        append(contentsOf: json)
        for index in start..<count where self[index] == 0x0A || self[index] == 0x0D {
            self[index] = 0x20
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
