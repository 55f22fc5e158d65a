import EventCore
import Glibc

extension Command {
    /// `event-service tail`
    static let tail = Command(
        name: "tail", summary: "prints a live stream, and resumes by itself",
        options: [
            CommandOption(
                "url", value: "URL", help: "the service [http://127.0.0.1:8080]"),
            CommandOption(
                "token", value: "TOKEN", help: "the token (EVENT_SERVICE_TOKEN)"),
            CommandOption(
                "context", value: "NAME", isRepeatable: true, help: "only events of this context"),
            CommandOption(
                "type", value: "TYPE", isRepeatable: true,
                help: "only events of this type; a trailing * is allowed"),
            CommandOption(
                "key", value: "KEY", isRepeatable: true, help: "only events of this key"),
            CommandOption(
                "since", value: "WHERE", help: "now, earliest, an id or an RFC 3339 time [now]"),
            CommandOption("json", help: "prints one JSON object a line"),
        ]
    ) { arguments in
        var tail = StreamTail(
            url: StreamTail.url(arguments),
            token: arguments.value(of: "token")
                ?? getenv("EVENT_SERVICE_TOKEN").map { String(cString: $0) },
            asJSON: arguments.has("json"))
        return try tail.run()
    }
}

/// Follows one stream over as many connections as it takes.
private struct StreamTail {
    let url: String
    let token: String?
    let asJSON: Bool
    private var parser = EventStreamParser()
    private var lastEventID = ""
    private var retry = Duration.seconds(2)
    private var failures = 0

    init(url: String, token: String?, asJSON: Bool) {
        self.url = url
        self.token = token
        self.asJSON = asJSON
    }

    /// The address of the stream with its query.
    static func url(_ arguments: CommandArguments) -> String {
        var base = arguments.value(of: "url") ?? "http://127.0.0.1:8080"
        while base.hasSuffix("/") { base.removeLast() }
        if !base.contains("/api/v1/") { base += "/api/v1/events/stream" }
        var parameters: [String] = []
        for name in ["context", "type", "key", "since"] {
            for (_, value) in arguments.options.filter({ $0.name == name }) {
                parameters.append(name + "=" + QueryString.encode(value))
            }
        }
        return parameters.isEmpty
            ? base : base + (base.contains("?") ? "&" : "?") + parameters.joined(separator: "&")
    }

    /// Prints events until the service says that no stream will come.
    mutating func run() throws -> Int32 {
        while true {
            parser = EventStreamParser()
            let request = CurlRequest(
                url: url,
                fields: ["Accept: text/event-stream"]
                    + (token.map { ["Authorization: Bearer \($0)"] } ?? [])
                    + (lastEventID.isEmpty ? [] : ["Last-Event-ID: \(lastEventID)"]))
            let outcome = request.perform { bytes in received(bytes) }
            switch outcome {
            case .response(let status, let body) where status != 200:
                guard status == 408 || status == 429 || status >= 500 else {
                    Terminal.error("event-service tail: \(status): \(body)")
                    return 1
                }
                Terminal.error("event-service tail: \(status), trying again")
                failures += 1
            case .response:
                failures = 0
            case .failed(let reason):
                Terminal.error("event-service tail: \(reason), trying again")
                failures += 1
            }
            let backoff = Backoff(first: retry, maximum: .seconds(30))
            let delay = max(
                backoff.delay(failures: max(failures, 1), random: Double.random(in: 0..<1)),
                .milliseconds(100))
            usleep(UInt32(delay.wholeMilliseconds * 1000))
        }
    }

    private mutating func received(_ bytes: [UInt8]) {
        for message in parser.consume(bytes) { show(message) }
        if !parser.lastEventID.isEmpty { lastEventID = parser.lastEventID }
        if let milliseconds = parser.retryMilliseconds { retry = .milliseconds(milliseconds) }
    }

    private func show(_ message: EventStreamParser.Message) {
        guard !message.type.hasPrefix("stream.") else {
            // What the service says of the stream is for the person, not for the pipe.
            if message.type != "stream.cursor" {
                Terminal.error("\(message.type) \(message.lastEventID) \(message.data)")
            }
            return
        }
        if asJSON {
            let object = Array(message.data.utf8).withIDMember(
                Cursor(message.lastEventID) ?? Cursor(epoch: 0, position: 0))
            Terminal.print(String(decoding: object, as: UTF8.self))
        } else {
            Terminal.print("\(message.lastEventID) \(message.type) \(message.data)")
        }
    }
}
