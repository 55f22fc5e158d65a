// Reads the setting `redis`. What is wrong is said with the path to it, before anything is started.

extension RedisSettings {
    private static let members = ["timeout", "sources", "sinks"]

    init(_ value: SettingValue) throws(SettingFault) {
        let reader = try SettingReader(value, at: "redis", members: Self.members)
        timeout =
            try reader.parsed("timeout", allowed: "a duration from 100ms to 60s") { text in
                DurationText.parse(text).flatMap {
                    (.milliseconds(100)...(.seconds(60))).contains($0) ? $0 : nil
                }
            } ?? timeout
        for source in try reader.objects("sources", members: RedisSourceSettings.members) {
            sources.append(try RedisSourceSettings(source, after: sources))
        }
        for sink in try reader.objects("sinks", members: RedisSinkSettings.members) {
            sinks.append(try RedisSinkSettings(sink, after: sinks, sources: sources))
        }
    }
}

extension RedisSourceSettings {
    fileprivate static let members =
        ["name", "channels", "stream", "group", "field", "durable"] + SourceMapping.members

    fileprivate init(
        _ reader: SettingReader, after others: [RedisSourceSettings]
    ) throws(SettingFault) {
        isDurable = try reader.boolean("durable") ?? true
        let channels = try reader.texts("channels", allowed: "a list of channels or patterns")
        let stream = try reader.text("stream", allowed: "the name of a stream")
        switch (channels, stream) {
        case (let channels?, nil):
            for member in ["group", "field"] where reader.has(member) {
                throw SettingFault(reader.path(of: member), "only a source with a stream has one")
            }
            origin = .channels(channels)
        case (nil, let stream?):
            guard isDurable else {
                throw reader.fault(
                    "durable",
                    allowed:
                        "true: an entry goes to one node of the group, so only the log can bring"
                        + " it to all; ephemeral events come by channels")
            }
            origin = .stream(
                RedisStreamSettings(
                    name: stream, group: try reader.text("group") ?? "event-service",
                    field: try reader.text("field") ?? "json"))
        case (nil, nil), (_?, _?):
            throw SettingFault(reader.path, "needed is either channels or a stream")
        }
        let names = if stream == nil { ["channel"] } else { ["stream", "entry"] }
        mapping = try SourceMapping(reader, names: names)
        if !isDurable, reader.has("dedup_key") {
            throw SettingFault(
                reader.path(of: "dedup_key"), "an event that is not durable has none")
        }
        name = try reader.bridgeName(
            default: "redis:" + (stream ?? (channels ?? []).joined(separator: ",")),
            others: others.map(\.name))
    }
}

extension RedisSinkSettings {
    fileprivate static let members = ["name", "channel", "stream", "maxlen", "types"]

    fileprivate init(
        _ reader: SettingReader, after others: [RedisSinkSettings],
        sources: [RedisSourceSettings]
    ) throws(SettingFault) {
        let channel = try reader.template("channel", names: SinkEvent.names)
        let stream = try reader.template("stream", names: SinkEvent.names)
        let length = try reader.integer("maxlen", 1...1_000_000_000)
        switch (channel, stream) {
        case (let channel?, nil):
            guard length == nil else {
                throw SettingFault(reader.path(of: "maxlen"), "only a sink with a stream has one")
            }
            target = .channel(channel)
        case (nil, let stream?):
            guard let length else {
                throw reader.fault("maxlen", allowed: "the number of entries that are kept")
            }
            target = .stream(stream, maximumLength: length)
        case (nil, nil), (_?, _?):
            throw SettingFault(reader.path, "needed is either a channel or a stream")
        }
        for source in sources where source.reads(channel: channel?.constant, stream?.constant) {
            throw SettingFault(
                reader.path,
                "what it writes is also read by a source: events would go round for ever")
        }
        types = try reader.typePatterns("types")
        let target = channel.map { "channel:\($0.text)" } ?? "stream:\(stream?.text ?? "")"
        name = try reader.bridgeName(default: "redis:" + target, others: others.map(\.name))
    }
}

extension RedisSourceSettings {
    fileprivate func reads(channel: String?, _ stream: String?) -> Bool {
        switch origin {
        case .channels(let channels): channel.map(channels.contains) ?? false
        case .stream(let source): stream == source.name
        }
    }
}

extension SettingReader {
    func typePatterns(_ name: String) throws(SettingFault) -> [TypePattern] {
        let allowed = "a list of types, a trailing * allowed, such as [\"task.*\"]"
        let texts = try texts(name, allowed: allowed) ?? []
        let patterns = texts.compactMap { TypePattern($0) }
        guard patterns.count == texts.count, !patterns.isEmpty else {
            throw fault(name, allowed: allowed)
        }
        return patterns
    }

    func choice<Value: RawRepresentable & CaseIterable>(
        _ name: String
    ) throws(SettingFault) -> Value? where Value.RawValue == String {
        try parsed(name, allowed: Value.allCases.map(\.rawValue).joined(separator: ", ")) {
            Value(rawValue: $0)
        }
    }

    /// What tells one bridge from another: given, or by default what it reads or writes.
    func bridgeName(
        default text: String, others: [String]
    ) throws(SettingFault) -> String {
        let name = try parsed("name", allowed: "a text of at most 200 bytes") {
            $0.isEmpty || $0.utf8.count > 200 ? nil : $0
        }
        guard !others.contains(name ?? text) else {
            throw SettingFault(
                has("name") ? path(of: "name") : path,
                "there is another \"\(name ?? text)\"; give each a name of its own")
        }
        return name ?? text
    }
}

extension SourceMapping {
    static let members = ["type", "key", "audience", "data", "dedup_key"]

    init(_ reader: SettingReader, names: [String]) throws(SettingFault) {
        let labels = "a list of labels such as \"user:{/user_id}\""
        guard let audience = try reader.texts("audience", allowed: labels) else {
            throw reader.fault("audience", allowed: labels)
        }
        var templates: [BridgeTemplate] = []
        for (index, text) in audience.enumerated() {
            let path = "\(reader.path(of: "audience"))[\(index)]"
            let template = try reader.template(text, at: path, names: names)
            if let constant = template.constant, AudienceLabel(constant) == nil {
                throw SettingFault(
                    path,
                    "\"\(constant)\" is no label; allowed is user:ID, session:ID, context:NAME or *"
                )
            }
            templates.append(template)
        }
        self.init(
            type: try TypeRule(reader, names: names),
            key: try reader.template("key", names: names), audience: templates,
            data: try DataRule(reader),
            deduplicationKey: try reader.template("dedup_key", names: names))
    }
}

extension SourceMapping.TypeRule {
    private static let allowedType =
        "an event type such as task.created, or {field: \"/pointer\", map: {…}, otherwise: …}"

    fileprivate init(_ reader: SettingReader, names: [String]) throws(SettingFault) {
        switch reader.value("type") {
        case .text(let text)?:
            let template = try reader.template(text, at: reader.path(of: "type"), names: names)
            guard template.constant.map(EventType.isPublishable) ?? true else {
                throw reader.fault("type", allowed: Self.allowedType)
            }
            self = .template(template)
        case .object?:
            self = try Self.field(reader)
        case .list?, nil:
            throw reader.fault("type", allowed: Self.allowedType)
        }
    }

    private static func field(_ reader: SettingReader) throws(SettingFault) -> Self {
        guard let value = reader.value("type") else {
            throw reader.fault("type", allowed: allowedType)
        }
        let rule = try SettingReader(
            value, at: reader.path(of: "type"), members: ["field", "map", "otherwise"])
        guard
            let pointer = try rule.parsed(
                "field", allowed: "a JSON pointer such as /event_type", JSONPointer.init)
        else { throw rule.fault("field", allowed: "a JSON pointer such as /event_type") }
        var map: [String: String] = [:]
        if case .object(let members)? = rule.value("map") {
            for (name, value) in members {
                guard let type = value.single, EventType.isPublishable(type) else {
                    throw SettingFault(
                        rule.path(of: "map") + ".\(name)",
                        "\(value.shown) is not allowed; allowed is an event type")
                }
                map[name] = type
            }
        } else if rule.has("map") {
            throw rule.fault("map", allowed: "an object of event types")
        }
        return .field(pointer, map: map, otherwise: try otherwise(rule, hasMap: !map.isEmpty))
    }

    private static func otherwise(
        _ rule: SettingReader, hasMap: Bool
    ) throws(SettingFault) -> SourceMapping.Otherwise {
        let given = try rule.parsed(
            "otherwise", allowed: "drop, pass, dead_letter, or an event type"
        ) { text -> SourceMapping.Otherwise? in
            switch text {
            case "drop": .drop
            case "pass": .pass
            case "dead_letter": .deadLetter
            default: EventType.isPublishable(text) ? .type(text) : nil
            }
        }
        // Without a map the field is the type; with one, what it does not know must not vanish unseen.
        return given ?? (hasMap ? .deadLetter : .pass)
    }
}

extension SourceMapping.DataRule {
    fileprivate init(_ reader: SettingReader) throws(SettingFault) {
        let allowed = "a list of JSON pointers with different last names, or one pointer"
        switch reader.value("data") {
        case nil:
            self = .message
        case .text(let text)?:
            guard let pointer = JSONPointer(text) else {
                throw reader.fault("data", allowed: allowed)
            }
            self = pointer.tokens.isEmpty ? .message : .value(pointer)
        case .list?, .object?:
            var members: [(name: String, pointer: JSONPointer)] = []
            for text in try reader.texts("data", allowed: allowed) ?? [] {
                guard let pointer = JSONPointer(text), let name = pointer.tokens.last,
                    !members.contains(where: { $0.name == name })
                else {
                    throw SettingFault(
                        reader.path(of: "data"), "\"\(text)\" is not allowed; allowed is \(allowed)"
                    )
                }
                members.append((name, pointer))
            }
            self = .object(members)
        }
    }
}
