/// Events that are delivered to who is there, and then forgotten: they have no position, no id, and no
/// place in the log or the ring.
public final class EphemeralBlock: Sendable {
    /// Where one event stands in the block, and what decides who sees it.
    public struct Frame: Sendable {
        /// All but the data; its numbers mean nothing.
        public let envelope: EventEnvelope
        /// The frame with the chunk framing around it.
        public let chunk: Range<Int>
        /// The frame alone.
        public let payload: Range<Int>
    }

    /// The frames.
    public let frames: [Frame]
    /// What the frames' ranges point into.
    public let bytes: SharedBytes

    /// What the block takes in memory, about.
    public var byteCount: Int { bytes.count + frames.count * 256 + 128 }

    /// Encodes events that came at this time.
    public init(_ events: [BridgedEvent], time: Timestamp) {
        var bytes: [UInt8] = []
        var clock = TimestampWriter()
        frames = events.map { event in
            let chunk = bytes.beginChunk()
            bytes.append("event: ")
            bytes.append(contentsOf: event.type.utf8)
            bytes.append("\ndata: {\"type\":\"")
            bytes.append(contentsOf: event.type.utf8)
            bytes.append("\",\"topic\":\"")
            bytes.append(contentsOf: EventType.topic(of: event.type))
            bytes.append(UInt8(ascii: "\""))
            if let key = event.key {
                bytes.append(",\"key\":")
                bytes.appendJSONString(key)
            }
            bytes.append(",\"op\":\"publish\",\"time\":\"")
            clock.append(time, to: &bytes)
            bytes.append("\",\"data\":")
            bytes.appendOnOneLine(event.data.span)
            bytes.append("}\n\n")
            let moved = bytes.endChunk(chunk)
            return Frame(
                envelope: EventEnvelope(
                    position: 0, eventID: 0, time: time, operation: .publish, type: event.type,
                    key: event.key, audience: event.audience),
                chunk: chunk.start..<bytes.count,
                payload: chunk.payloadStart + moved..<bytes.count - 2)
        }
        self.bytes = SharedBytes(bytes)
    }
}
