// Reads the setting `redis`. What is wrong is said with the path to it, before anything is started.

extension RedisSettings {
    private static let members = ["timeout", "sources"]

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
    }
}

extension RedisSourceSettings {
    fileprivate static let members =
        ["name", "stream", "group", "field", "durable"] + SourceMapping.members

    fileprivate init(
        _ reader: SettingReader, after others: [RedisSourceSettings]
    ) throws(SettingFault) {
        let allowed = "the name of a stream"
        guard let stream = try reader.text("stream", allowed: allowed) else {
            throw reader.fault("stream", allowed: allowed)
        }
        guard try reader.boolean("durable") ?? true else {
            throw reader.fault(
                "durable",
                allowed: "true: an entry goes to one node of the group, so only the log can bring"
                    + " it to all")
        }
        self.stream = stream
        group = try reader.text("group") ?? "event-service"
        field = try reader.text("field") ?? "json"
        mapping = try SourceMapping(reader, names: ["stream", "entry"])
        name = try reader.bridgeName(default: "redis:\(stream)", others: others.map(\.name))
    }
}

extension SettingReader {
    /// What tells one bridge from another: given, or by default what it reads or writes.
    fileprivate func bridgeName(
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
