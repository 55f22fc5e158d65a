import Testing

@testable import EventCore

@Suite struct `Events for other systems` {
    private static func event(
        key: String? = "7", type: String = "task.status-changed",
        data: String = #"{"new":{"id":7,"owner":"ada","tags":[]},"changed":["status"]}"#
    ) -> SinkEvent {
        SinkEvent(
            Event(
                EventEnvelope(
                    position: 42, eventID: 57, time: Timestamp(microseconds: 0),
                    operation: .update, type: type, key: key, audience: [.everyone]),
                data: Array(data.utf8)),
            cursor: Cursor(epoch: 1_764_000_000, position: 42))
    }

    private static func template(_ text: String) throws -> BridgeTemplate {
        try BridgeTemplate(text, names: SinkEvent.names)
    }

    private static let json =
        #"{"id":"1764000000-42","event_id":"57","type":"task.status-changed","topic":"task","key":"7","#
        + #""op":"update","time":"1970-01-01T00:00:00.000000Z","new":{"id":7,"owner":"ada","tags":[]},"#
        + #""changed":["status"]}"#

    @Test(arguments: [
        ("events", "events"), ("events:{topic}", "events:task"),
        ("{type}/{key}", "task.status-changed/7"),
        ("{id}", "1764000000-42"), ("{op}:{/new/owner}", "update:ada"), ("{/new/id}", "7"),
    ])
    func `a template is filled from the event`(template: String, text: String) throws {
        let event = Self.event()
        #expect(try event.fill(Self.template(template), json: event.json) == text)
    }

    @Test(arguments: [
        ("{/old/id}", "\"{/old/id}\": a field is absent"),
        (
            "{/new/tags}",
            "\"{/new/tags}\": /new/tags is an array; a text, number or truth value is wanted"
        ),
        ("{key}", "\"{key}\": a field is absent"),
    ])
    func `where a field is wanting there is a reason`(template: String, reason: String) throws {
        let event = Self.event(key: nil)
        let fault = #expect(throws: SinkFault.self) {
            try event.fill(Self.template(template), json: event.json)
        }
        #expect(fault?.reason == reason)
        let letter = event.deadLetter(sink: "redis:events", reason: reason)
        #expect(letter.source == "redis:events:1764000000-42")
        #expect(letter.message == event.json)
    }

    @Test func `Redis gets a command`() throws {
        let types = [TypePattern("*")].compactMap { $0 }
        let channel = RedisSinkSettings(
            name: "n", target: .channel(try Self.template("events:{topic}")), types: types)
        #expect(
            try channel.command(for: Self.event()).map { String(decoding: $0, as: UTF8.self) }
                == ["PUBLISH", "events:task", Self.json])
        let stream = RedisSinkSettings(
            name: "n", target: .stream(try Self.template("events"), maximumLength: 1000),
            types: types)
        #expect(
            try stream.command(for: Self.event()).map { String(decoding: $0, as: UTF8.self) } == [
                "XADD", "events", "MAXLEN", "~", "1000", "*", "id", "1764000000-42", "type",
                "task.status-changed", "json", Self.json,
            ])
    }

    private static func sink(
        _ topic: String, _ format: KafkaSinkSettings.Format
    ) throws -> KafkaSinkSettings {
        KafkaSinkSettings(
            name: "n", topic: try template(topic), types: [], format: format, source: "/tasks")
    }

    private static func headers(_ record: KafkaRecord) -> [String] {
        record.headers.map { "\($0.name)=\(String(decoding: $0.value, as: UTF8.self))" }
    }

    @Test func `Kafka gets the event as history has it`() throws {
        let record = try Self.sink("events.{topic}", .json).record(for: Self.event())
        #expect(record.topic == "events.task")
        #expect(record.key == Array("7".utf8))
        #expect(String(decoding: record.value, as: UTF8.self) == Self.json)
        #expect(Self.headers(record) == ["id=1764000000-42", "type=task.status-changed"])
    }

    @Test func `or as a CloudEvent in binary mode`() throws {
        let record = try Self.sink("events", .cloudevents).record(for: Self.event())
        #expect(
            String(decoding: record.value, as: UTF8.self)
                == #"{"new":{"id":7,"owner":"ada","tags":[]},"changed":["status"]}"#)
        #expect(
            Self.headers(record) == [
                "content-type=application/json", "ce_specversion=1.0", "ce_id=1764000000-42",
                "ce_source=/tasks", "ce_type=task.status-changed",
                "ce_time=1970-01-01T00:00:00.000000Z", "ce_subject=7",
            ])
        let bare = try Self.sink("events", .cloudevents).record(for: Self.event(key: nil, data: ""))
        #expect(bare.key == nil && String(decoding: bare.value, as: UTF8.self) == "null")
        #expect(!Self.headers(bare).contains { $0.hasPrefix("ce_subject") })
    }

    @Test func `a topic that Kafka would refuse is a dead letter`() throws {
        let fault = #expect(throws: SinkFault.self) {
            try Self.sink("events {topic}", .json).record(for: Self.event())
        }
        #expect(fault?.reason == "\"events task\" is not the name of a topic")
    }
}
