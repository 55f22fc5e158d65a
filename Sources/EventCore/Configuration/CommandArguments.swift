/// One option of a command.
public struct CommandOption: Sendable {
    /// The name without its hyphens.
    public let name: String
    /// What stands for the value in the help; `nil`: the option has none.
    public let value: String?
    /// Whether the value may be left out.
    public let valueIsOptional: Bool
    /// Whether the option may be given several times.
    public let isRepeatable: Bool
    /// One line of help.
    public let help: String

    /// Creates an option.
    public init(
        _ name: String, value: String? = nil, valueIsOptional: Bool = false,
        isRepeatable: Bool = false, help: String
    ) {
        self.name = name
        self.value = value
        self.valueIsOptional = valueIsOptional
        self.isRepeatable = isRepeatable
        self.help = help
    }
}

/// The arguments of a command, checked against its options.
public struct CommandArguments: Sendable {
    /// The options that were given, in their order; one without a value has `true`.
    public private(set) var options: [(name: String, value: String)] = []

    /// Reads `--name value`, `--name=value` and `--name`.
    public init(
        _ arguments: some Sequence<String>, options known: [CommandOption]
    ) throws(ConfigurationError) {
        var rest = Array(arguments)[...]
        while let argument = rest.popFirst() {
            guard argument.hasPrefix("--"), argument.count > 2 else {
                throw ConfigurationError("\(argument): there is no such argument", isUsage: true)
            }
            let equals = argument.firstIndex(of: "=")
            let name = String(argument[..<(equals ?? argument.endIndex)].dropFirst(2))
            guard let option = known.first(where: { $0.name == name }) else {
                throw Self.unknown(name, known)
            }
            if !option.isRepeatable, options.contains(where: { $0.name == name }) {
                throw ConfigurationError("--\(name) is given more than once", isUsage: true)
            }
            options.append((name, try Self.value(of: option, argument, equals, &rest)))
        }
    }

    private static func value(
        of option: CommandOption, _ argument: String, _ equals: String.Index?,
        _ rest: inout ArraySlice<String>
    ) throws(ConfigurationError) -> String {
        if let equals {
            guard option.value != nil else {
                throw ConfigurationError("--\(option.name) takes no value", isUsage: true)
            }
            return String(argument[equals...].dropFirst())
        }
        guard option.value != nil else { return "true" }
        if option.valueIsOptional, !["true", "false"].contains(rest.first) { return "true" }
        guard let value = rest.popFirst() else {
            throw ConfigurationError("--\(option.name) needs a value", isUsage: true)
        }
        return value
    }

    private static func unknown(_ name: String, _ known: [CommandOption]) -> ConfigurationError {
        let nearest = EditDistance.nearest(to: name, of: known.map(\.name))
        return ConfigurationError(
            "--\(name): there is no such option"
                + (nearest.map { "; the nearest is --\($0)" } ?? ""), isUsage: true)
    }

    /// The value of an option that may be given once.
    public func value(of name: String) -> String? {
        options.first { $0.name == name }?.value
    }

    /// The values of an option, commas separating several in one.
    public func list(of name: String) -> [String] {
        options.filter { $0.name == name }.flatMap { $0.value.split(separator: ",") }.map(
            String.init)
    }

    /// Whether an option was given.
    public func has(_ name: String) -> Bool {
        options.contains { $0.name == name }
    }
}

/// How unlike two names are.
enum EditDistance {
    /// The most alike of some names.
    static func nearest(to name: String, of names: [String]) -> String? {
        names.min { distance(name, $0) < distance(name, $1) }
    }

    /// Levenshtein's distance.
    private static func distance(_ left: String, _ right: String) -> Int {
        var row = Array(0...right.utf8.count)
        for (i, a) in left.utf8.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, b) in right.utf8.enumerated() {
                let substituted = diagonal + (a == b ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(substituted, row[j] + 1, diagonal + 1)
            }
        }
        return row[right.utf8.count]
    }
}
