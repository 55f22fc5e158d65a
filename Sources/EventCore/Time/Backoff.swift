/// Exponential back-off with full jitter: the n-th delay lies anywhere between 0 and `first · 2ⁿ`.
///
/// Full, because many that lost the same server at the same moment must not come back together.
public struct Backoff: Sendable, Equatable {
    /// The bound of the first delay.
    public var first: Duration
    /// The bound that no delay exceeds.
    public var maximum: Duration

    /// Creates a back-off.
    public init(first: Duration, maximum: Duration) {
        self.first = first
        self.maximum = maximum
    }

    /// The delay before the attempt that follows `failures` failed ones.
    ///
    /// - Parameter random: from 0 up to, but not including, 1.
    public func delay(failures: Int, random: Double) -> Duration {
        let bound = min(maximum, first * (1 << min(max(failures - 1, 0), 20)))
        return .nanoseconds(Int64(Double(bound.wholeNanoseconds) * random))
    }
}
