import EventCore
import Glibc

/// Writes the log: one line an entry, to standard error, as text or as JSON.
struct Log: Sendable {
    let level: LogLevel
    let format: LogFormat
    /// Where lines go; a test may look at them.
    let descriptor: Int32
    /// What keeps warnings from filling it.
    private let repeats = Guarded(RepeatLimit())

    init(level: LogLevel, format: LogFormat, descriptor: Int32 = STDERR_FILENO) {
        self.level = level
        self.format = format
        self.descriptor = descriptor
    }

    func error(_ message: StaticString, _ fields: KeyValuePairs<String, String> = [:]) {
        write(.error, message, fields)
    }

    func warning(_ message: StaticString, _ fields: KeyValuePairs<String, String> = [:]) {
        write(.warning, message, fields)
    }

    func info(_ message: StaticString, _ fields: KeyValuePairs<String, String> = [:]) {
        write(.info, message, fields)
    }

    func debug(
        _ message: StaticString, _ fields: @autoclosure () -> KeyValuePairs<String, String> = [:]
    ) {
        guard level <= .debug else { return }
        write(.debug, message, fields())
    }

    private func write(
        _ level: LogLevel, _ message: StaticString, _ fields: KeyValuePairs<String, String>
    ) {
        guard level >= self.level else { return }
        var leftOut = 0
        if level >= .warning {
            let decision = repeats.withLock {
                $0.arrived(message.description, now: MonotonicClock.now())
            }
            guard case .write(let count) = decision else { return }
            leftOut = count
        }
        let leftOutFields = leftOut > 0 ? [("repeats_left_out", String(leftOut))] : []
        let fields = fields.map { ($0.key, $0.value) } + leftOutFields
        var line: [UInt8] = []
        switch format {
        case .text: appendText(level, message, fields, to: &line)
        case .json: appendJSON(level, message, fields, to: &line)
        }
        line.append(UInt8(ascii: "\n"))
        // One write a line: lines of several threads do not mix. A log that cannot be written is no
        // reason to stop.
        _ = Glibc.write(descriptor, line, line.count)
    }

    private func appendText(
        _ level: LogLevel, _ message: StaticString, _ fields: [(String, String)],
        to line: inout [UInt8]
    ) {
        MonotonicClock.date().append(to: &line)
        line.append(UInt8(ascii: " "))
        line.append(contentsOf: level.rawValue.utf8)
        for _ in level.rawValue.utf8.count..<8 { line.append(UInt8(ascii: " ")) }
        line.append(message)
        for (name, value) in fields {
            line.append(UInt8(ascii: " "))
            line.append(contentsOf: name.utf8)
            line.append(UInt8(ascii: "="))
            // Quoted where it would not be one word; a peer's line ends must not make lines of ours.
            let isWord =
                !value.isEmpty
                && value.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x3D }
            if isWord {
                line.append(contentsOf: value.utf8)
            } else {
                line.appendJSONString(value)
            }
        }
    }

    private func appendJSON(
        _ level: LogLevel, _ message: StaticString, _ fields: [(String, String)],
        to line: inout [UInt8]
    ) {
        line.append("{\"time\":\"")
        MonotonicClock.date().append(to: &line)
        line.append("\",\"level\":\"")
        line.append(contentsOf: level.rawValue.utf8)
        line.append("\",\"message\":")
        line.appendJSONString(message.description)
        for (name, value) in fields {
            line.append(UInt8(ascii: ","))
            line.appendJSONString(name)
            line.append(UInt8(ascii: ":"))
            line.appendJSONString(value)
        }
        line.append(UInt8(ascii: "}"))
    }
}
