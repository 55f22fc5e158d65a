import EventCore

/// The option by which a command only shows what the sources would make of sample messages.
enum MappingSamples {
    static let option = CommandOption(
        "check-mapping", value: "FILE",
        help: "only shows what the sources make of the messages in FILE, one a line")

    /// Shows it if the option is given, and returns the exit code: 0 if every sample became an event of
    /// some source, or is left out by one as it should be, else 1.
    static func show(
        _ arguments: CommandArguments, _ configuration: Configuration
    ) throws(ConfigurationError) -> Int32? {
        guard let path = arguments.value(of: option.name) else { return nil }
        var check = MappingCheck(configuration)
        guard check.hasSources else { throw ConfigurationError("no source is set") }
        let lines = try ConfigurationFile.bytes(of: path)
            .split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() where !line.isEmpty {
            check.check(Array(line), number: index + 1).forEach(Terminal.print)
        }
        return check.isClean ? 0 : 1
    }
}
