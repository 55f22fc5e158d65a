/// How many files the service wants to have open, against how many it may have.
public struct DescriptorNeed: Sendable {
    private let maxConnections: Int
    private let reserve: Int
    private let hardLimit: UInt64

    /// - Parameters:
    ///   - maxConnections: the setting `max_connections`.
    ///   - reserve: what the service needs beside connections.
    ///   - hardLimit: the limit up to which `serve` raises its own.
    public init(maxConnections: Int, reserve: Int, hardLimit: UInt64) {
        self.maxConnections = maxConnections
        self.reserve = reserve
        self.hardLimit = hardLimit
    }

    /// What `doctor` says of it.
    public var result: CheckResult {
        let wanted = maxConnections + reserve
        guard hardLimit < wanted else {
            let limit = hardLimit > 1 << 40 ? "no limit" : "a hard limit of \(hardLimit)"
            return .ok("files", "\(limit); max_connections=\(maxConnections) takes up to \(wanted)")
        }
        let room = Int(clamping: hardLimit) - reserve
        return .fault(
            "files",
            "the hard limit of open files is \(hardLimit), and max_connections=\(maxConnections)"
                + " takes up to \(wanted)",
            mend: "raise it (LimitNOFILE=\(wanted) for systemd, ulimit -Hn)"
                + (room > 0 ? ", or set max_connections=\(room)" : ""))
    }
}
