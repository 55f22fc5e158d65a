/// How long things took, counted by bounds that suit a path of milliseconds.
///
/// Belongs to the thread that records; whoever wants to read it is given a copy.
public struct LatencyHistogram: Sendable, Equatable {
    /// The upper bounds of the buckets, each included; one more bucket takes the rest.
    public static let bounds: [Duration] =
        [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000].map {
            .milliseconds($0)
        }

    private static let boundsInNanoseconds = bounds.map(\.wholeNanoseconds)

    /// How many observations each bucket has; the last is that of the rest.
    public private(set) var counts = [Int](repeating: 0, count: bounds.count + 1)
    /// How many there are.
    public private(set) var count = 0
    private var nanoseconds: Int64 = 0

    /// Creates a histogram without observations.
    public init() {}

    /// What all observations add up to.
    public var sum: Duration { .nanoseconds(nanoseconds) }

    /// Counts an observation; one below zero, which two clocks can make, counts as zero.
    public mutating func record(_ duration: Duration) {
        let observed = max(0, duration.wholeNanoseconds)
        let bucket = Self.boundsInNanoseconds.firstIndex { observed <= $0 }
        counts[bucket ?? Self.bounds.count] += 1
        count += 1
        nanoseconds &+= observed
    }

    /// Takes in the observations of another thread.
    public mutating func add(_ other: LatencyHistogram) {
        for index in counts.indices { counts[index] += other.counts[index] }
        count += other.count
        nanoseconds &+= other.nanoseconds
    }
}
