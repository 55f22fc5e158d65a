/// The id of an event on the stream, and the place in the log behind which a stream goes on.
///
/// Written `EPOCH-POSITION` in decimal, for example `1764000000-42`. Positions are dense and in commit
/// order; the epoch tells one history of the log from another, so that a cursor handed out before a
/// failover or a restore is never mistaken for a place in what came after.
public struct Cursor: Hashable, Sendable {
    /// The Unix second at which this history of the log was opened.
    public let epoch: Int64
    /// The number of the event in the log, from 1; 0 stands before the first.
    public let position: Int64

    /// Creates the cursor of one position of one history.
    public init(epoch: Int64, position: Int64) {
        self.epoch = epoch
        self.position = position
    }

    /// Reads `EPOCH-POSITION`; `nil` unless the text is exactly what `description` would write.
    public init?(_ text: String) {
        let parts = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        guard parts.count == 2, let epoch = Self.decimal(parts[0]),
            let position = Self.decimal(parts[1])
        else { return nil }
        self.init(epoch: epoch, position: position)
    }

    /// Digits without a sign or a leading zero, up to `Int64.max`.
    private static func decimal(_ digits: Substring.UTF8View) -> Int64? {
        guard let first = digits.first, digits.count == 1 || first != UInt8(ascii: "0") else {
            return nil
        }
        var value: Int64 = 0
        for digit in digits {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
            let (shifted, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = shifted.addingReportingOverflow(Int64(digit - UInt8(ascii: "0")))
            guard !overflow, !carry else { return nil }
            value = sum
        }
        return value
    }
}

extension Cursor: CustomStringConvertible {
    /// `EPOCH-POSITION`.
    public var description: String { "\(epoch)-\(position)" }
}
