/// The queue in which PostgreSQL keeps notifications until every session that listens has got them.
public enum NotificationQueue {
    /// What `doctor` says of it.
    ///
    /// - Parameter usage: the part of it that is full, from `pg_notification_queue_usage()`.
    public static func result(usage: Double) -> CheckResult {
        let percent = "\(Int((usage * 100).rounded(.up))) % full"
        guard usage > 0.25 else { return .ok("queue", "the notification queue is \(percent)") }
        return .fault(
            "queue", "the notification queue is \(percent); once it is, commits that notify fail",
            mend: "a session that listens has been in one transaction for long: find it in"
                + " pg_stat_activity by xact_start, and end it")
    }
}

/// The standbys of the server, by which it is known what a failover would lose.
public enum Standbys {
    /// What `doctor` says of them.
    ///
    /// - Parameters:
    ///   - synchronousNames: the setting `synchronous_standby_names`.
    ///   - connected: how many receive the WAL.
    public static func result(synchronousNames: String, connected: Int) -> CheckResult {
        if connected == 0 {
            guard !synchronousNames.isEmpty else { return .ok("standbys", "none") }
            return .fault(
                "standbys",
                "synchronous_standby_names is \(synchronousNames), and no standby is connected:"
                    + " every commit waits",
                mend:
                    "start the standby, or ALTER SYSTEM RESET synchronous_standby_names and reload")
        }
        return .ok(
            "standbys",
            "\(connected) connected, "
                + (synchronousNames.isEmpty
                    ? "asynchronous: a failover may lose the last events, and clients are told"
                    : "synchronous"))
    }
}
