/// How a message from outside becomes an event: the settings `type`, `key`, `audience`, `data` and
/// `dedup_key` of a source.
///
/// Deny by default: a message of which anything that decides is missing, of another kind than it should
/// be, or said twice, becomes no event but a dead letter with the reason.
public struct SourceMapping: Sendable, Equatable {
    /// Where the type comes from.
    public enum TypeRule: Sendable, Equatable {
        /// A text with places, most often with none: the type itself.
        case template(BridgeTemplate)
        /// A field, and what its values mean.
        case field(JSONPointer, map: [String: String], otherwise: Otherwise)
    }

    /// What becomes of a message whose type the map does not know.
    public enum Otherwise: Sendable, Equatable {
        /// It is left out, as one that nobody wants.
        case drop
        /// What the field holds is the type.
        case pass
        /// It gets this type.
        case type(String)
        /// It is a dead letter.
        case deadLetter
    }

    /// What the event carries.
    public enum DataRule: Sendable, Equatable {
        /// The whole message.
        case message
        /// The value at a pointer.
        case value(JSONPointer)
        /// An object of these values, by the last name of each pointer.
        case object([(name: String, pointer: JSONPointer)])

        /// The same rule.
        public static func == (left: Self, right: Self) -> Bool {
            switch (left, right) {
            case (.message, .message): true
            case (.value(let left), .value(let right)): left == right
            case (.object(let left), .object(let right)):
                left.map(\.pointer) == right.map(\.pointer)
            case (.message, _), (.value, _), (.object, _): false
            }
        }
    }

    /// Where the type comes from.
    public var type: TypeRule
    /// The key of the event, if it has one.
    public var key: BridgeTemplate?
    /// A label each; of an array a label for each element.
    public var audience: [BridgeTemplate]
    /// What the event carries.
    public var data: DataRule
    /// What makes repeats one event; `nil`: the place that the message came from.
    public var deduplicationKey: BridgeTemplate?

    /// Creates a mapping.
    public init(
        type: TypeRule, key: BridgeTemplate? = nil, audience: [BridgeTemplate],
        data: DataRule = .message, deduplicationKey: BridgeTemplate? = nil
    ) {
        self.type = type
        self.key = key
        self.audience = audience
        self.data = data
        self.deduplicationKey = deduplicationKey
    }

    /// The most bytes of a message.
    public static let maximumBytes = 1 << 20
}

/// An event that a message became.
public struct BridgedEvent: Sendable, Equatable {
    /// The full type.
    public var type: String
    /// The key.
    public var key: String?
    /// Who may see it; never empty.
    public var audience: [AudienceLabel]
    /// Its payload, as JSON.
    public var data: [UInt8]
    /// What makes repeats one event; `nil`: nothing does.
    public var deduplicationKey: String?

    /// Creates an event.
    public init(
        type: String, key: String? = nil, audience: [AudienceLabel], data: [UInt8],
        deduplicationKey: String? = nil
    ) {
        self.type = type
        self.key = key
        self.audience = audience
        self.data = data
        self.deduplicationKey = deduplicationKey
    }
}

/// What became of a message.
public enum MappingOutcome: Sendable, Equatable {
    /// An event.
    case event(BridgedEvent)
    /// Nothing, because the settings say so.
    case dropped
    /// Nothing, and this is why.
    case deadLetter(String)
}

extension SourceMapping {
    /// Maps a message.
    ///
    /// - Parameters:
    ///   - names: what came with the message, by the names that templates use.
    ///   - origin: the place that the message came from, as the deduplication key where none is set.
    public func map(
        _ bytes: [UInt8], names: [String: String], origin: String?
    ) -> MappingOutcome {
        guard bytes.count <= Self.maximumBytes else {
            return .deadLetter("\(bytes.count) bytes, more than \(Self.maximumBytes)")
        }
        do throws(Refusal) {
            let message = try read(bytes, names)
            guard let type = try type(of: message) else { return .dropped }
            return .event(
                BridgedEvent(
                    type: type, key: try key(of: message),
                    audience: try audience(of: message), data: try data(of: message),
                    deduplicationKey: try deduplicationKey(of: message) ?? origin))
        } catch {
            return .deadLetter(error.reason)
        }
    }

    /// A message is refused.
    private struct Refusal: Error {
        let reason: String
    }

    private func read(
        _ bytes: [UInt8], _ names: [String: String]
    ) throws(Refusal) -> BridgeMessage {
        do {
            return try BridgeMessage(bytes, names: names)
        } catch {
            throw Refusal(reason: error.description)
        }
    }

    /// `nil` if the message is to be left out.
    private func type(of message: BridgeMessage) throws(Refusal) -> String? {
        let type: String
        switch self.type {
        case .template(let template):
            type = try required(template, of: message, "type")
        case .field(let pointer, let map, let otherwise):
            let value = try required(message.text(at: pointer), "type", pointer.text)
            if let known = map.first(where: { $0.key.utf8.elementsEqual(value.utf8) }) {
                return known.value
            }
            switch otherwise {
            case .drop: return nil
            case .type(let type): return type
            case .deadLetter:
                throw Refusal(reason: "type: the map has no \"\(value.prefix(128))\"")
            case .pass: type = value
            }
        }
        guard EventType.isPublishable(type) else {
            throw Refusal(reason: "type: \"\(type.prefix(128))\" is not an event type")
        }
        return type
    }

    private func key(of message: BridgeMessage) throws(Refusal) -> String? {
        guard let key else { return nil }
        return try required(key, of: message, "key")
    }

    private func audience(of message: BridgeMessage) throws(Refusal) -> [AudienceLabel] {
        var labels: [AudienceLabel] = []
        for template in audience {
            let fields =
                template.soloPointer.map(message.texts(at:)) ?? [template.fill(from: message)]
            for field in fields {
                guard let label = try label(field, template) else { continue }
                if !labels.contains(label) { labels.append(label) }
            }
        }
        guard !labels.isEmpty else { throw Refusal(reason: "audience: no label is left") }
        return labels
    }

    /// `nil` where the field is absent or null, or names nobody: a kind alone is no label.
    private func label(
        _ field: FieldText, _ template: BridgeTemplate
    ) throws(Refusal) -> AudienceLabel? {
        switch field {
        case .absent: return nil
        case .unusable(let reason): throw Refusal(reason: "audience: \(reason)")
        case .text(let text):
            if text.isEmpty || AudienceLabel.Kind.allCases.contains(where: { $0.rawValue == text })
            {
                return nil
            }
            guard let label = AudienceLabel(text) else {
                throw Refusal(
                    reason:
                        "audience: \"\(text.prefix(128))\" from \"\(template.text)\" is no label")
            }
            return label
        }
    }

    private func data(of message: BridgeMessage) throws(Refusal) -> [UInt8] {
        switch data {
        case .message:
            return message.document.bytes
        case .value(let pointer):
            guard let value = try value(at: pointer, of: message) else {
                throw Refusal(reason: "data: \(pointer.text) is absent")
            }
            return Array(value)
        case .object(let members):
            var bytes = Array("{".utf8)
            for (name, pointer) in members {
                guard let value = try value(at: pointer, of: message) else { continue }
                if bytes.count > 1 { bytes.append(UInt8(ascii: ",")) }
                bytes.appendJSONString(name)
                bytes.append(UInt8(ascii: ":"))
                bytes.append(contentsOf: value)
            }
            bytes.append(UInt8(ascii: "}"))
            return bytes
        }
    }

    private func value(
        at pointer: JSONPointer, of message: BridgeMessage
    ) throws(Refusal) -> ArraySlice<UInt8>? {
        do {
            return try message.bytes(at: pointer)
        } catch {
            throw Refusal(reason: "data: " + BridgeMessage.ambiguous(error, pointer))
        }
    }

    private func deduplicationKey(of message: BridgeMessage) throws(Refusal) -> String? {
        guard let template = deduplicationKey else { return nil }
        let key = try required(template, of: message, "dedup_key")
        guard key.utf8.count <= 1024 else {
            throw Refusal(reason: "dedup_key: \(key.utf8.count) bytes, more than 1024")
        }
        return key
    }

    private func required(
        _ template: BridgeTemplate, of message: BridgeMessage, _ setting: String
    ) throws(Refusal) -> String {
        try required(template.fill(from: message), setting, template.text)
    }

    private func required(
        _ field: FieldText, _ setting: String, _ source: String
    ) throws(Refusal) -> String {
        switch field {
        case .text(""): throw Refusal(reason: "\(setting): \(source) is empty")
        case .text(let text): return text
        case .absent: throw Refusal(reason: "\(setting): \(source) is absent")
        case .unusable(let reason): throw Refusal(reason: "\(setting): \(reason)")
        }
    }
}
