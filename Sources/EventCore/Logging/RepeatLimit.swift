/// Keeps a warning that comes again and again from filling the log.
///
/// Of one message so many are written in a window; those after it are counted, and the first one that is
/// written again says how many were left out.
public struct RepeatLimit: Sendable {
    /// What becomes of a line.
    public enum Decision: Sendable, Equatable {
        /// It is written, and so many of its kind before it were not.
        case write(leftOut: Int)
        /// It is left out.
        case leaveOut
    }

    private struct Window {
        var began: MonotonicTime
        var written = 0
        var leftOut = 0
    }

    private var windows: [String: Window] = [:]
    private let most: Int
    private let length: Duration

    /// Creates a limit.
    ///
    /// - Parameters:
    ///   - most: lines of one message in a window.
    ///   - length: of the window, from its first line.
    public init(most: Int = 10, length: Duration = .seconds(10)) {
        self.most = most
        self.length = length
    }

    /// A line with this message, which is one of a fixed set, is about to be written.
    public mutating func arrived(_ message: String, now: MonotonicTime) -> Decision {
        var window = windows[message] ?? Window(began: now)
        defer { windows[message] = window }
        if now - window.began >= length {
            let leftOut = window.leftOut
            window = Window(began: now, written: 1)
            return .write(leftOut: leftOut)
        }
        guard window.written < most else {
            window.leftOut += 1
            return .leaveOut
        }
        window.written += 1
        return .write(leftOut: 0)
    }
}
