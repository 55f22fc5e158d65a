/// An event on its way to another system.
public struct SinkEvent: Sendable {
    /// The event as the log has it.
    public let event: Event
    /// Its id.
    public let cursor: Cursor

    /// Creates an event to send.
    public init(_ event: Event, cursor: Cursor) {
        self.event = event
        self.cursor = cursor
    }

    /// What stands in braces for what an event has, beside pointers into its JSON.
    static let names = ["id", "type", "topic", "key", "op"]

    /// The event's JSON, in full, as history has it.
    public var json: [UInt8] { EventEncoder.json(of: event, cursor: cursor) }

    /// Fills a template, or throws why that cannot be done.
    public func fill(_ template: BridgeTemplate, json: [UInt8]) throws(SinkFault) -> String {
        let envelope = event.envelope
        var names = [
            "id": cursor.description, "type": envelope.type,
            "topic": String(decoding: Array(EventType.topic(of: envelope.type)), as: UTF8.self),
            "op": envelope.operation.name.description,
        ]
        names["key"] = envelope.key
        let message: BridgeMessage
        do throws(JSONFault) {
            message = try BridgeMessage(json, names: names)
        } catch {
            throw SinkFault(error.description)
        }
        switch template.fill(from: message) {
        case .text(""): throw SinkFault("\"\(template.text)\" is empty")
        case .text(let text): return text
        case .absent: throw SinkFault("\"\(template.text)\": a field is absent")
        case .unusable(let reason): throw SinkFault("\"\(template.text)\": \(reason)")
        }
    }

    /// The same with a dead letter's words.
    public func deadLetter(sink: String, reason: String) -> DeadLetter {
        DeadLetter(source: "\(sink):\(cursor)", reason: reason, message: json)
    }
}

/// Why an event cannot be sent, now or ever.
public struct SinkFault: Error, Equatable {
    /// For the dead letter.
    public let reason: String

    /// Creates a fault.
    public init(_ reason: String) {
        self.reason = reason
    }
}
