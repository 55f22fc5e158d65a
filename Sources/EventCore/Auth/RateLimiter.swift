/// So many in a time, as many at once: `20/s`, `100/m`.
public struct Rate: Sendable, Equatable {
    /// How many; zero: no limit.
    public var count: Int
    /// In which time.
    public var period: Duration

    /// No limit.
    public static let unlimited = Rate(count: 0, period: .seconds(1))

    private static let units: [(suffix: String, period: Duration)] = [
        ("/s", .seconds(1)), ("/m", .seconds(60)), ("/h", .seconds(3600)),
    ]

    /// Creates a rate.
    public init(count: Int, period: Duration) {
        self.count = count
        self.period = period
    }

    /// Reads `0`, `N`, `N/s`, `N/m` or `N/h`; without a unit it is a second.
    public init?(_ text: String) {
        let unit = Self.units.first { text.hasSuffix($0.suffix) }
        let digits = text.dropLast(unit == nil ? 0 : 2)
        guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let count = Int(digits),
            count <= 1_000_000
        else { return nil }
        self.init(count: count, period: unit?.period ?? .seconds(1))
    }

    /// As it is read.
    public var text: String {
        count == 0
            ? "0" : "\(count)" + (Self.units.first { $0.period == period }?.suffix ?? "/s")
    }

    /// The time in which one comes free again.
    var interval: Duration { .nanoseconds(period.wholeNanoseconds / Int64(max(count, 1))) }
}

/// A token bucket for each key: `rate.count` may come at once, and as many again in each period.
///
/// Of a bucket only the moment is kept at which it is full again (the generic cell rate algorithm), and
/// a full bucket is none. Holds at most `capacity` buckets: when all are in use, those that are full by
/// now go, and if few are, all go – whoever waits is then let off, rather than everybody refused, or
/// made to wait while a stream of new keys has all buckets looked at for each.
public struct RateLimiter<Key: Hashable & Sendable>: Sendable {
    /// The rate of each key.
    public let rate: Rate
    /// How many keys are held.
    public let capacity: Int
    private var fullAt: [Key: MonotonicTime] = [:]

    /// Creates a limiter whose buckets are all full.
    public init(_ rate: Rate, capacity: Int = 65_536) {
        self.rate = rate
        self.capacity = capacity
    }

    /// How often all buckets were looked at to find full ones.
    public private(set) var looks = 0

    /// How many keys are held now.
    public var count: Int { fullAt.count }

    /// Takes one, or `cost`, from a bucket; returns how long to wait if it is empty, and takes nothing.
    ///
    /// What costs more than is there is let through as long as something is there, and makes the bucket
    /// owe: so a batch is never too large for its bucket, only followed by a longer pause.
    public mutating func take(_ key: Key, cost: Int = 1, now: MonotonicTime) -> Duration? {
        guard rate.count > 0 else { return nil }
        let known = fullAt[key] ?? now
        let full = known > now ? known : now
        let wait = full - now + rate.interval - rate.period
        guard wait <= .zero else { return wait }
        if fullAt[key] == nil, fullAt.count >= capacity { makeRoom(now: now) }
        fullAt[key] = full + rate.interval * cost
        return nil
    }

    private mutating func makeRoom(now: MonotonicTime) {
        looks += 1
        fullAt = fullAt.filter { $0.value > now }
        if fullAt.count > capacity / 2 { fullAt.removeAll() }
    }
}
