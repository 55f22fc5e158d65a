import EventCore
import Glibc

/// Follows one event from its commit to its position in the log.
///
/// Whoever sequences first is welcome to: a running node does within milliseconds. If none does within a
/// second, this does it by itself, as any node may: then the inbox waits for nobody either.
struct Canary {
    private let connection: BlockingConnection
    private let event: String?
    private let committed: MonotonicTime
    /// Up to where the log was looked through.
    private var seen: String?

    /// How long a node is waited for.
    private static let nodePatience = Duration.seconds(1)
    /// How long the log may stand still while this sequences.
    private static let ownPatience = Duration.seconds(10)

    /// Commits the event.
    init(_ connection: BlockingConnection) throws(DatabaseError) {
        self.connection = connection
        seen = try connection.run("ask the status", "SELECT head FROM event_service.status()")
            .first?[0]
        event = try connection.run("commit a canary", "SELECT event_service.canary()").first?[0]
        committed = MonotonicClock.now()
    }

    /// What `doctor` says of it, once it has its position.
    mutating func result() throws(DatabaseError) -> CheckResult {
        while MonotonicClock.now() < committed + Self.nodePatience {
            if let position = try position() { return found(at: position, "by a running node") }
            usleep(10_000)
        }
        return try sequence()
    }

    private var age: String { DurationText.rounded(MonotonicClock.now() - committed) }

    private func found(at position: String, _ how: String) -> CheckResult {
        .ok("canary", "at position \(position) of the log after \(age), \(how)")
    }

    /// Looks through what has come to the log since the last time.
    private mutating func position() throws(DatabaseError) -> String? {
        while true {
            let page = try connection.run(
                "look for the canary",
                """
                SELECT head, scanned, position, event_id \
                FROM event_service.replay($1, types => '{event_service.canary}')
                """, [seen])
            if let row = page.first(where: { $0[3] == event }) { return row[2] }
            guard let row = page.first else { return nil }
            seen = row[1]
            guard row[0] != row[1] else { return nil }
        }
    }

    private mutating func sequence() throws(DatabaseError) -> CheckResult {
        do {
            try connection.runScript(
                "attach to the log",
                "SET LOCAL lock_timeout = '3s'; SELECT count(*) FROM event_service.attach()")
        } catch  where error.sqlState == "55P03" {
            return try fault()
        }
        var lastMove = MonotonicClock.now()
        var sequenced = 0
        while MonotonicClock.now() < lastMove + Self.ownPatience {
            let batch = try connection.run(
                "sequence", "SELECT count(position) FROM event_service.advance()")
            let count = batch.first?[0].flatMap { Int($0) } ?? 0
            sequenced += count
            if count > 0 { lastMove = MonotonicClock.now() }
            if let position = try position() {
                let others = sequenced > 1 ? ", with \(sequenced - 1) that waited" : ""
                return found(at: position, "by doctor itself\(others): no node did")
            }
            if count == 0 { usleep(10_000) }
        }
        return try fault()
    }

    private func fault() throws(DatabaseError) -> CheckResult {
        // Who holds the sequencer's lock, if it is that.
        let holder = try connection.run(
            "look for the sequencer",
            """
            SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 1163284052 \
            AND objid = 2 AND granted AND pid <> pg_backend_pid() \
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            """
        ).first?[0]
        return .fault(
            "canary", "it committed \(age) ago and has no position in the log",
            mend: holder.map {
                "another session sequences and does not end: SELECT pg_terminate_backend(\($0))"
            } ?? "look at PostgreSQL's log, and at the oldest rows of event_service.inbox")
    }
}
