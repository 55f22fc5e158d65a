import Glibc

/// `event-service COMMAND [OPTION …]`
@main
enum Main {
    static func main() {
        let arguments = CommandLine.arguments
        exit(Command.run(arguments.isEmpty ? argumentsOfProcess() : arguments))
    }

    /// The arguments as the kernel knows them. Swift looks for them beside the environment, and finds none
    /// when a preloaded library has moved that, as libfaketime does.
    private static func argumentsOfProcess() -> [String] {
        guard let file = fopen("/proc/self/cmdline", "r") else { return [] }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        while case let byte = getc(file), byte != EOF {
            bytes.append(UInt8(truncatingIfNeeded: byte))
        }
        return bytes.split(separator: 0, omittingEmptySubsequences: false).dropLast()
            .map { String(decoding: $0, as: UTF8.self) }
    }
}
