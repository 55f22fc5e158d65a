import CHiredis

/// What a Redis server answered, copied out of the library's memory.
indirect enum RedisReply: Sendable {
    case null
    case integer(Int64)
    /// A string or a status.
    case bytes([UInt8])
    case array([RedisReply])
    /// An error, such as `NOGROUP No such key …`.
    case error(String)

    init(_ reply: UnsafeMutablePointer<redisReply>) {
        switch reply.pointee.type {
        case REDIS_REPLY_STRING, REDIS_REPLY_STATUS:
            self = .bytes(Self.bytes(reply))
        case REDIS_REPLY_INTEGER:
            self = .integer(Int64(reply.pointee.integer))
        case REDIS_REPLY_ARRAY:
            self = .array(
                (0..<reply.pointee.elements).map { index in
                    reply.pointee.element[index].map(RedisReply.init) ?? .null
                })
        case REDIS_REPLY_ERROR:
            self = .error(String(decoding: Self.bytes(reply), as: UTF8.self))
        default:
            self = .null
        }
    }

    private static func bytes(_ reply: UnsafeMutablePointer<redisReply>) -> [UInt8] {
        [UInt8](UnsafeRawBufferPointer(start: reply.pointee.str, count: reply.pointee.len))
    }

    /// The number of an integer.
    var number: Int64? {
        if case .integer(let number) = self { number } else { nil }
    }

    /// The text of a string.
    var text: String? {
        if case .bytes(let bytes) = self { String(decoding: bytes, as: UTF8.self) } else { nil }
    }

    /// The bytes of a string.
    var bytes: [UInt8]? {
        if case .bytes(let bytes) = self { bytes } else { nil }
    }

    /// The elements of an array; none of anything else.
    var elements: [RedisReply] {
        if case .array(let elements) = self { elements } else { [] }
    }

    /// The message of an error.
    var errorMessage: String? {
        if case .error(let message) = self { message } else { nil }
    }
}

/// An entry of a Redis stream.
struct RedisStreamEntry: Sendable {
    let id: String
    /// Names and values in turn.
    let fields: [[UInt8]]

    /// Reads `[id, [name, value, …]]`; `nil` for an entry that was deleted.
    init?(_ reply: RedisReply) {
        guard reply.elements.count == 2, let id = reply.elements[0].text,
            case .array(let fields) = reply.elements[1]
        else { return nil }
        self.id = id
        self.fields = fields.compactMap(\.bytes)
    }

    /// The value of a field.
    func value(of name: String) -> [UInt8]? {
        let names = stride(from: 0, to: fields.count - 1, by: 2)
        return names.first { fields[$0].elementsEqual(name.utf8) }.map { fields[$0 + 1] }
    }
}

/// A consumer of a group, as `XINFO CONSUMERS` describes it.
struct RedisConsumer: Sendable {
    let name: String
    /// How many entries it has read and not acknowledged.
    let pending: Int64
    /// How long it has done nothing.
    let idle: Duration

    init?(_ reply: RedisReply) {
        let members = reply.elements
        func member(_ name: String) -> RedisReply? {
            stride(from: 0, to: members.count - 1, by: 2).first { members[$0].text == name }
                .map { members[$0 + 1] }
        }
        guard let name = member("name")?.text, let pending = member("pending")?.number,
            let idle = member("idle")?.number
        else { return nil }
        self.name = name
        self.pending = pending
        self.idle = .milliseconds(idle)
    }
}
