import EventCore

/// What `doctor` asks of the database, one query a check.
///
/// Names are qualified throughout, since nothing may be set on the connection.
struct DatabaseExamination {
    let connection: BlockingConnection

    init(_ connection: BlockingConnection) {
        self.connection = connection
    }

    private func row(_ operation: String, _ sql: String) throws(DatabaseError) -> [String] {
        try connection.run(operation, sql).first?.map { $0 ?? "" } ?? []
    }

    /// The version and the encoding.
    func server() throws(DatabaseError) -> CheckResult {
        let row = try row(
            "ask for the version",
            """
            SELECT current_setting('server_version'), current_setting('server_version_num'), \
            current_setting('server_encoding'), current_database(), current_user
            """)
        // Debian has its package's version behind it.
        let version = row[0].prefix { $0 != " " }
        let finding =
            "PostgreSQL \(version) at \(connection.address), database \(row[3]) as \(row[4])"
        if Int(row[1]) ?? 0 < 150_000 {
            return .fault("connection", finding, mend: "the service needs PostgreSQL 15 or later")
        }
        if row[2] == "SQL_ASCII" {
            return .fault(
                "connection", finding + ", encoding SQL_ASCII: nobody knows what its texts mean",
                mend: "move to a database with ENCODING 'UTF8' (createdb, pg_dump, pg_restore)")
        }
        return .ok("connection", finding)
    }

    /// Whether the server takes writes.
    func writing() throws(DatabaseError) -> CheckResult {
        let row = try row(
            "ask whether the server takes writes",
            "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')")
        if row[0] == "t" {
            return .fault(
                "primary", "the server is a standby: it takes no writes",
                mend: "name the primary in database_url, or all servers (host=a,b): the one that"
                    + " takes writes is found")
        }
        if row[1] == "on" {
            return .fault(
                "primary", "default_transaction_read_only is on: no connection is used that is so",
                mend: "ALTER DATABASE … or ALTER ROLE … RESET default_transaction_read_only")
        }
        return .ok("primary", "the server takes writes")
    }

    /// Whether the migrations are there that this version needs.
    func migrations() throws(DatabaseError) -> CheckResult {
        var missing = Migration.required
        do {
            let applied = try connection.run(
                "look at the migrations", "SELECT name FROM event_service.migrations")
            missing.removeAll { name in applied.contains { $0[0] == name } }
        } catch  where error.sqlState == "42501" {
            // There, but not for this login; the next check says so.
            missing = []
        } catch  where error.isMissingObject {
        }
        guard !missing.isEmpty else { return .ok("migrations", "applied") }
        return .fault(
            "migrations", "not applied: \(missing.joined(separator: ", "))",
            mend: "event-service migrate, with a login that may create roles")
    }

    /// Whether the login may do all that the service does.
    func rights() throws(DatabaseError) -> CheckResult {
        let functions = RuntimeRights.functions.map { "(\(quoted($0.name)), \(quoted($0.types)))" }
        let rows = try connection.run(
            "ask for the rights",
            """
            SELECT current_user::regrole, 'USAGE on SCHEMA event_service' AS lacking
            WHERE NOT has_schema_privilege('event_service', 'USAGE')
            UNION ALL
            SELECT current_user::regrole, format('EXECUTE on FUNCTION event_service.%s(%s)', f.name, f.types)
            FROM (VALUES \(functions.joined(separator: ", "))) AS f (name, types)
            LEFT JOIN pg_proc p ON p.proname = f.name AND oidvectortypes(p.proargtypes) = f.types
                AND p.pronamespace = 'event_service'::regnamespace
            WHERE p.oid IS NULL OR NOT has_function_privilege(p.oid, 'EXECUTE')
            UNION ALL
            SELECT current_user::regrole, format('SELECT on event_service.%s', c.relname)
            FROM pg_class c WHERE c.relnamespace = 'event_service'::regnamespace
                AND c.relname = ANY ('\(Query.array(RuntimeRights.relations))')
                AND NOT has_table_privilege(c.oid, 'SELECT')
            """)
        guard let login = rows.first?[0] else {
            return .ok("rights", "all that the service needs")
        }
        let lacking = rows.compactMap { $0[1] }
        let more = lacking.count > 2 ? ", and \(lacking.count - 2) more" : ""
        return .fault(
            "rights", "\(login) lacks \(lacking.prefix(2).joined(separator: ", "))\(more)",
            mend:
                "GRANT event_service_runtime TO \(login); if it has that role, event-service migrate"
        )
    }

    private func quoted(_ text: String) -> String { "'\(text)'" }

    /// Whether every watched table is captured as `watch()` was told.
    func tables() throws(DatabaseError) -> CheckResult {
        let rows = try connection.run(
            "look at the watched tables",
            "SELECT tbl, drift FROM event_service.watched ORDER BY tbl::text")
        let drifted = rows.filter { $0[1] != nil }
        guard !drifted.isEmpty else {
            return .ok(
                "tables",
                rows.isEmpty ? "none is watched yet" : "\(rows.count) watched, as they should be")
        }
        let findings = drifted.map { ($0[0].map { "\($0): " } ?? "") + ($0[1] ?? "") }
        return .fault(
            "tables", findings.joined(separator: "; "),
            mend: "call event_service.watch() on the table again, or event_service.unwatch();"
                + " event_service.watched has the settings")
    }

    /// Compares the clocks, by the quickest of a few readings.
    func clock() throws(DatabaseError) -> CheckResult {
        var best: (comparison: ClockComparison, took: Int64)?
        for _ in 0..<5 {
            let before = MonotonicClock.date()
            let row = try row(
                "ask for the time",
                "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
            let after = MonotonicClock.date()
            let took = after.microseconds - before.microseconds
            guard took < best?.took ?? .max else { continue }
            let database = Timestamp(microseconds: Int64(row[0]) ?? 0)
            best = (ClockComparison(before: before, database: database, after: after), took)
        }
        return best?.comparison.result ?? .ok("clock", "not compared")
    }

    /// Whether the queue of notifications, which all databases share, is about to be full.
    func notificationQueue() throws(DatabaseError) -> CheckResult {
        let row = try row("ask for the queue", "SELECT pg_notification_queue_usage()")
        return NotificationQueue.result(usage: Double(row[0]) ?? 0)
    }

    /// What a failover would lose.
    func standbys() throws(DatabaseError) -> CheckResult {
        let row = try row(
            "ask for the standbys",
            """
            SELECT current_setting('synchronous_standby_names'), count(*) FROM pg_stat_replication
            """)
        return Standbys.result(synchronousNames: row[0], connected: Int(row[1]) ?? 0)
    }

    /// Whether there may be two-phase commits.
    func preparedTransactions() throws(DatabaseError) -> CheckResult {
        let row = try row(
            "ask for two-phase commit", "SELECT current_setting('max_prepared_transactions')")
        return .ok(
            "two-phase",
            row[0] == "0"
                ? "off"
                : "allowed (max_prepared_transactions=\(row[0])): PREPARE TRANSACTION fails now and"
                    + " then where it has written to a watched table")
    }
}

extension DatabaseError {
    /// Whether a schema, table or function is not there.
    fileprivate var isMissingObject: Bool {
        ["3F000", "42P01", "42883"].contains(sqlState)
    }
}

/// What the service's login must be allowed to do; `event_service_runtime` is.
enum RuntimeRights {
    /// Functions of the schema `event_service` with the types of their arguments.
    static let functions: [(name: String, types: String)] = [
        ("attach", ""), ("bounds", ""), ("newest_epoch", ""),
        ("advance", "integer, bigint, boolean"), ("status", ""),
        ("replay", "bigint, integer, text[], text[], text[], bigint"), ("event_at", "bigint"),
        ("position_before", "timestamp with time zone"), ("publish_all", "jsonb, jsonb"),
        ("raise_floor", "interval"), ("sweep", "bigint, interval"), ("canary", ""),
        ("revocations", "xid8"), ("issue_ticket", "text, json"), ("redeem_ticket", "text"),
        ("sweep_tokens", "interval"), ("check_sessions", "text, text[], text[], text[]"),
        ("take_in", "json, text[], json, json"), ("taken_offsets", "text"),
    ]
    /// Tables and views that are read.
    static let relations = ["migrations", "watched"]
}
