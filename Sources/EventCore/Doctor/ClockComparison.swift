/// How far this machine's clock is from the database's.
///
/// The database's clock was read between two readings of ours, nobody knows when: of the difference only
/// what the time between the two cannot explain counts.
public struct ClockComparison: Sendable {
    private let before: Timestamp
    private let database: Timestamp
    private let after: Timestamp

    /// Takes a reading of the database's clock, and of ours before and after it.
    public init(before: Timestamp, database: Timestamp, after: Timestamp) {
        self.before = before
        self.database = database
        self.after = after
    }

    /// How much may lie between the clocks. Machines that keep time over the network are a hundred
    /// times closer.
    public static let tolerance = Duration.seconds(2)

    /// By how much the database's clock is ahead of ours, negative if it is behind; as little as can be.
    public var skew: Duration {
        if database > after { return .microseconds(database.microseconds - after.microseconds) }
        if database < before { return .microseconds(database.microseconds - before.microseconds) }
        return .zero
    }

    /// What `doctor` says of it.
    public var result: CheckResult {
        guard skew > Self.tolerance || skew < .zero - Self.tolerance else {
            return .ok("clock", "the database's clock and this machine's agree")
        }
        let amount = DurationText.rounded(skew < .zero ? .zero - skew : skew)
        return .fault(
            "clock",
            "the database's clock is \(amount) \(skew < .zero ? "behind" : "ahead of") this machine's",
            mend:
                "keep both by NTP (chrony, systemd-timesyncd): tokens, revocations and `since` with"
                + " a time go by them")
    }
}

extension DurationText {
    /// Writes a duration as people say it: to the second, below a minute to the tenth of one.
    public static func rounded(_ duration: Duration) -> String {
        let milliseconds = duration.wholeMilliseconds
        guard milliseconds < 60_000 else {
            let seconds = (milliseconds + 500) / 1000
            let parts = [
                (seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"),
                (seconds % 60, "s"),
            ]
            return parts.drop { $0.0 == 0 }.map { "\($0.0)\($0.1)" }.joined(separator: " ")
        }
        guard milliseconds >= 1000 else {
            return milliseconds > 0 ? "\(milliseconds) ms" : "less than 1 ms"
        }
        let tenths = (milliseconds + 50) / 100
        return "\(tenths / 10).\(tenths % 10) s"
    }
}
