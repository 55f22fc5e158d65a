import EventCore
import FoundationEssentials
import Glibc

/// Reads settings from the file, the environment and the flags.
enum ConfigurationFile {
    /// The options of a command that takes settings.
    static func options(_ names: [String]? = nil) -> [CommandOption] {
        let config = CommandOption(
            "config", value: "FILE",
            help: "JSON5 file with settings (\(ConfigurationSources.configVariable))")
        let settings = Setting.all.filter { names?.contains($0.name) ?? true }
        return [config]
            + settings.flatMap { setting in
                let name = String(setting.flag.dropFirst(2))
                let hint = setting.defaultText.isEmpty ? "" : " [\(setting.defaultText)]"
                let option = CommandOption(
                    name, value: "VALUE", valueIsOptional: setting.isBoolean,
                    help: setting.summary + hint)
                guard setting.isSecret else { return [option] }
                let file = CommandOption(
                    name + "-file", value: "FILE", help: "the same, from a file of its own")
                return [option, file]
            }
    }

    /// Joins what a command was given with the environment and the file.
    static func load(
        _ arguments: CommandArguments, settings: [CommandOption]
    ) throws(ConfigurationError) -> Configuration {
        var sources = ConfigurationSources()
        sources.environment = ProcessInfo.processInfo.environment
        let names = Set(settings.map(\.name)).subtracting(["config"])
        sources.flags = arguments.options.filter { names.contains($0.name) }
        let given = arguments.value(of: "config")
        if let path = given ?? sources.environment[ConfigurationSources.configVariable] {
            sources.fileName = path
            sources.file = try read(path)
        }
        return try sources.resolve(
            secret: secret, warn: { Terminal.error("event-service: \($0)") })
    }

    /// The secret that a file holds.
    static func secret(_ path: String) throws(ConfigurationError) -> String {
        try text(of: path).trimmingNewlines()
    }

    /// What a file holds.
    static func bytes(of path: String) throws(ConfigurationError) -> [UInt8] {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw ConfigurationError("\(path): the file cannot be read")
        }
        return [UInt8](data)
    }

    private static func text(of path: String) throws(ConfigurationError) -> String {
        guard let text = String(validating: try bytes(of: path), as: UTF8.self) else {
            throw ConfigurationError("\(path): the file is not UTF-8")
        }
        return text
    }

    private static func read(_ path: String) throws(ConfigurationError) -> [String: SettingValue] {
        let contents = try text(of: path)
        do throws(JSON5Fault) {
            return try JSON5Reader.object(contents)
        } catch {
            throw ConfigurationError("\(path): not JSON5: \(error)")
        }
    }
}

extension String {
    /// A secret's file ends with a line end that is not part of it.
    fileprivate func trimmingNewlines() -> String {
        var text = self[...]
        while let last = text.last, last.isNewline { text = text.dropLast() }
        return String(text)
    }
}
