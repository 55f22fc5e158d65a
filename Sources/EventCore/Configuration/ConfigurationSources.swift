/// Why the settings cannot be used: one line that says which, what was given, and what is allowed.
public struct ConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The line.
    public let description: String
    /// Whether the command line is at fault, which has an exit code of its own.
    public let isUsage: Bool

    /// Creates an error.
    public init(_ description: String, isUsage: Bool = false) {
        self.description = description
        self.isUsage = isUsage
    }
}

/// Where settings come from; each later source wins.
public struct ConfigurationSources: Sendable {
    /// The members of the file, by name.
    public var file: [String: SettingValue]
    /// The file's name, for messages.
    public var fileName: String
    /// The environment.
    public var environment: [String: String]
    /// The flags in their order, without the leading hyphens.
    public var flags: [(name: String, value: String)]

    /// Creates sources.
    public init(
        file: [String: SettingValue] = [:], fileName: String = "",
        environment: [String: String] = [:], flags: [(name: String, value: String)] = []
    ) {
        self.file = file
        self.fileName = fileName
        self.environment = environment
        self.flags = flags
    }

    /// Returns the text of a file, by its path.
    public typealias SecretReader = (String) throws(ConfigurationError) -> String

    /// Joins the sources.
    ///
    /// - Parameters:
    ///   - secret: returns the text of a file that holds a secret.
    ///   - warn: takes a line about a variable that looks like ours and is not.
    public func resolve(
        secret: SecretReader, warn: (String) -> Void
    ) throws(ConfigurationError) -> Configuration {
        var configuration = Configuration()
        configuration.databaseURL = environment["DATABASE_URL"] ?? ""
        for (name, value) in file.sorted(by: { $0.key < $1.key }) {
            try apply(
                name, value, from: "\(name) in \(fileName)", isUsage: false, to: &configuration,
                secret)
        }
        for (variable, value) in environment.sorted(by: { $0.key < $1.key })
        where variable.hasPrefix(Setting.variablePrefix) && variable != Self.configVariable {
            let name = variable.dropFirst(Setting.variablePrefix.count).lowercased()
            guard Self.setting(name) != nil else {
                // Only a warning: Kubernetes sets such variables for a Service of our name.
                let nearest = Self.nearest(to: name)
                warn("\(variable) is no setting; the nearest is \(nearest.variable)")
                continue
            }
            try apply(
                name, .text(value), from: variable, isUsage: false, to: &configuration,
                secret)
        }
        for (flag, value) in flags {
            let name = flag.split(separator: "-").joined(separator: "_")
            try apply(
                name, .text(value), from: "--\(flag)", isUsage: true, to: &configuration,
                secret)
        }
        return configuration
    }

    /// The variable that names the file.
    public static let configVariable = "EVENT_SERVICE_CONFIG"

    /// A setting by its name or, of a secret, that of the file it stands in.
    static func setting(_ name: String) -> (setting: Setting, isFile: Bool)? {
        if let setting = Setting.named(name) { return (setting, false) }
        guard name.hasSuffix("_file"), let setting = Setting.named(String(name.dropLast(5))),
            setting.isSecret
        else { return nil }
        return (setting, true)
    }

    private func apply(
        _ name: String, _ value: SettingValue, from source: String, isUsage: Bool,
        to configuration: inout Configuration, _ secret: SecretReader
    ) throws(ConfigurationError) {
        guard let (setting, isFile) = Self.setting(name) else {
            let nearest = Self.nearest(to: name)
            throw ConfigurationError(
                "\(source): there is no such setting; the nearest is "
                    + (isUsage ? nearest.flag : nearest.name), isUsage: isUsage)
        }
        var value = value
        if isFile {
            guard case .text(let path) = value else {
                throw ConfigurationError(
                    "\(source): allowed is the name of a file", isUsage: isUsage)
            }
            do {
                value = .text(try secret(path))
            } catch {
                throw ConfigurationError("\(source): \(error.description)", isUsage: isUsage)
            }
        }
        if setting.isObject, case .text(let text) = value {
            do throws(JSON5Fault) {
                value = .object(try JSON5Reader.object(text))
            } catch {
                throw ConfigurationError("\(source): not JSON5: \(error)", isUsage: isUsage)
            }
        }
        do throws(SettingFault) {
            guard try !setting.apply(&configuration, value) else { return }
        } catch {
            // `kafka.group in FILE`, `EVENT_SERVICE_KAFKA: kafka.group`
            let place =
                source == "\(name) in \(fileName)"
                ? "\(error.path) in \(fileName)" : "\(source): \(error.path)"
            throw ConfigurationError("\(place): \(error.problem)", isUsage: isUsage)
        }
        let given = setting.isSecret ? "the value" : value.shown
        throw ConfigurationError(
            "\(source): \(given) is not allowed; allowed is \(setting.allowed)", isUsage: isUsage)
    }

    private static func nearest(to name: String) -> Setting {
        let found = EditDistance.nearest(to: name, of: Setting.all.map(\.name))
        return found.flatMap { Setting.named($0) } ?? Setting.all[0]
    }
}
