import Glibc

/// The limit of open files.
enum DescriptorLimit {
    /// What the service needs beside connections: loops, listeners, PostgreSQL, files.
    static let reserve = 64 + ConnectionCount.roomPastCap

    /// The limit up to which the service raises its own.
    static var hard: UInt64 { UInt64(current.rlim_max) }

    private static var current: rlimit {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return limit
    }

    /// Raises the soft limit to the hard one, and returns how many connections fit; with a warning if
    /// they are fewer than wanted.
    static func raise(for wanted: Int, log: Log) -> Int {
        var limit = current
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit = current
        let room = max(1, Int(clamping: limit.rlim_cur) - reserve)
        if room < wanted {
            log.warning(
                "service: fewer connections than wanted, for lack of descriptors",
                [
                    "max_connections": String(wanted), "served": String(room),
                    "descriptor_limit": String(limit.rlim_cur),
                ])
        }
        return min(wanted, room)
    }
}
