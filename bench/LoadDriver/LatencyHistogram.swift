/// Counts latencies in buckets of at most 1 % width, from a microsecond to an hour.
///
/// A bucket is a power of two and one of 64 parts of it, so that a percentile is exact to 1 % however
/// many were counted, and the size is constant.
struct LatencyHistogram {
    private static let partBits = 6
    private static let parts = 1 << partBits
    private var counts = [UInt64](repeating: 0, count: 32 * parts)

    private(set) var count: UInt64 = 0
    private(set) var maximum = 0

    /// Counts one latency, in microseconds; one below zero, which only clocks can make, counts as zero.
    mutating func record(_ microseconds: Int) {
        let value = Swift.max(microseconds, 0)
        counts[Swift.min(Self.bucket(of: value), counts.count - 1)] += 1
        count += 1
        maximum = Swift.max(maximum, value)
    }

    /// The latency in microseconds that a share of those counted, from 0 to 1, does not exceed.
    func percentile(_ share: Double) -> Int {
        let rank = UInt64((Double(count) * share).rounded(.up))
        var seen: UInt64 = 0
        for (bucket, number) in counts.enumerated() where number > 0 {
            seen += number
            if seen >= rank { return Swift.min(Self.upperBound(of: bucket), maximum) }
        }
        return maximum
    }

    private static func bucket(of value: Int) -> Int {
        guard value >= parts else { return value }
        let exponent = Int.bitWidth - 1 - value.leadingZeroBitCount - partBits
        return (exponent + 1) << partBits | (value >> exponent) & (parts - 1)
    }

    private static func upperBound(of bucket: Int) -> Int {
        guard bucket >= parts else { return bucket }
        let exponent = bucket >> partBits - 1
        return ((bucket & (parts - 1) | parts) + 1) << exponent - 1
    }
}
