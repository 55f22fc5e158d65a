import EventCore
import Glibc

/// `event-service-load [OPTION …]`: opens streams, counts what comes, and checks its order.
@main
enum Main {
    static func main() {
        signal(SIGPIPE, SIG_IGN)
        do {
            let arguments = try CommandArguments(
                CommandLine.arguments.dropFirst(), options: LoadOptions.known)
            guard !arguments.has("help") else { return print(help) }
            exit(LoadRun(try LoadOptions(arguments)).run())
        } catch {
            print("event-service-load: \(error)")
            exit(2)
        }
    }

    private static var help: String {
        let lines = LoadOptions.known.map { option in
            let name = "--\(option.name)" + (option.value.map { " \($0)" } ?? "")
            return "  " + name + String(repeating: " ", count: max(1, 28 - name.count))
                + option.help
        }
        return """
            Opens streams, measures the time from each event to its arrival, and checks that every stream
            gets all events once and in order.

            usage: event-service-load [OPTION …]

            \(lines.joined(separator: "\n"))

            Exit status: 0 all streams in order, 1 an event out of order, twice or missing, 2 bad usage.
            """
    }
}
