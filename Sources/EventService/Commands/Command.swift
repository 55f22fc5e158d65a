import EventCore
import Glibc

/// One of the commands of `event-service`.
struct Command: Sendable {
    let name: String
    /// One line that says what it does.
    let summary: String
    let options: [CommandOption]
    /// Runs the command and returns the exit status.
    let run: @Sendable (CommandArguments) throws -> Int32

    /// All commands, in the order of the help.
    static let all: [Command] = [.serve, .migrate, .doctor, .tail, .token, .top]

    /// Runs the command that the arguments name: 0 done, 1 it could not be done, 2 bad usage.
    static func run(_ arguments: [String]) -> Int32 {
        var rest = arguments.dropFirst()
        guard let name = rest.popFirst() else {
            Terminal.error(usage)
            return 2
        }
        switch name {
        case "--version":
            Terminal.print("event-service \(Version.current)")
            return 0
        case "--help", "-h", "help":
            Terminal.print(usage)
            return 0
        default:
            break
        }
        guard let command = all.first(where: { $0.name == name }) else {
            Terminal.error(
                "event-service: there is no command \"\(name)\"; see event-service --help")
            return 2
        }
        if rest.contains("--help") || rest.contains("-h") {
            Terminal.print(command.help)
            return 0
        }
        return command.report { try command.run(CommandArguments(rest, options: command.options)) }
    }

    /// Says why a command could not be done, on one line.
    private func report(_ body: () throws -> Int32) -> Int32 {
        do {
            return try body()
        } catch let error as ConfigurationError {
            Terminal.error("event-service \(name): \(error)")
            if error.isUsage { Terminal.error("see event-service \(name) --help") }
            return error.isUsage ? 2 : 1
        } catch {
            Terminal.error("event-service \(name): \(error)")
            return 1
        }
    }

    private static var usage: String {
        let width = all.map(\.name.count).max() ?? 0
        let lines = all.map { "  \($0.name.padded(to: width))  \($0.summary)" }
        return """
            Committed changes in PostgreSQL, delivered as events: once, in order, never lost.

            usage: event-service COMMAND [OPTION …]

            \(lines.joined(separator: "\n"))

            event-service COMMAND --help says more; event-service --version prints the version.
            """
    }

    private var help: String {
        let names = options.map { "--\($0.name)" + ($0.value.map { " \($0)" } ?? "") }
        let width = names.map(\.count).max() ?? 0
        let lines = zip(names, options).map { name, option in
            "  \(name.padded(to: width))  \(option.help)"
        }
        return """
            \(summary)

            usage: event-service \(name) [OPTION …]

            \(lines.joined(separator: "\n"))
            """
    }
}

/// The version of the service.
enum Version {
    static let current = "0.1.0"
}

/// Standard output and standard error of commands that people call.
enum Terminal {
    /// Prints a line.
    static func print(_ line: String) {
        write(line + "\n", to: STDOUT_FILENO)
    }

    /// Prints a line to standard error.
    static func error(_ line: String) {
        write(line + "\n", to: STDERR_FILENO)
    }

    private static func write(_ text: String, to descriptor: Int32) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count >= 0 {
                bytes = bytes.dropFirst(count)
            } else if errno == EAGAIN {
                var writable = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                poll(&writable, 1, -1)
            } else if errno != EINTR {
                // Whoever read it has gone, or the disk is full: what comes next would be lost, too.
                guard descriptor == STDOUT_FILENO else { return }
                exit(1)
            }
        }
    }
}

extension String {
    fileprivate func padded(to width: Int) -> String {
        self + String(repeating: " ", count: max(0, width - count))
    }
}
