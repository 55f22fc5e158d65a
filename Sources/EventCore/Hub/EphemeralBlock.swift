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
    public var byteCount: Int {
        frames.reduce(bytes.count + 128) { $0 + $1.envelope.byteCount }
    }

    /// Encodes events that came at this time.
    public init(_ events: [BridgedEvent], time: Timestamp) {
        var bytes: [UInt8] = []
        var clock = TimestampWriter()
        frames = events.map { event in
            let envelope = EventEnvelope(
                position: 0, eventID: 0, time: time, operation: .publish, type: event.type,
                key: event.key, audience: event.audience)
            let chunk = bytes.beginChunk()
            bytes.append("event: ")
            bytes.append(contentsOf: event.type.utf8)
            bytes.append("\ndata: {")
            bytes.appendMembers(of: envelope, clock: &clock)
            bytes.append(",\"data\":")
            bytes.appendOnOneLine(event.data.span)
            bytes.append("}\n\n")
            let moved = bytes.endChunk(chunk)
            return Frame(
                envelope: envelope, chunk: chunk.start..<bytes.count,
                payload: chunk.payloadStart + moved..<bytes.count - 2)
        }
        self.bytes = SharedBytes(bytes)
    }
}
