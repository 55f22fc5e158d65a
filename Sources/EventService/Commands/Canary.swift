import EventCore
import Glibc

/// Follows one event from its commit to its position in the log.
///
/// Whoever sequences first is welcome to: a running node does within milliseconds. If none does within a
/// second, this does it by itself, as any node may: then the inbox waits for nobody either.
struct Canary {
    private let connection: BlockingConnection

    /// How long a node is waited for.
    private static let nodePatience = Duration.seconds(1)
    /// How long the log may stand still while this sequences.
    private static let ownPatience = Duration.seconds(10)

    init(_ connection: BlockingConnection) {
        self.connection = connection
    }

    /// What `doctor` says of it.
    func result() throws(DatabaseError) -> CheckResult {
        let before = try connection.run("ask the status", "SELECT head FROM event_service.status()")
        let head = before.first?[0] ?? "0"
        let event = try connection.run("commit a canary", "SELECT event_service.canary()")
        let committed = MonotonicClock.now()
        let id = event.first?[0] ?? ""
        while MonotonicClock.now() < committed + Self.nodePatience {
            if let position = try position(of: id, after: head) {
                return .ok(
                    "canary",
                    "at position \(position) of the log after \(since(committed)), by a running node"
                )
            }
            usleep(10_000)
        }
        return try sequence(id, after: head, committed: committed)
    }

    private func since(_ time: MonotonicTime) -> String {
        DurationText.rounded(MonotonicClock.now() - time)
    }

    private func position(of event: String, after head: String) throws(DatabaseError) -> String? {
        try connection.run(
            "look for the canary",
            "SELECT position FROM event_service.log WHERE position > $1 AND event_id = $2",
            [head, event]
        ).first?[0]
    }

    private func sequence(
        _ event: String, after head: String, committed: MonotonicTime
    ) throws(DatabaseError) -> CheckResult {
        do {
            try connection.runScript(
                "attach to the log",
                "SET LOCAL lock_timeout = '3s'; SELECT count(*) FROM event_service.attach()")
        } catch  where error.sqlState == "55P03" {
            return try fault(committed: committed)
        }
        var lastMove = MonotonicClock.now()
        var sequenced = 0
        while MonotonicClock.now() < lastMove + Self.ownPatience {
            let batch = try connection.run(
                "sequence", "SELECT count(position) FROM event_service.advance()")
            let count = batch.first?[0].flatMap { Int($0) } ?? 0
            sequenced += count
            if count > 0 { lastMove = MonotonicClock.now() }
            if let position = try position(of: event, after: head) {
                let others = sequenced > 1 ? ", with \(sequenced - 1) that waited" : ""
                return .ok(
                    "canary",
                    "at position \(position) of the log after \(since(committed)), by doctor"
                        + " itself\(others): no node did")
            }
            usleep(10_000)
        }
        return try fault(committed: committed)
    }

    private func fault(committed: MonotonicTime) throws(DatabaseError) -> CheckResult {
        .fault(
            "canary", "it committed \(since(committed)) ago and has no position in the log",
            mend: try mend())
    }

    /// Who holds the sequencer's lock, if it is that.
    private func mend() throws(DatabaseError) -> String {
        let holder = try connection.run(
            "look for the sequencer",
            """
            SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 1163284052 \
            AND objid = 2 AND granted AND pid <> pg_backend_pid() \
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            """
        ).first?[0]
        return holder.map {
            "another session sequences and does not end: SELECT pg_terminate_backend(\($0))"
        }
            ?? "look at PostgreSQL's log, and at the oldest rows of event_service.inbox"
    }
}
