/// What `GET /api/v1/events/history` takes beside what streams take.
public struct HistoryParameters: Sendable, Equatable {
    /// The most events of a page.
    public var limit = 100
    /// How long to wait for a first event.
    public var wait = Duration.zero

    /// The most events that may be asked for.
    public static let maximumLimit = 1000
    /// The longest wait.
    public static let maximumWait = Duration.seconds(30)
    /// The size at which a page ends, in bytes of its events.
    public static let maximumBytes = 1 << 20

    /// Reads the parameters; throws a 400 that names the one that is wrong.
    public init(query: QueryString) throws(Problem) {
        if let text = try query.single("limit") {
            guard let limit = Int(text), (1...Self.maximumLimit).contains(limit) else {
                throw .badRequest("limit is a number from 1 to 1000, not \"\(text.prefix(64))\".")
            }
            self.limit = limit
        }
        if let text = try query.single("wait") {
            guard let wait = Self.seconds(text), wait <= Self.maximumWait else {
                throw .badRequest(
                    "wait is a number of seconds from 0 to 30, not \"\(text.prefix(64))\".")
            }
            self.wait = wait
        }
    }

    /// `10`, `0.5`, `5e-1`, `10s`, `500ms`.
    private static func seconds(_ text: String) -> Duration? {
        if let duration = DurationText.parse(text) { return duration }
        // Not what else Swift takes for a number: nan, infinity, hexadecimal digits.
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) || ".eE+-".utf8.contains($0) }),
            let seconds = Double(text), (0...3600).contains(seconds)
        else { return nil }
        return .milliseconds(Int64(seconds * 1000))
    }
}
