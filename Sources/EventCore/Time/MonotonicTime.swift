/// A moment on a clock that only goes forward, such as CLOCK_MONOTONIC; it has no date.
public struct MonotonicTime: Hashable, Comparable, Sendable {
    /// Nanoseconds since the clock's own beginning.
    public let nanoseconds: Int64

    /// Creates a moment from nanoseconds since the clock's beginning.
    public init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    /// The clock's beginning.
    public static let zero = MonotonicTime(nanoseconds: 0)
    /// A moment that never comes.
    public static let distantFuture = MonotonicTime(nanoseconds: .max)

    /// Earlier than.
    public static func < (left: Self, right: Self) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    /// The moment a duration later.
    public static func + (time: Self, duration: Duration) -> Self {
        let (sum, overflow) = time.nanoseconds.addingReportingOverflow(duration.wholeNanoseconds)
        return overflow ? .distantFuture : MonotonicTime(nanoseconds: sum)
    }

    /// The duration from an earlier moment to a later one.
    public static func - (later: Self, earlier: Self) -> Duration {
        .nanoseconds(later.nanoseconds - earlier.nanoseconds)
    }
}

extension Duration {
    /// The whole nanoseconds; about 292 years at most.
    public var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? .max : product &+ attoseconds / 1_000_000_000
    }

    /// The whole milliseconds.
    public var wholeMilliseconds: Int64 { wholeNanoseconds / 1_000_000 }
}
