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
            let samples: MetricSamples
            do throws(ConfigurationError) {
                samples = try read()
            } catch {
                if once { throw error }
                // It may be started anew just now.
                show(["event-service  no answer, trying again", "", error.description])
                continue
            }
            let now = MonotonicClock.now()
            let view = MetricsView(
                now: samples, before: before, elapsed: now - readAt, date: MonotonicClock.date())
            show(view.lines)
            if once { return 0 }
            (before, readAt) = (samples, now)
        }
    }

    /// Writes over what a terminal shows, line by line, so that it does not flicker; what is written to a
    /// file or a pipe goes on below.
    private func show(_ lines: [String]) {
        guard isatty(STDOUT_FILENO) == 1, !once else {
            return Terminal.print(lines.joined(separator: "\n"))
        }
        Terminal.print(
            "\u{1B}[H" + lines.joined(separator: "\u{1B}[K\n") + "\u{1B}[K\n\u{1B}[J")
    }

    private func read() throws(ConfigurationError) -> MetricSamples {
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
