/// What is wrong within a setting that is an object, and where in it.
struct SettingFault: Error, Equatable {
    /// `kafka.sources[0].type`
    let path: String
    /// What was given, and what is allowed.
    let problem: String

    init(_ path: String, _ problem: String) {
        self.path = path
        self.problem = problem
    }
}

/// Reads the members of a setting that is an object, and knows for each where it stands.
///
/// A member that is not known stops the start: a word that is misspelt would otherwise mean its default.
struct SettingReader {
    /// `kafka.sources[0]`
    let path: String
    private let members: [String: SettingValue]

    init(_ value: SettingValue, at path: String, members known: [String]) throws(SettingFault) {
        guard case .object(let members) = value else {
            throw SettingFault(path, "\(value.shown) is not allowed; allowed is an object")
        }
        for name in members.keys.sorted() where !known.contains(name) {
            let nearest = EditDistance.nearest(to: name, of: known)
            throw SettingFault(
                "\(path).\(name)",
                "there is no such setting" + (nearest.map { "; the nearest is \($0)" } ?? "")
                    + "; allowed are " + known.joined(separator: ", "))
        }
        self.path = path
        self.members = members
    }

    func path(of name: String) -> String { "\(path).\(name)" }

    func has(_ name: String) -> Bool { members[name] != nil }

    func value(_ name: String) -> SettingValue? { members[name] }

    /// A fault of a member that was given.
    func fault(_ name: String, allowed: String) -> SettingFault {
        SettingFault(
            path(of: name),
            members[name].map { "\($0.shown) is not allowed; allowed is \(allowed)" }
                ?? "is missing; needed is \(allowed)")
    }

    /// What `parse` makes of a text; `nil` if the member is not there.
    func parsed<Parsed>(
        _ name: String, allowed: String, _ parse: (String) -> Parsed?
    ) throws(SettingFault) -> Parsed? {
        guard let value = members[name] else { return nil }
        guard let text = value.single, let parsed = parse(text) else {
            throw fault(name, allowed: allowed)
        }
        return parsed
    }

    func text(_ name: String, allowed: String = "a text") throws(SettingFault) -> String? {
        try parsed(name, allowed: allowed) { $0.isEmpty ? nil : $0 }
    }

    func boolean(_ name: String) throws(SettingFault) -> Bool? {
        try parsed(name, allowed: "true or false") { Bool($0) }
    }

    func integer(_ name: String, _ range: ClosedRange<Int>) throws(SettingFault) -> Int? {
        try parsed(name, allowed: "a number from \(range.lowerBound) to \(range.upperBound)") {
            Int($0).flatMap { range.contains($0) ? $0 : nil }
        }
    }

    /// A list of texts, or one text for a list of one; `nil` if the member is not there.
    func texts(_ name: String, allowed: String) throws(SettingFault) -> [String]? {
        guard let value = members[name] else { return nil }
        let elements: [SettingValue] =
            if case .list(let list) = value { list } else { [value] }
        let texts = elements.compactMap(\.single)
        guard texts.count == elements.count, !texts.isEmpty, !texts.contains("") else {
            throw fault(name, allowed: allowed)
        }
        return texts
    }

    /// The objects of a list; none if the member is not there.
    func objects(_ name: String, members known: [String]) throws(SettingFault) -> [SettingReader] {
        guard let value = members[name] else { return [] }
        guard case .list(let list) = value else { throw fault(name, allowed: "a list of objects") }
        var readers: [SettingReader] = []
        for (index, element) in list.enumerated() {
            readers.append(
                try SettingReader(element, at: "\(path(of: name))[\(index)]", members: known))
        }
        return readers
    }

    /// A template.
    func template(_ name: String, names: [String]) throws(SettingFault) -> BridgeTemplate? {
        guard let text = try text(name, allowed: "a text such as \"{/task_id}\"") else {
            return nil
        }
        return try template(text, at: path(of: name), names: names)
    }

    func template(
        _ text: String, at path: String, names: [String]
    ) throws(SettingFault) -> BridgeTemplate {
        do {
            return try BridgeTemplate(text, names: names)
        } catch {
            throw SettingFault(path, error.description)
        }
    }
}
