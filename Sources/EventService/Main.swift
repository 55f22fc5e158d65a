import Glibc

/// `event-service COMMAND [OPTION …]`
@main
enum Main {
    static func main() {
        exit(Command.run(CommandLine.arguments))
    }
}
