/// The setting `kafka`: what comes from Kafka, and what goes there.
public struct KafkaSettings: Sendable, Equatable {
    /// The consumer group of all sources.
    public var group = "event-service"
    /// Passed to librdkafka, in the order of their names.
    public var properties: [Property] = []
    /// What is read.
    public var sources: [KafkaSourceSettings] = []
    /// What is written.
    public var sinks: [KafkaSinkSettings] = []

    /// Creates settings by which nothing is done.
    public init() {}

    /// A property of librdkafka.
    public struct Property: Sendable, Equatable {
        /// Such as `security.protocol`.
        public var name: String
        /// What it is set to.
        public var value: Value

        /// What a property is set to.
        public enum Value: Sendable, Equatable {
            /// The value.
            case text(String)
            /// A file that holds it, for secrets.
            case file(String)
        }
    }
}

/// One element of `kafka.sources`.
public struct KafkaSourceSettings: Sendable, Equatable {
    /// The topics, which no other source names.
    public var topics: [String]
    /// What becomes of their messages.
    public var mapping: SourceMapping
    /// Where a copy of each dead letter goes.
    public var deadLetterTopic: String?

    /// Creates the settings of a source.
    public init(topics: [String], mapping: SourceMapping, deadLetterTopic: String? = nil) {
        self.topics = topics
        self.mapping = mapping
        self.deadLetterTopic = deadLetterTopic
    }
}

/// One element of `kafka.sinks`.
public struct KafkaSinkSettings: Sendable, Equatable {
    /// By this its position is kept.
    public var name: String
    /// The topic of each event.
    public var topic: BridgeTemplate
    /// Which events.
    public var types: [TypePattern]
    /// How they are written.
    public var format: Format
    /// CloudEvents' `source`.
    public var source: String

    /// How an event is written.
    public enum Format: String, Sendable, CaseIterable {
        /// The event's JSON, as history has it.
        case json
        /// CloudEvents 1.0 in binary mode: attributes as headers, the data as the value.
        case cloudevents
    }

    /// Creates the settings of a sink.
    public init(
        name: String, topic: BridgeTemplate, types: [TypePattern], format: Format = .json,
        source: String = "event-service"
    ) {
        self.name = name
        self.topic = topic
        self.types = types
        self.format = format
        self.source = source
    }
}

// Reading. What is wrong is said with the path to it, before anything is started.

extension KafkaSettings {
    private static let members = ["group", "properties", "sources", "sinks"]

    init(_ value: SettingValue) throws(SettingFault) {
        let reader = try SettingReader(value, at: "kafka", members: Self.members)
        group = try reader.text("group") ?? group
        properties = try Self.properties(reader)
        for source in try reader.objects(
            "sources", members: ["topics", "dead_letter_topic"] + SourceMapping.members)
        {
            sources.append(try KafkaSourceSettings(source, after: sources))
        }
        let read = Set(sources.flatMap(\.topics))
        for (index, source) in sources.enumerated() {
            guard let topic = source.deadLetterTopic, read.contains(topic) else { continue }
            throw SettingFault(
                "kafka.sources[\(index)].dead_letter_topic",
                "\"\(topic)\" is also read by a source: dead letters would go round for ever")
        }
        for sink in try reader.objects("sinks", members: KafkaSinkSettings.members) {
            let settings = try KafkaSinkSettings(sink, after: sinks)
            if let topic = settings.topic.constant,
                sources.contains(where: { $0.topics.contains(topic) })
            {
                throw SettingFault(
                    sink.path(of: "topic"),
                    "\"\(topic)\" is also read by a source: events would go round for ever")
            }
            sinks.append(settings)
        }
    }

    /// Properties that the service sets itself, because what it promises hangs on them, and where they
    /// are set.
    private static let reserved: [String: String] = [
        "bootstrap.servers": "kafka_brokers", "metadata.broker.list": "kafka_brokers",
        "group.id": "kafka.group",
        "enable.auto.commit": "nothing: offsets are committed after their events are",
        "enable.auto.offset.store": "nothing: offsets are committed after their events are",
        "enable.partition.eof": "nothing: the end tells whether a topic is a new one",
        "enable.idempotence": "nothing: it is always on",
        "statistics.interval.ms": "nothing: the statistics tell whether a broker is there",
        "plugin.library.paths": "nothing: no other code is loaded",
    ]

    private static func properties(_ reader: SettingReader) throws(SettingFault) -> [Property] {
        guard let value = reader.value("properties") else { return [] }
        guard case .object(let members) = value else {
            throw reader.fault("properties", allowed: "an object of librdkafka's properties")
        }
        var properties: [Property] = []
        for (name, value) in members.sorted(by: { $0.key < $1.key }) {
            let path = reader.path(of: "properties") + ".\(name)"
            if let instead = reserved[name] {
                throw SettingFault(path, "cannot be set here; it is set by \(instead)")
            }
            if let text = value.single {
                properties.append(Property(name: name, value: .text(text)))
            } else {
                let file = try SettingReader(value, at: path, members: ["file"])
                guard let path = try file.text("file", allowed: "the name of a file") else {
                    throw file.fault("file", allowed: "the name of a file")
                }
                properties.append(Property(name: name, value: .file(path)))
            }
        }
        return properties
    }
}

extension KafkaSourceSettings {
    fileprivate init(
        _ reader: SettingReader, after others: [KafkaSourceSettings]
    ) throws(SettingFault) {
        topics = try Self.topics(reader, taken: others.flatMap(\.topics))
        mapping = try SourceMapping(reader, names: ["topic", "key"])
        deadLetterTopic = try reader.parsed("dead_letter_topic", allowed: "the name of a topic") {
            KafkaTopic.isName($0) ? $0 : nil
        }
    }

    private static func topics(
        _ reader: SettingReader, taken: [String]
    ) throws(SettingFault) -> [String] {
        let allowed = "a list of names of topics, without patterns"
        let topics = try reader.texts("topics", allowed: allowed) ?? []
        guard !topics.isEmpty, topics.allSatisfy(KafkaTopic.isName) else {
            throw reader.fault("topics", allowed: allowed)
        }
        var known = taken
        for topic in topics {
            guard !known.contains(topic) else {
                throw SettingFault(
                    reader.path(of: "topics"),
                    "\"\(topic)\" is named twice; a topic has one source")
            }
            known.append(topic)
        }
        return topics
    }
}

extension KafkaSinkSettings {
    fileprivate static let members = ["name", "topic", "types", "format", "source"]

    fileprivate init(
        _ reader: SettingReader, after others: [KafkaSinkSettings]
    ) throws(SettingFault) {
        let allowed = "the name of a topic, such as \"events\" or \"events.{topic}\""
        guard let topic = try reader.template("topic", names: SinkEvent.names),
            topic.constant.map(KafkaTopic.isName) ?? true
        else { throw reader.fault("topic", allowed: allowed) }
        self.topic = topic
        types = try reader.typePatterns("types")
        format = try reader.choice("format") ?? .json
        source = try reader.text("source") ?? "event-service"
        name = try reader.bridgeName(
            default: "kafka:\(topic.text)", others: others.map(\.name))
    }
}

/// Names of Kafka's topics.
enum KafkaTopic {
    static func isName(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 249 && text != "." && text != ".."
            && text.utf8.allSatisfy { EventType.isPartByte($0) || $0 == UInt8(ascii: ".") }
    }
}
