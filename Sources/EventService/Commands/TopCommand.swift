import EventCore
import Glibc

extension Command {
    /// `event-service top`
    static let top = Command(
        name: "top", summary: "shows what a running service does, again and again",
        options: [
            CommandOption("url", value: "URL", help: "its ops listener [http://127.0.0.1:8081]"),
            CommandOption("interval", value: "DURATION", help: "between two looks [2s]"),
            CommandOption("once", help: "looks twice, prints that once, and ends"),
        ]
    ) { arguments in
        let text = arguments.value(of: "interval") ?? "2s"
        guard let interval = DurationText.parse(text), interval >= .milliseconds(100),
            interval <= .seconds(3600)
        else {
            throw ConfigurationError(
                "--interval: \"\(text)\" is not allowed; allowed is a duration from 100ms to 1h",
                isUsage: true)
        }
        var base = arguments.value(of: "url") ?? "http://127.0.0.1:8081"
        while base.hasSuffix("/") { base.removeLast() }
        return try Top(url: base + "/metrics", interval: interval, once: arguments.has("once"))
            .run()
    }
}

/// Looks at the metrics of a service.
private struct Top {
    let url: String
    let interval: Duration
    let once: Bool

    func run() throws -> Int32 {
        var before = try read()
        var readAt = MonotonicClock.now()
        while true {
            usleep(UInt32(interval.wholeMilliseconds * 1000))
            let samples = try read()
            let now = MonotonicClock.now()
            let view = MetricsView(now: samples, before: before, elapsed: now - readAt)
            // A terminal is cleared; what is written to a file or a pipe goes on below.
            let clear = isatty(STDOUT_FILENO) == 1 && !once ? "\u{1B}[H\u{1B}[J" : ""
            Terminal.print(clear + view.lines.joined(separator: "\n"))
            if once { return 0 }
            (before, readAt) = (samples, now)
        }
    }

    private func read() throws -> MetricSamples {
        var page: [UInt8] = []
        let outcome = CurlRequest(url: url, fields: []).perform { page += $0 }
        switch outcome {
        case .response(200, _):
            return MetricSamples(String(decoding: page, as: UTF8.self))
        case .response(let status, _):
            throw ConfigurationError("\(url) answers \(status): is it the ops listener?")
        case .failed(let reason):
            throw ConfigurationError("\(url): \(reason)")
        }
    }
}
