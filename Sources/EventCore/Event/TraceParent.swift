/// Where something happened in a distributed trace: the `traceparent` of W3C Trace Context.
///
/// `00-TRACE-PARENT-FLAGS`, lower-case hexadecimal digits, 32, 16 and 2 of them. It is carried as it
/// came: whoever receives the event goes on from it, the service itself writes no spans. (Section 3.2
/// of the recommendation; of a later version, of which there is none yet, nothing would be known.)
public struct TraceParent: Hashable, Sendable {
    /// The value as it is written, 55 bytes.
    public let text: String

    /// Reads a value; `nil` unless it is one of version 00 whose trace and parent are not all zeros.
    public init?(_ text: String) {
        let parts = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        guard text.utf8.count == 55, parts.map(\.count) == [2, 32, 16, 2],
            parts.allSatisfy({ $0.allSatisfy(Self.isLowerHexadecimal) }),
            parts[0].elementsEqual("00".utf8),
            parts[1...2].allSatisfy({ $0.contains { $0 != UInt8(ascii: "0") } })
        else { return nil }
        self.text = text
    }

    private static func isLowerHexadecimal(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
    }
}

extension HTTPRequest {
    /// The trace that the request belongs to; `nil` if its header is missing, no traceparent, or there
    /// twice: then the request is served as if it had none.
    public var traceParent: TraceParent? {
        let values = fields.filter { $0.name == "traceparent" }
        return values.count == 1 ? TraceParent(values[0].value) : nil
    }
}
