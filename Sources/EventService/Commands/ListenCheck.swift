import EventCore
import Glibc

/// Whether notifications arrive through this very connection string.
///
/// One connection listens and does nothing more; another notifies. A pooler in transaction mode gives a
/// client a server process for one transaction only: then the notification comes to a process that serves
/// nobody, or somebody else, and the one that listens hears nothing. (On one connection the proof would
/// be none: LISTEN and NOTIFY would happen to meet the same process.)
struct ListenCheck {
    private let listening: BlockingConnection
    private let other: BlockingConnection
    private let channel = "event_service_doctor_\(getpid())_\(UInt32.random(in: 0...(.max)))"

    private static let patience = Duration.seconds(3)

    init(_ listening: BlockingConnection, other: BlockingConnection) {
        self.listening = listening
        self.other = other
    }

    /// What `doctor` says of it.
    func result() throws(DatabaseError) -> CheckResult {
        do {
            try listening.run("listen", "LISTEN \(channel)")
            let process = try serverProcess(of: listening)
            let began = MonotonicClock.now()
            try other.run("notify", "SELECT pg_notify('\(channel)', '')")
            // A session of its own is also what the locks of the service need.
            let otherProcess = try serverProcess(of: other)
            let isShared = otherProcess == process
            let isHeard = !isShared && listening.hears(channel, within: Self.patience)
            let took = MonotonicClock.now() - began
            let isPooled = process != String(listening.serverProcess)
            try listening.run("listen no more", "UNLISTEN \(channel)")
            guard isHeard else { return deaf(isPooled: isPooled) }
            return .ok(
                "listen",
                "a notification took \(DurationText.rounded(took)); "
                    + (isPooled ? "the pooler in between keeps sessions" : "no pooler in between"))
        } catch  where error.sqlState?.hasPrefix("08") == true {
            // What PgBouncer answers in its own name, for example in statement mode.
            return deaf(isPooled: true, error.message)
        }
    }

    private func serverProcess(of connection: BlockingConnection) throws(DatabaseError) -> String? {
        try connection.run("ask for the process", "SELECT pg_backend_pid()").first?[0]
    }

    private func deaf(isPooled: Bool, _ detail: String? = nil) -> CheckResult {
        .fault(
            "listen",
            "notifications do not arrive"
                + (isPooled ? ": a pooler in transaction mode is in between" : "")
                + (detail.map { " (\($0))" } ?? ""),
            mend: isPooled
                ? "let database_url name PostgreSQL itself, or a pooler that keeps sessions"
                    + " (pool_mode=session)"
                : "look for a pooler or proxy between here and PostgreSQL, and connect directly")
    }
}
