import EventCore
import Glibc

/// What a load test is asked to do.
struct LoadOptions {
    var host = "127.0.0.1"
    var port: UInt16 = 8080
    /// Path and query of the stream; the number of the stream stands between the pieces.
    var target: [Substring] = ["/api/v1/events/stream"]
    var streams = 100
    /// Connections opened a second.
    var connectRate = 2000
    var duration = Duration.seconds(10)
    /// One for each stream, in turn.
    var tokens: [String] = []
    /// Events published a second by `POST /api/v1/events`, and the bytes of each one's data.
    var publishRate = 0
    var publishBytes = 100
    var publishAudience = "*"
    /// Percent of the streams that never read.
    var neverRead = 0.0
    /// Streams that are cut a second and resume with their last id.
    var reconnectRate = 0.0
    var lastEventID: String?
    /// Every position must come: the streams are to see all events.
    var isDense = false
    var isJSON = false
    /// Commands come by standard input.
    var isInteractive = false

    static let known = [
        CommandOption(
            "url", value: "URL",
            help:
                "the stream [http://127.0.0.1:8080/api/v1/events/stream]; {n} is the stream's number"
        ),
        CommandOption("streams", value: "N", help: "how many streams are opened [100]"),
        CommandOption("connect-rate", value: "N", help: "how many are opened a second [2000]"),
        CommandOption(
            "duration", value: "DURATION", help: "how long is measured once all are open [10s]"),
        CommandOption("token", value: "TOKEN", help: "the token of every stream and of publishing"),
        CommandOption(
            "token-file", value: "FILE", help: "tokens, one a line, given to the streams in turn"),
        CommandOption(
            "publish", value: "N", help: "events published a second through the service [0]"),
        CommandOption("publish-bytes", value: "N", help: "bytes of each one's data [100]"),
        CommandOption("publish-audience", value: "LABEL", help: "whom they are for [*]"),
        CommandOption("never-read", value: "PERCENT", help: "streams that never read anything [0]"),
        CommandOption(
            "reconnect", value: "N",
            help: "streams cut a second, which resume with their last id [0]"),
        CommandOption("last-event-id", value: "ID", help: "where every stream begins [now]"),
        CommandOption(
            "dense", help: "the streams see every event: a position that is missing is a gap"),
        CommandOption("json", help: "prints the result as JSON"),
        CommandOption(
            "interactive", help: "takes measure, report, cut, connect and quit from standard input"),
        CommandOption("help", help: "this list"),
    ]

    init(_ arguments: CommandArguments) throws(ConfigurationError) {
        if let url = arguments.value(of: "url") { try readURL(url) }
        streams = try Self.number(arguments, "streams", 1...100_000) ?? streams
        connectRate = try Self.number(arguments, "connect-rate", 1...1_000_000) ?? connectRate
        publishRate = try Self.number(arguments, "publish", 0...1_000_000) ?? publishRate
        publishBytes = try Self.number(arguments, "publish-bytes", 16...65_536) ?? publishBytes
        publishAudience = arguments.value(of: "publish-audience") ?? publishAudience
        neverRead = Double(try Self.number(arguments, "never-read", 0...100) ?? 0)
        reconnectRate = Double(try Self.number(arguments, "reconnect", 0...100_000) ?? 0)
        lastEventID = arguments.value(of: "last-event-id")
        isDense = arguments.has("dense")
        isJSON = arguments.has("json")
        isInteractive = arguments.has("interactive")
        if let text = arguments.value(of: "duration") {
            guard let duration = DurationText.parse(text), duration > .zero else {
                throw ConfigurationError(
                    "--duration: \"\(text)\" is no duration such as 10s or 2m", isUsage: true)
            }
            self.duration = duration
        }
        if let path = arguments.value(of: "token-file") {
            tokens = try Self.lines(of: path)
        } else if let token = arguments.value(of: "token") {
            tokens = [token]
        }
    }

    private mutating func readURL(_ url: String) throws(ConfigurationError) {
        let scheme = "http://"
        guard url.hasPrefix(scheme) else {
            throw ConfigurationError(
                "--url: \"\(url)\" does not begin with http://; put a TLS proxy before the driver, not before what is measured",
                isUsage: true)
        }
        let rest = url.dropFirst(scheme.count)
        let authority = rest.prefix { $0 != "/" }
        guard
            let address = ListenAddress(
                authority.contains(":") ? String(authority) : authority + ":80")
        else {
            throw ConfigurationError("--url: \"\(authority)\" is not HOST:PORT", isUsage: true)
        }
        host = address.host == "localhost" ? "127.0.0.1" : address.host
        port = address.port
        let path = rest.dropFirst(authority.count)
        guard path.count > 1 else { return }
        target = path.split(separator: "{n}", omittingEmptySubsequences: false)
    }

    private static func number(
        _ arguments: CommandArguments, _ name: String, _ range: ClosedRange<Int>
    ) throws(ConfigurationError) -> Int? {
        guard let text = arguments.value(of: name) else { return nil }
        guard let number = Int(text), range.contains(number) else {
            throw ConfigurationError(
                "--\(name): \"\(text)\" is not a number from \(range.lowerBound) to \(range.upperBound)",
                isUsage: true)
        }
        return number
    }

    private static func lines(of path: String) throws(ConfigurationError) -> [String] {
        guard let file = fopen(path, "r") else {
            throw ConfigurationError("--token-file: \(path) cannot be read")
        }
        defer { fclose(file) }
        var lines: [String] = []
        var buffer = [CChar](repeating: 0, count: 16_384)
        while fgets(&buffer, Int32(buffer.count), file) != nil {
            let text = String(
                decoding: buffer.prefix { $0 != 0 && $0 != 10 }.map(UInt8.init(bitPattern:)),
                as: UTF8.self)
            if !text.isEmpty { lines.append(text) }
        }
        guard !lines.isEmpty else { throw ConfigurationError("--token-file: \(path) is empty") }
        return lines
    }
}
