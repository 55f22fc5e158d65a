import Testing

@testable import EventCore

@Suite struct `Settings of Kafka` {
    private static func source(_ changes: [String: SettingValue?] = [:]) -> SettingValue {
        var members: [String: SettingValue] = [
            "topics": .list([.text("tasks")]), "type": .text("{topic}.seen"),
            "audience": .text("*"),
        ]
        for (name, value) in changes { members[name] = value }
        return .object(members)
    }

    private static func sources(_ sources: SettingValue...) -> SettingValue {
        .object(["sources": .list(sources)])
    }

    private static func properties(_ name: String, _ value: SettingValue) -> SettingValue {
        .object(["properties": .object([name: value])])
    }

    @Test func `all that there is is read`() throws {
        let settings = try KafkaSettings(
            .object([
                "group": .text("g"),
                "properties": .object([
                    "sasl.password": .object(["file": .text("/run/secret")]),
                    "sasl.mechanism": .text("PLAIN"),
                ]),
                "sources": .list([
                    Self.source(["dead_letter_topic": .text("tasks.dead")]),
                    Self.source(["topics": .list([.text("a"), .text("b_1-2.c")])]),
                ]),
            ]))
        #expect(settings.group == "g")
        #expect(
            settings.properties == [
                .init(name: "sasl.mechanism", value: .text("PLAIN")),
                .init(name: "sasl.password", value: .file("/run/secret")),
            ])
        #expect(settings.sources.map(\.topics) == [["tasks"], ["a", "b_1-2.c"]])
        #expect(settings.sources.map(\.deadLetterTopic) == ["tasks.dead", nil])
        #expect(try KafkaSettings(.object([:])).group == "event-service")
    }

    private static let allowedTopics = "a list of names of topics, without patterns"

    private static let faults: [(SettingValue, String, String)] = [
        (
            .object(["brokers": .text("x")]), "kafka.brokers",
            "there is no such setting; the nearest is group; allowed are group, properties, sources, sinks"
        ),
        (
            sources(source(["topics": nil])), "kafka.sources[0].topics",
            "is missing; needed is " + allowedTopics
        ),
        (
            sources(source(["topics": .text("^task.*")])), "kafka.sources[0].topics",
            "\"^task.*\" is not allowed; allowed is " + allowedTopics
        ),
        (
            sources(source(), source()), "kafka.sources[1].topics",
            "\"tasks\" is named twice; a topic has one source"
        ),
        (
            sources(source(["dead_letter_topic": .text("a b")])),
            "kafka.sources[0].dead_letter_topic",
            "\"a b\" is not allowed; allowed is the name of a topic"
        ),
        (
            sources(source(["dead_letter_topic": .text("tasks")])),
            "kafka.sources[0].dead_letter_topic",
            "\"tasks\" is also read by a source: dead letters would go round for ever"
        ),
        (
            sources(
                source(["dead_letter_topic": .text("a")]), source(["topics": .list([.text("a")])])),
            "kafka.sources[0].dead_letter_topic",
            "\"a\" is also read by a source: dead letters would go round for ever"
        ),
        (
            properties("group.id", .text("g")), "kafka.properties.group.id",
            "cannot be set here; it is set by kafka.group"
        ),
        (
            properties("enable.auto.commit", .text("true")), "kafka.properties.enable.auto.commit",
            "cannot be set here; it is set by nothing: offsets are committed after their events are"
        ),
        (
            properties("sasl.password", .list([])), "kafka.properties.sasl.password",
            "a list of 0 is not allowed; allowed is an object"
        ),
        (
            properties("sasl.password", .object([:])), "kafka.properties.sasl.password.file",
            "is missing; needed is the name of a file"
        ),
        (
            .object(["properties": .text("x")]), "kafka.properties",
            "\"x\" is not allowed; allowed is an object of librdkafka's properties"
        ),
    ]

    @Test func `what is wrong is said with the path to it`() {
        for (value, path, problem) in Self.faults {
            do {
                _ = try KafkaSettings(value)
                Issue.record("\(path) is taken")
            } catch {
                #expect(error == SettingFault(path, problem))
            }
        }
    }

    @Test func `samples are tried as messages of the first topic`() throws {
        var configuration = Configuration()
        configuration.kafka = try KafkaSettings(Self.sources(Self.source()))
        var check = MappingCheck(configuration)
        #expect(
            check.check(Array("1".utf8), number: 2) == [
                #"{"source":"kafka:tasks","line":2,"event":{"type":"tasks.seen","audience":["*"],"#
                    + #""dedup_key":"kafka:tasks:0:2:0","data":1}}"#
            ])
    }
}
