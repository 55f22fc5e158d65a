import Testing

@testable import EventCore

@Suite struct `Settings of bridges` {
    private static func read(_ redis: SettingValue) throws(SettingFault) -> RedisSettings {
        try RedisSettings(redis)
    }

    /// A source that is complete, with these members put in or, with `nil`, taken out.
    static func source(_ changes: [String: SettingValue?] = [:]) -> SettingValue {
        var members: [String: SettingValue] = [
            "stream": .text("in"), "type": .text("{/type}"),
            "audience": .list([.text("{/audience}")]),
        ]
        for (name, value) in changes { members[name] = value }
        return .object(members)
    }

    static func redis(_ sources: SettingValue...) -> SettingValue {
        .object(["sources": .list(sources)])
    }

    @Test func `what is left out has its default`() throws {
        let settings = try Self.read(Self.redis(Self.source()))
        #expect(settings.timeout == .seconds(5))
        let source = try #require(settings.sources.first)
        #expect(source.name == "redis:in")
        #expect(
            source.origin
                == .stream(
                    RedisStreamSettings(name: "in", group: "event-service", field: "json")))
        #expect(source.isDurable && settings.sinks.isEmpty)
        #expect(source.mapping.data == .message)
        #expect(source.mapping.key == nil && source.mapping.deduplicationKey == nil)
    }

    @Test func `a mapping is read whole`() throws {
        let settings = try Self.read(
            Self.redis(
                Self.source([
                    "name": .text("tasks"), "group": .text("g"), "field": .text("f"),
                    "type": .object([
                        "field": .text("/t"), "map": .object(["A": .text("task.a")]),
                        "otherwise": .text("drop"),
                    ]),
                    "key": .text("{/id}"), "audience": .text("user:{/u}"),
                    "data": .list([.text("/a/x"), .text("/b")]),
                    "dedup_key": .text("{stream}/{entry}"), "durable": .text("true"),
                ])))
        let source = try #require(settings.sources.first)
        #expect(source.name == "tasks")
        #expect(source.origin == .stream(RedisStreamSettings(name: "in", group: "g", field: "f")))
        let names = ["stream", "entry"]
        #expect(
            source.mapping
                == SourceMapping(
                    type: .field(
                        MappingTestsAccess.pointer("/t"), map: ["A": "task.a"], otherwise: .drop),
                    key: MappingTestsAccess.template("{/id}", names: names),
                    audience: [MappingTestsAccess.template("user:{/u}", names: names)],
                    data: .object([
                        ("x", MappingTestsAccess.pointer("/a/x")),
                        ("b", MappingTestsAccess.pointer("/b")),
                    ]),
                    deduplicationKey: MappingTestsAccess.template(
                        "{stream}/{entry}", names: names)))
    }

    private typealias MappingTestsAccess = `Mapping of messages`

    @Test func `without a map the field is the type, with one the unknown is seen`() throws {
        func rule(_ members: [String: SettingValue]) throws -> SourceMapping.TypeRule? {
            let type = SettingValue.object(members.merging(["field": .text("/t")]) { $1 })
            return try Self.read(Self.redis(Self.source(["type": type]))).sources.first?.mapping
                .type
        }
        let pointer = MappingTestsAccess.pointer("/t")
        #expect(try rule([:]) == .field(pointer, map: [:], otherwise: .pass))
        let map = ["A": "task.a"]
        let setting = SettingValue.object(["A": .text("task.a")])
        #expect(try rule(["map": setting]) == .field(pointer, map: map, otherwise: .deadLetter))
        for (text, otherwise) in [
            ("pass", SourceMapping.Otherwise.pass), ("dead_letter", .deadLetter),
            ("task.other", .type("task.other")),
        ] {
            #expect(
                try rule(["map": setting, "otherwise": .text(text)])
                    == .field(pointer, map: map, otherwise: otherwise))
        }
    }

    private static let allowedType =
        "an event type such as task.created, or {field: \"/pointer\", map: {…}, otherwise: …}"
    private static let allowedData =
        "a list of JSON pointers with different last names, or one pointer"

    private static let faults: [(SettingValue, String, String)] = [
        (.text("x"), "redis", "\"x\" is not allowed; allowed is an object"),
        (
            .object(["source": .list([])]), "redis.source",
            "there is no such setting; the nearest is sources; allowed are timeout, sources, sinks"
        ),
        (
            .object(["timeout": .text("1h")]), "redis.timeout",
            "\"1h\" is not allowed; allowed is a duration from 100ms to 60s"
        ),
        (
            .object(["sources": source()]), "redis.sources",
            "an object is not allowed; allowed is a list of objects"
        ),
        (
            redis(source(["stream": nil])), "redis.sources[0]",
            "needed is either channels or a stream"
        ),
        (
            redis(source(["channels": .text("news")])), "redis.sources[0]",
            "needed is either channels or a stream"
        ),
        (
            redis(source(["stream": nil, "channels": .text("news"), "group": .text("g")])),
            "redis.sources[0].group", "only a source with a stream has one"
        ),
        (
            redis(
                source([
                    "stream": nil, "channels": .text("news"), "durable": .text("false"),
                    "dedup_key": .text("{/id}"),
                ])), "redis.sources[0].dedup_key", "an event that is not durable has none"
        ),
        (
            sink(["channel": .text("a"), "stream": .text("b")]), "redis.sinks[0]",
            "needed is either a channel or a stream"
        ),
        (
            sink(["stream": .text("b")]), "redis.sinks[0].maxlen",
            "is missing; needed is the number of entries that are kept"
        ),
        (
            sink(["channel": .text("a"), "maxlen": .text("5")]), "redis.sinks[0].maxlen",
            "only a sink with a stream has one"
        ),
        (
            sink(["channel": .text("a"), "types": .list([])]), "redis.sinks[0].types",
            "a list of 0 is not allowed; allowed is a list of types, a trailing * allowed,"
                + " such as [\"task.*\"]"
        ),
        (
            sink(["stream": .text("in"), "maxlen": .text("5")]), "redis.sinks[0]",
            "what it writes is also read by a source: events would go round for ever"
        ),
        (
            redis(source(["audiences": .text("*")])), "redis.sources[0].audiences",
            "there is no such setting; the nearest is audience; allowed are name, channels, stream, group,"
                + " field, durable, type, key, audience, data, dedup_key"
        ),
        (
            redis(source(["durable": .text("false")])), "redis.sources[0].durable",
            "\"false\" is not allowed; allowed is true: an entry goes to one node of the group, so"
                + " only the log can bring it to all; ephemeral events come by channels"
        ),
        (redis(source(), source()), "redis.sources[1]", another("redis:in")),
        (
            redis(source(), source(["name": .text("redis:in")])), "redis.sources[1].name",
            another("redis:in")
        ),
        (
            redis(source(["audience": nil])), "redis.sources[0].audience",
            "is missing; needed is a list of labels such as \"user:{/user_id}\""
        ),
        (
            redis(source(["audience": .list([])])), "redis.sources[0].audience",
            "a list of 0 is not allowed; allowed is a list of labels such as \"user:{/user_id}\""
        ),
        (
            redis(source(["audience": .list([.text("*"), .text("everyone")])])),
            "redis.sources[0].audience[1]",
            "\"everyone\" is no label; allowed is user:ID, session:ID, context:NAME or *"
        ),
        (
            redis(source(["audience": .list([.text("user:{id}")])])),
            "redis.sources[0].audience[0]",
            "\"user:{id}\": {id} stands for nothing; allowed is a JSON pointer such as /user_id,"
                + " stream, entry"
        ),
        (
            redis(source(["type": nil])), "redis.sources[0].type",
            "is missing; needed is " + allowedType
        ),
        (
            redis(source(["type": .text("task")])), "redis.sources[0].type",
            "\"task\" is not allowed; allowed is " + allowedType
        ),
        (
            redis(source(["type": .text("stream.open")])), "redis.sources[0].type",
            "\"stream.open\" is not allowed; allowed is " + allowedType
        ),
        (
            redis(source(["type": .object(["field": .text("event_type")])])),
            "redis.sources[0].type.field",
            "\"event_type\" is not allowed; allowed is a JSON pointer such as /event_type"
        ),
        (
            redis(source(["type": .object(["field": .text("/t"), "map": map("A", "a")])])),
            "redis.sources[0].type.map.A", "\"a\" is not allowed; allowed is an event type"
        ),
        (
            redis(source(["type": .object(["field": .text("/t"), "otherwise": .text("keep")])])),
            "redis.sources[0].type.otherwise",
            "\"keep\" is not allowed; allowed is drop, pass, dead_letter, or an event type"
        ),
        (
            redis(source(["data": .text("task_id")])), "redis.sources[0].data",
            "\"task_id\" is not allowed; allowed is " + allowedData
        ),
        (
            redis(source(["data": .list([.text("/a/id"), .text("/b/id")])])),
            "redis.sources[0].data", "\"/b/id\" is not allowed; allowed is " + allowedData
        ),
        (
            redis(source(["key": .text("{/id")])), "redis.sources[0].key",
            "\"{/id\": a { that is not closed; write {{ for the character"
        ),
    ]

    /// A source, and a sink of all types with these members.
    private static func sink(_ members: [String: SettingValue]) -> SettingValue {
        .object([
            "sources": .list([source()]),
            "sinks": .list([.object(["types": .text("*")].merging(members) { $1 })]),
        ])
    }

    private static func map(_ name: String, _ type: String) -> SettingValue {
        .object([name: .text(type)])
    }

    private static func another(_ name: String) -> String {
        "there is another \"\(name)\"; give each a name of its own"
    }

    @Test func `what is wrong is said with the path to it`() {
        for (value, path, problem) in Self.faults {
            do {
                _ = try Self.read(value)
                Issue.record("\(path) is taken")
            } catch {
                #expect(error == SettingFault(path, problem))
            }
        }
    }
}

@Suite struct `Addresses of Redis servers` {
    @Test(arguments: [
        ("redis://127.0.0.1", "redis://127.0.0.1:6379/0", nil, nil),
        ("redis://cache:7000/3", "redis://cache:7000/3", nil, nil),
        ("redis://[::1]:7000", "redis://[::1]:7000/0", nil, nil),
        ("redis://:se%40cret@h", "redis://h:6379/0", nil, "se@cret"),
        ("redis://me:p%3a%2F@h/1", "redis://h:6379/1", "me", "p:/"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock?db=0", nil, nil),
        ("unix://me:pw@/run/redis.sock?db=2", "unix:///run/redis.sock?db=2", "me", "pw"),
    ])
    func `an address is read`(text: String, shown: String, user: String?, password: String?)
        throws
    {
        let address = try #require(RedisAddress(text))
        #expect(address.description == shown, "a password is never shown")
        #expect(address.user == user)
        #expect(address.password == password)
    }

    @Test(arguments: [
        "", "127.0.0.1:6379", "rediss://h", "http://h", "redis://", "redis://:6379", "redis://h:0",
        "redis://h:70000", "redis://h/x", "redis://h/-1", "redis://me@h", "redis://:%zz@h",
        "redis://:%00@h", "unix://run/redis.sock", "unix:///run/redis.sock?database=1",
    ])
    func `what is none is refused`(text: String) {
        #expect(RedisAddress(text) == nil)
    }
}

@Suite struct `Check of a mapping` {
    private static func check(_ sources: SettingValue...) throws -> MappingCheck {
        var configuration = Configuration()
        configuration.redis = try RedisSettings(.object(["sources": .list(sources)]))
        return MappingCheck(configuration)
    }

    @Test func `each message is shown as each source would take it`() throws {
        var check = try Self.check(
            `Settings of bridges`.source(["key": .text("{/id}"), "data": .text("/data")]),
            `Settings of bridges`.source([
                "stream": .text("other"),
                "type": .object([
                    "field": .text("/type"), "map": .object(["x": .text("y.z")]),
                    "otherwise": .text("drop"),
                ]),
            ]))
        #expect(check.hasSources)
        #expect(
            check.check(
                Array(#"{"type":"a.b","audience":["*","user:1"],"id":7,"data":[1.50]}"#.utf8),
                number: 3)
                == [
                    #"{"source":"redis:in","line":3,"event":{"type":"a.b","audience":["*","user:1"],"#
                        + #""key":"7","dedup_key":"redis:in:0-3","data":[1.50]}}"#,
                    #"{"source":"redis:other","line":3,"dropped":true}"#,
                ])
        #expect(check.isClean)
        #expect(
            check.check(Array("{".utf8), number: 4)
                == ["in", "other"].map {
                    #"{"source":"redis:\#($0)","line":4,"dead_letter":"not JSON: no member name at byte 1"}"#
                })
        #expect(!check.isClean)
    }

    @Test func `a message that one source takes is in order`() throws {
        var check = try Self.check(
            `Settings of bridges`.source(),
            `Settings of bridges`.source([
                "stream": .text("other"), "type": .text("{/kind}"),
            ]))
        #expect(check.check(Array(#"{"type":"a.b","audience":"*"}"#.utf8), number: 1).count == 2)
        #expect(check.isClean)
        #expect(try !Self.check().hasSources)
    }
}
