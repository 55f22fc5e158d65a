/// Shows what the sources of a configuration would make of sample messages, without any server.
public struct MappingCheck: Sendable {
    /// A source as the check sees it.
    struct Source: Sendable {
        let name: String
        let mapping: SourceMapping
        /// What comes with its messages, by the names that templates use, and the place of a message.
        let place: @Sendable (_ number: Int) -> (names: [String: String], origin: String?)
    }

    private let sources: [Source]

    /// Whether every message so far became an event of one source at least, or was left out by one
    /// because its settings say so.
    public private(set) var isClean = true

    /// Creates a check of all sources that a configuration names.
    public init(_ configuration: Configuration) {
        sources =
            configuration.kafka.sources.map(Source.init)
            + configuration.redis.sources.map(Source.init)
    }

    /// Whether there is a source at all.
    public var hasSources: Bool { !sources.isEmpty }

    /// What each source makes of a message: a line of JSON each, with `event`, `dropped` or
    /// `dead_letter`.
    ///
    /// - Parameter number: of the line of the samples on which the message stands.
    public mutating func check(_ message: [UInt8], number: Int) -> [String] {
        var isWelcome = false
        let lines = sources.map { source in
            let (names, origin) = source.place(number)
            let outcome = source.mapping.map(message, names: names, origin: origin)
            if case .deadLetter = outcome {} else { isWelcome = true }
            return Self.line(source.name, number, outcome)
        }
        isClean = isClean && isWelcome
        return lines
    }

    private static func line(_ source: String, _ number: Int, _ outcome: MappingOutcome) -> String {
        var bytes = Array("{\"source\":".utf8)
        bytes.appendJSONString(source)
        bytes.append(",\"line\":")
        bytes.appendDecimal(Int64(number))
        switch outcome {
        case .event(let event):
            bytes.append(",\"event\":{")
            event.appendMembers(to: &bytes)
            bytes.append(",\"data\":")
            bytes.append(contentsOf: event.data)
            bytes.append("}")
        case .dropped:
            bytes.append(",\"dropped\":true")
        case .deadLetter(let reason):
            bytes.append(",\"dead_letter\":")
            bytes.appendJSONString(reason)
        }
        bytes.append("}")
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension MappingCheck.Source {
    init(_ source: KafkaSourceSettings) {
        let topic = source.topics[0]
        let name = "kafka:" + source.topics.joined(separator: ",")
        self.init(name: name, mapping: source.mapping) { number in
            (["topic": topic], "kafka:\(topic):0:\(number):0")
        }
    }

    init(_ source: RedisSourceSettings) {
        switch source.origin {
        case .stream(let stream):
            let stream = stream.name
            self.init(name: source.name, mapping: source.mapping) { number in
                (["stream": stream, "entry": "0-\(number)"], "redis:\(stream):0-\(number)")
            }
        case .channels(let channels):
            self.init(name: source.name, mapping: source.mapping) { _ in
                (["channel": channels[0]], nil)
            }
        }
    }
}
