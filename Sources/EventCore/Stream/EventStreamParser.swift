/// Reads an event stream: the client's side, for `tail`, the load driver and the tests.
///
/// Follows HTML, section 9.2.6: line ends are CR, LF or CRLF; an `id` that holds NUL is ignored; a last
/// block without its blank line is dropped. Linear in its input, however that is cut.
public struct EventStreamParser {
    /// One event as the stream dispatched it.
    public struct Message: Sendable, Equatable {
        /// The event's type, `message` where none was given.
        public var type: String
        /// The data lines, joined by LF.
        public var data: String
        /// The last id that was seen up to this event.
        public var lastEventID: String

        /// Creates a message.
        public init(type: String, data: String, lastEventID: String) {
            self.type = type
            self.data = data
            self.lastEventID = lastEventID
        }
    }

    /// The id to resume from, updated with every dispatched block.
    public private(set) var lastEventID = ""
    /// The newest `retry`, in milliseconds.
    public private(set) var retryMilliseconds: Int?
    /// How many comment lines were seen: heartbeats.
    public private(set) var comments = 0

    private var line: [UInt8] = []
    private var afterCarriageReturn = false
    private var isFirstLine = true
    private var type = ""
    private var data: [UInt8] = []
    private var hasData = false
    private var pendingID: String?

    /// Creates a parser for a stream that begins with its next byte.
    public init() {}

    /// Reads more of the stream and returns the events that it completed.
    public mutating func consume(_ bytes: some Sequence<UInt8>) -> [Message] {
        var messages: [Message] = []
        for byte in bytes {
            switch byte {
            case 0x0A where afterCarriageReturn:
                afterCarriageReturn = false
            case 0x0A, 0x0D:
                afterCarriageReturn = byte == 0x0D
                endLine(&messages)
            default:
                afterCarriageReturn = false
                line.append(byte)
            }
        }
        return messages
    }

    private mutating func endLine(_ messages: inout [Message]) {
        defer { line.removeAll(keepingCapacity: true) }
        if isFirstLine {
            isFirstLine = false
            if line.starts(with: [0xEF, 0xBB, 0xBF]) { line.removeFirst(3) }
        }
        guard let first = line.first else {
            dispatch(&messages)
            return
        }
        guard first != UInt8(ascii: ":") else {
            comments += 1
            return
        }
        let colon = line.firstIndex(of: UInt8(ascii: ":")) ?? line.endIndex
        var value = line[colon...].dropFirst()
        if value.first == 0x20 { value = value.dropFirst() }
        switch String(decoding: line[..<colon], as: UTF8.self) {
        case "event":
            type = String(decoding: value, as: UTF8.self)
        case "data":
            if hasData { data.append(0x0A) }
            data.append(contentsOf: value)
            hasData = true
        case "id":
            if !value.contains(0) { pendingID = String(decoding: value, as: UTF8.self) }
        case "retry":
            let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
            if !value.isEmpty, value.allSatisfy(digits.contains) {
                retryMilliseconds = Int(String(decoding: value, as: UTF8.self))
            }
        default:
            break
        }
    }

    private mutating func dispatch(_ messages: inout [Message]) {
        if let pendingID { lastEventID = pendingID }
        if hasData {
            messages.append(
                Message(
                    type: type.isEmpty ? "message" : type,
                    data: String(decoding: data, as: UTF8.self), lastEventID: lastEventID))
        }
        type = ""
        data.removeAll(keepingCapacity: true)
        hasData = false
        pendingID = nil
    }
}
