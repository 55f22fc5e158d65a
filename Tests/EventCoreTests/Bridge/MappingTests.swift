import TestSupport
import Testing

@testable import EventCore

@Suite struct `Mapping of messages` {
    /// The use that the product is named for: a topic of a task service.
    static let tasks = SourceMapping(
        type: .field(
            pointer("/event_type"),
            map: [
                "TaskProgressUpdateEvent": "task.progress-updated",
                "TaskStatusUpdateEvent": "task.status-changed",
            ], otherwise: .drop),
        key: template("{/task_id}"),
        audience: [template("user:{/user_id}"), template("session:{/session_id}")],
        data: .object([("task_id", pointer("/task_id")), ("progress", pointer("/progress"))]),
        deduplicationKey: template("{/event_id}"))

    static func template(_ text: String, names: [String] = ["topic", "key"]) -> BridgeTemplate {
        do { return try BridgeTemplate(text, names: names) } catch {
            preconditionFailure("\(error)")
        }
    }

    static func pointer(_ text: String) -> JSONPointer {
        guard let pointer = JSONPointer(text) else { preconditionFailure(text) }
        return pointer
    }

    static func map(
        _ json: String, _ mapping: SourceMapping = tasks, names: [String: String] = [:]
    ) -> MappingOutcome {
        mapping.map(Array(json.utf8), names: names, origin: "here:1")
    }

    static func event(_ outcome: MappingOutcome) throws -> BridgedEvent {
        guard case .event(let event) = outcome else { throw Unmapped(outcome: outcome) }
        return event
    }

    struct Unmapped: Error {
        let outcome: MappingOutcome
    }

    @Test func `a message of a task becomes an event for its user and session`() throws {
        let event = try Self.event(
            Self.map(
                """
                {"event_type": "TaskProgressUpdateEvent", "event_id": "e-1", "task_id": 17,
                 "user_id": "ada", "session_id": "s1", "progress": 40.50, "internal": "secret"}
                """))
        #expect(event.type == "task.progress-updated")
        #expect(event.key == "17")
        #expect(event.audience.map(\.text) == ["user:ada", "session:s1"])
        #expect(
            String(decoding: event.data, as: UTF8.self) == "{\"task_id\":17,\"progress\":40.50}")
        #expect(event.deduplicationKey == "e-1")
    }

    private static let whole =
        "\"event_type\":\"TaskStatusUpdateEvent\",\"event_id\":1,\"task_id\":2"

    @Test(arguments: [
        ("{\(whole),\"user_id\":\"ada\"}", ["user:ada"]),
        ("{\(whole),\"user_id\":null,\"session_id\":\"s\"}", ["session:s"]),
        ("{\(whole),\"user_id\":\"\",\"session_id\":\"s\"}", ["session:s"]),
        ("{\(whole),\"user_id\":7,\"session_id\":true}", ["user:7", "session:true"]),
        ("{\(whole),\"user_id\":\"*\"}", ["user:*"]),
    ])
    func `a field that is absent, null or empty gives no label`(
        json: String, labels: [String]
    ) throws {
        #expect(try Self.event(Self.map(json)).audience.map(\.text) == labels)
    }

    @Test(arguments: [
        ("", "not JSON: no value at byte 0"),
        ("{\"event_type\":", "not JSON: no value at byte 14"),
        ("[]", "type: /event_type is absent"),
        ("\"text\"", "type: /event_type is absent"),
        ("{\(whole)}", "audience: no label is left"),
        ("{\(whole),\"user_id\":null,\"session_id\":\"\"}", "audience: no label is left"),
        (
            "{\(whole),\"user_id\":[\"ada\"]}",
            "audience: /user_id is an array; a text, number or truth value is wanted"
        ),
        (
            "{\(whole),\"user_id\":{\"id\":1}}",
            "audience: /user_id is an object; a text, number or truth value is wanted"
        ),
        (
            "{\(whole),\"user_id\":\"ada\",\"user_id\":\"eve\"}",
            "audience: /user_id: the name \"user_id\" stands twice in one object"
        ),
        (
            "{\(whole),\"user_id\":\"ada\",\"user\\u005fid\":\"eve\"}",
            "audience: /user_id: the name \"user_id\" stands twice in one object"
        ),
        (
            "{\(whole),\"user_id\":\"a\\u0000b\"}",
            "audience: /user_id holds U+0000 or half a surrogate pair"
        ),
        ("{\"user_id\":\"ada\",\"event_id\":1,\"task_id\":2}", "type: /event_type is absent"),
        (
            "{\"event_type\":null,\"user_id\":\"ada\",\"event_id\":1,\"task_id\":2}",
            "type: /event_type is absent"
        ),
        (
            "{\"event_type\":\"TaskStatusUpdateEvent\",\"user_id\":\"ada\",\"event_id\":1}",
            "key: {/task_id} is absent"
        ),
        (
            "{\"event_type\":\"TaskStatusUpdateEvent\",\"user_id\":\"ada\",\"event_id\":1,\"task_id\":\"\"}",
            "key: {/task_id} is empty"
        ),
        (
            "{\"event_type\":\"TaskStatusUpdateEvent\",\"user_id\":\"ada\",\"event_id\":1,\"task_id\":[]}",
            "key: /task_id is an array; a text, number or truth value is wanted"
        ),
        (
            "{\"event_type\":\"TaskStatusUpdateEvent\",\"user_id\":\"ada\",\"task_id\":2}",
            "dedup_key: {/event_id} is absent"
        ),
    ])
    func `what cannot be mapped is a dead letter that says why`(json: String, reason: String) {
        #expect(Self.map(json) == .deadLetter(reason), "\(json)")
    }

    @Test func `lengths have an end`() {
        let long = String(repeating: "x", count: 1025)
        #expect(
            Self.map("{\(Self.whole),\"user_id\":\"\(long)\"}")
                == .deadLetter(
                    "audience: \"user:\(long.prefix(123))\" from \"user:{/user_id}\" is no label"))
        #expect(
            Self.map(
                "{\"event_type\":\"TaskStatusUpdateEvent\",\"event_id\":\"\(long)\",\"task_id\":2,\"user_id\":1}"
            )
                == .deadLetter("dedup_key: 1025 bytes, more than 1024"))
        let huge = [UInt8](repeating: 0x20, count: 2 << 20)
        #expect(
            Self.tasks.map(huge, names: [:], origin: nil)
                == .deadLetter("2097152 bytes, more than 1048576"))
    }

    // MARK: Types

    private static let all = [Self.template("*")]

    @Test func `a type that the map does not know is what the settings say`() throws {
        let json = "{\"t\":\"task.odd\"}"
        func outcome(_ otherwise: SourceMapping.Otherwise, _ json: String) -> MappingOutcome {
            Self.map(
                json,
                SourceMapping(
                    type: .field(Self.pointer("/t"), map: ["A": "task.a"], otherwise: otherwise),
                    audience: Self.all))
        }
        #expect(outcome(.drop, json) == .dropped)
        #expect(try Self.event(outcome(.pass, json)).type == "task.odd")
        #expect(try Self.event(outcome(.type("task.other"), json)).type == "task.other")
        #expect(outcome(.deadLetter, json) == .deadLetter("type: the map has no \"task.odd\""))
        #expect(try Self.event(outcome(.drop, "{\"t\":\"A\"}")).type == "task.a")
        for bad in ["task", "stream.open", "event_service.x", "a..b", "a.b c"] {
            #expect(
                outcome(.pass, "{\"t\":\"\(bad)\"}")
                    == .deadLetter("type: \"\(bad)\" is not an event type"))
        }
        // A letter with its accent in one and in two is not the same name.
        let accents = SourceMapping(
            type: .field(Self.pointer("/t"), map: ["\u{E9}": "task.a"], otherwise: .drop),
            audience: Self.all)
        #expect(Self.map("{\"t\":\"e\u{301}\"}", accents) == .dropped)
    }

    @Test func `whoever publishes may name type and audience`() throws {
        let mapping = SourceMapping(
            type: .template(Self.template("{/type}")), audience: [Self.template("{/audience}")],
            data: .value(Self.pointer("/data")))
        let event = try Self.event(
            Self.map(
                "{\"type\":\"chat.said\",\"audience\":[\"user:1\",\"session:2\",\"user:1\",\"\",null],\"data\":[1, 2]}",
                mapping))
        #expect(event.type == "chat.said")
        #expect(event.audience.map(\.text) == ["user:1", "session:2"])
        #expect(String(decoding: event.data, as: UTF8.self) == "[1, 2]")
        #expect(event.deduplicationKey == "here:1")
        for (json, reason) in [
            ("{\"type\":\"chat.said\",\"audience\":[],\"data\":1}", "audience: no label is left"),
            (
                "{\"type\":\"chat.said\",\"audience\":\"everyone\",\"data\":1}",
                "audience: \"everyone\" from \"{/audience}\" is no label"
            ),
            (
                "{\"type\":\"chat.said\",\"audience\":[\"*\",[\"*\"]],\"data\":1}",
                "audience: /audience is an array; a text, number or truth value is wanted"
            ),
            ("{\"type\":\"chat.said\",\"audience\":\"*\"}", "data: /data is absent"),
            (
                "{\"type\":\"chat\",\"audience\":\"*\",\"data\":1}",
                "type: \"chat\" is not an event type"
            ),
        ] {
            #expect(Self.map(json, mapping) == .deadLetter(reason))
        }
    }

    // MARK: Data

    @Test(arguments: [
        (
            "{\"a\":{\"b\":1.0},\"c\":\"x\\u00e9\",\"d\":null}",
            "{\"b\":1.0,\"c\":\"x\\u00e9\",\"d\":null}"
        ),
        ("{\"c\":[{\"a\":1}]}", "{\"c\":[{\"a\":1}]}"), ("{}", "{}"), ("[0]", "{}"),
    ])
    func `data keep their bytes, by the last names of the pointers`(json: String, data: String)
        throws
    {
        let mapping = SourceMapping(
            type: .template(Self.template("a.b")), audience: Self.all,
            data: .object(
                ["/a/b", "/c", "/d"].map { (Self.pointer($0).tokens.last ?? "", Self.pointer($0)) })
        )
        let event = try Self.event(Self.map(json, mapping))
        #expect(String(decoding: event.data, as: UTF8.self) == data)
    }

    @Test func `without a choice the whole message is the data`() throws {
        let mapping = SourceMapping(type: .template(Self.template("a.b")), audience: Self.all)
        for json in ["{\"a\" : 1e400}", "17", "null", "\"\\u0000\""] {
            #expect(
                String(decoding: try Self.event(Self.map(json, mapping)).data, as: UTF8.self)
                    == json)
        }
    }

    @Test func `what came with the message has names`() throws {
        let mapping = SourceMapping(
            type: .template(Self.template("{topic}.seen")), key: Self.template("{topic}/{key}"),
            audience: [Self.template("context:{{{topic}}}")])
        let event = try Self.event(Self.map("1", mapping, names: ["topic": "tasks", "key": "k"]))
        #expect(event.type == "tasks.seen")
        #expect(event.key == "tasks/k")
        #expect(event.audience.map(\.text) == ["context:{tasks}"])
        #expect(
            Self.map("1", mapping, names: ["topic": "tasks"])
                == .deadLetter("key: {topic}/{key} is absent"))
    }
}

@Suite struct `JSON pointers` {
    /// The document and most rows of RFC 6901, section 5.
    private static let document = """
        {"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\\\j":5,"k\\"l":6," ":7,"m~n":8}
        """

    @Test(arguments: [
        ("/foo", "[\"bar\",\"baz\"]"), ("/foo/0", "\"bar\""), ("/", "0"), ("/a~1b", "1"),
        ("/c%d", "2"),
        ("/e^f", "3"), ("/g|h", "4"), ("/i\\j", "5"), ("/k\"l", "6"), ("/ ", "7"), ("/m~0n", "8"),
    ])
    func `the examples of the RFC are found`(pointer: String, json: String) throws {
        let document = try JSONDocument(Array(Self.document.utf8))
        let pointer = try #require(JSONPointer(pointer))
        let found = try document.value(at: pointer)
        let value = try #require(found)
        #expect(String(decoding: document.bytes[value.range], as: UTF8.self) == json)
    }

    @Test(arguments: [
        "/foo/2", "/foo/-", "/foo/00", "/foo/01", "/foo/-1", "/foo/+1", "/Foo", "/foo/bar", "/a/b",
        "//",
    ])
    func `what is not there is not found`(pointer: String) throws {
        let document = try JSONDocument(Array(Self.document.utf8))
        let pointer = try #require(JSONPointer(pointer))
        #expect(try document.value(at: pointer) == nil)
    }

    @Test(arguments: ["foo", "/a~", "/a~2", "~0", " /a", "#/a"])
    func `what is no pointer is refused`(text: String) {
        #expect(JSONPointer(text) == nil)
    }
}

@Suite struct Templates {
    @Test(arguments: [
        ("{", "\"{\": a { that is not closed; write {{ for the character"),
        ("a{/b", "\"a{/b\": a { that is not closed; write {{ for the character"),
        ("a}", "\"a}\": a } that closes nothing; write }} for the character"),
        ("{}", "\"{}\": {} stands for nothing; allowed is a JSON pointer such as /user_id, topic"),
        (
            "{user}",
            "\"{user}\": {user} stands for nothing; allowed is a JSON pointer such as /user_id, topic"
        ),
        (
            "{/a~2}",
            "\"{/a~2}\": {/a~2} stands for nothing; allowed is a JSON pointer such as /user_id, topic"
        ),
    ])
    func `what cannot be read says why`(text: String, problem: String) {
        let fault = #expect(throws: TemplateFault.self) {
            try BridgeTemplate(text, names: ["topic"])
        }
        #expect(fault?.description == problem)
    }

    @Test func `braces that are meant are written twice`() throws {
        #expect(try BridgeTemplate("{{a}} {{{{", names: []).constant == "{a} {{")
        #expect(try BridgeTemplate("", names: []).constant == "")
        #expect(try BridgeTemplate("{/a}", names: []).constant == nil)
    }
}
