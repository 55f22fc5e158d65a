/// What one call of `event_service.take_in` is given.
public struct IntakeBatch: Sendable {
    /// How far a batch reads a partition.
    public struct Offset: Sendable, Equatable {
        /// The partition.
        public var partition: PartitionName
        /// Where the database should have it standing; `nil`: nowhere yet.
        public var expected: Int64?
        /// Where it stands once the batch is taken in.
        public var next: Int64
        /// The time of the batch's last message of it.
        public var stamp: Int64
    }

    private let source: String
    private var events = Array("[".utf8)
    private var data = Array("{".utf8)
    private var dead = Array("[".utf8)

    /// How many events there are.
    public private(set) var eventCount = 0
    /// How many dead letters there are.
    public private(set) var deadCount = 0
    /// The partitions, in the order in which the batch came to them.
    public private(set) var offsets: [Offset] = []

    init(source: String) {
        self.source = source
    }

    mutating func add(_ item: IntakeItem, expected: Int64?) {
        switch item.content {
        case .event(let event): add(event)
        case .deadLetter(let letter): add(letter)
        case .nothing: break
        }
        guard let place = item.place else { return }
        if let index = offsets.firstIndex(where: { $0.partition == place.partition }) {
            offsets[index].next = place.offset + 1
            offsets[index].stamp = place.stamp
        } else {
            offsets.append(
                Offset(
                    partition: place.partition, expected: expected, next: place.offset + 1,
                    stamp: place.stamp))
        }
    }

    private mutating func add(_ event: BridgedEvent) {
        if eventCount > 0 {
            events.append(UInt8(ascii: ","))
            data.append(UInt8(ascii: ","))
        }
        eventCount += 1
        events.append("{")
        event.appendMembers(to: &events)
        events.append("}")
        data.appendArrayElement(event.data)
    }

    private mutating func add(_ letter: DeadLetter) {
        if deadCount > 0 { dead.append(UInt8(ascii: ",")) }
        deadCount += 1
        letter.appendJSON(to: &dead)
    }

    /// The parameters of `take_in`: events, data, dead letters, offsets.
    public var parameters: [String] {
        var places = Array("[".utf8)
        for (index, offset) in offsets.enumerated() {
            if index > 0 { places.append(UInt8(ascii: ",")) }
            places.append("{\"source\":")
            places.appendJSONString(source)
            places.append(",\"topic\":")
            places.appendJSONString(offset.partition.topic)
            places.append(",\"partition\":")
            places.appendDecimal(Int64(offset.partition.partition))
            if let expected = offset.expected {
                places.append(",\"expected\":")
                places.appendDecimal(expected)
            }
            places.append(",\"next\":")
            places.appendDecimal(offset.next)
            places.append(",\"stamp\":")
            places.appendDecimal(offset.stamp)
            places.append("}")
        }
        return [(events, "]"), (data, "}"), (dead, "]"), (places, "]")].map { bytes, end in
            String(decoding: bytes, as: UTF8.self) + end
        }
    }
}

extension BridgedEvent {
    /// Appends all but the data, as members of a JSON object.
    func appendMembers(to bytes: inout [UInt8]) {
        bytes.appendEnvelopeMembers(type, audience, key: key, deduplicationKey: deduplicationKey)
    }
}

extension DeadLetter {
    /// Of a longer message this much is kept, in bytes.
    public static let maximumBytes = 1 << 20

    /// Appends the letter as a JSON object, for the database.
    public func appendJSON(to bytes: inout [UInt8]) {
        bytes.append("{\"source\":")
        bytes.appendJSONString(Self.text(source.utf8))
        bytes.append(",\"reason\":")
        bytes.appendJSONString(Self.text(reason.utf8))
        bytes.append(",\"message\":")
        bytes.appendJSONString(Self.text(message.prefix(Self.maximumBytes)))
        bytes.append("}")
    }

    /// PostgreSQL's `text` has no U+0000.
    private static func text(_ bytes: some Sequence<UInt8>) -> String {
        var scalars = String.UnicodeScalarView()
        for scalar in String(decoding: Array(bytes), as: UTF8.self).unicodeScalars {
            scalars.append(scalar == "\0" ? "\u{FFFD}" : scalar)
        }
        return String(scalars)
    }
}

extension [UInt8] {
    /// Appends an element of an array as PostgreSQL reads it from text.
    fileprivate mutating func appendArrayElement(_ bytes: [UInt8]) {
        append(UInt8(ascii: "\""))
        reserveCapacity(count + bytes.count + 16)
        for byte in bytes {
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                append(UInt8(ascii: "\\"))
            }
            append(byte)
        }
        append(UInt8(ascii: "\""))
    }
}
