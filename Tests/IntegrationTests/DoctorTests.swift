import EventCore
import Foundation
import TestSupport
import Testing

@testable import EventService

/// What `doctor` printed.
private struct Examination {
    let status: Int32
    let lines: [String]
    let error: String

    init(
        _ database: any DatabaseClient, _ arguments: [String] = [],
        environment: [String: String] = [:]
    ) throws {
        try self.init(["--database-url", database.url] + arguments, environment)
    }

    init(_ arguments: [String], _ environment: [String: String] = [:]) throws {
        let run = try ToolRun(["doctor"] + arguments, environment: environment)
        status = run.status
        lines = run.output.split(separator: "\n").map(String.init)
        error = run.error
    }

    /// The line of a check.
    subscript(_ name: String) -> String? {
        lines.first { $0.split(separator: " ").dropFirst().first == Substring(name) }
    }

    var failed: [String] {
        lines.filter { $0.hasPrefix("FAIL ") }
            .compactMap { $0.split(separator: " ").dropFirst().first.map(String.init) }
    }

    var names: [String] {
        lines.compactMap { $0.split(separator: " ").dropFirst().first.map(String.init) }
    }

    /// Records an issue unless one check failed, and its line says all of these.
    func expectFault(
        _ name: String, _ mentions: String..., at location: SourceLocation = #_sourceLocation
    ) {
        #expect(status == 1, sourceLocation: location)
        #expect(failed == [name], "\(lines)", sourceLocation: location)
        let line = self[name] ?? ""
        for mention in mentions + ["; mend: "] {
            #expect(line.contains(mention), "\(line)", sourceLocation: location)
        }
        #expect(error.isEmpty, sourceLocation: location)
    }

    func expectOK(at location: SourceLocation = #_sourceLocation) {
        #expect(status == 0, sourceLocation: location)
        #expect(failed.isEmpty, "\(lines)", sourceLocation: location)
        #expect(error.isEmpty, sourceLocation: location)
        #expect(
            names == [
                "connection", "primary", "standbys", "listen", "migrations", "rights", "tables",
                "canary", "clock", "queue", "two-phase", "settings", "files",
            ], sourceLocation: location)
    }
}

@Suite struct Doctor {
    @Test(.timeLimit(.minutes(1)))
    func `each bridge has a line, which says whether its other side is there`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let redis = try RedisServer()
            let kafka = try KafkaMockCluster(brokers: 1, topic: "tasks", partitions: 1)
            func examine(
                redis url: String, stream: String = "in", topic: String = "tasks"
            ) throws -> Examination {
                let file = try ConfigurationText(
                    """
                    { redis_url: "\(url)", kafka_brokers: "\(kafka.brokers)",
                      redis: { timeout: "2s",
                               sources: [{ stream: "\(stream)", type: "a.b", audience: ["*"] },
                                         { channels: ["talk"], type: "a.b", audience: ["*"] }],
                               sinks: [{ name: "out", channel: "out", types: ["*"] }] },
                      kafka: { sources: [{ topics: ["\(topic)"], type: "a.b", audience: ["*"] }] } }
                    """)
                return try Examination(database, ["--config", file.path])
            }
            let bridges = ["kafka:event-service", "redis:in", "redis:talk", "sink:out"]
            let well = try examine(redis: redis.url)
            #expect(well.status == 0 && well.error.isEmpty)
            #expect(well.names.suffix(6) == bridges + ["settings", "files"])
            for name in bridges { #expect(well[name]?.contains(" answers") == true) }
            try examine(redis: redis.url, topic: "missing").expectFault(
                "kafka:event-service", "no topic missing", "make it")
            try RedisClient(port: redis.port).run("SET", "text", "no stream")
            try examine(redis: redis.url, stream: "text").expectFault(
                "redis:text", "WRONGTYPE", "a key that is a stream")
            let refused = try examine(redis: "redis://:hunter2@127.0.0.1:\(redis.port)/0")
            #expect(refused.failed == Array(bridges.dropFirst()))
            #expect(refused["sink:out"]?.contains("AUTH") == true)
            #expect(!refused.lines.joined().contains("hunter2"))
            redis.kill()
            let away = try examine(redis: redis.url)
            #expect(away.status == 1 && away.failed == Array(bridges.dropFirst()))
            #expect(away["redis:in"]?.contains("start Redis there") == true)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `all is well, with a running node and without, by a login that has only the runtime role`()
        async throws
    {
        try await onOwnThread {
            let database = try TestDatabase()
            let login = try RuntimeLogin(database)
            let alone = try Examination(login)
            alone.expectOK()
            #expect(alone["canary"]?.contains("position 1 of the log") == true)
            #expect(alone["canary"]?.contains("by doctor itself") == true)
            #expect(alone["connection"]?.contains("as \(login.name)") == true)

            try database.run("INSERT INTO tasks (title) VALUES ('waits')")
            let drained = try Examination(login)
            drained.expectOK()
            #expect(drained["canary"]?.contains("with 1 that waited") == true)

            let service = try ServiceProcess(database: login.url)
            let began = Date()
            let accompanied = try Examination(login)
            accompanied.expectOK()
            #expect(accompanied["canary"]?.contains("position 4 of the log") == true)
            #expect(accompanied["canary"]?.contains("by a running node") == true)
            #expect(Date().timeIntervalSince(began) < 10)
            _ = service
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `settings with which serve would not start are a fault`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            for (arguments, mention) in [
                (["--jwt-secret", "short"], "at least 32 bytes"),
                (["--jwt-jwks", "/nowhere/keys.json"], "/nowhere/keys.json"),
                (["--auth", "none", "--listen", "0.0.0.0:8080"], "allow_insecure"),
                (["--fanout", "redis"], "redis_url"),
            ] {
                let serve = try ToolRun(["serve", "--database-url", database.url] + arguments)
                #expect(serve.status == 1 && serve.error.contains(mention), "\(serve.error)")
                try Examination(["--database-url", database.url] + arguments)
                    .expectFault("settings", mention)
            }
            let unheard = try Examination([
                "--database-url", database.url, "--fanout", "redis", "--redis-url",
                "redis://127.0.0.1:1",
            ])
            unheard.expectFault("fanout", "start Redis there")
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `the canary reaches nobody, and the ids go on behind it`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let stream = try StreamClient(service.port)
            _ = try stream.next("stream.live")
            try Examination(database).expectOK()
            try database.run("INSERT INTO tasks (title) VALUES ('behind')")
            let event = try stream.next()
            #expect(event.type == "task.created")
            let ids = try database.ids()
            #expect(event.lastEventID == ids[1])
            let replayed = try StreamClient(service.port, "since=earliest")
            #expect(try replayed.events(1)[0].lastEventID == ids[1])
            let history = try HTTPClient.get(
                service.port, "/api/v1/events/history?since=earliest")
            #expect((history.json["events"] as? [Any])?.count == 1)
            #expect(try HTTPClient.get(service.port, "/api/v1/events/\(ids[0])").status == 404)
            #expect(
                try database.value(
                    "SELECT type || audience::text FROM event_service.events LIMIT 1")
                    == "event_service.canary{}")
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `PgBouncer in transaction mode is found, one that keeps sessions is not a fault`()
        async throws
    {
        try await onOwnThread {
            let database = try TestDatabase()
            let node = try ServiceProcess(database: database.url)
            defer { node.kill() }
            for mode in ["transaction", "statement"] {
                let examination = try Examination(try TestPooler(before: database, mode: mode))
                examination.expectFault("listen", "pooler in transaction mode", "pool_mode=session")
            }
            let session = try Examination(try TestPooler(before: database, mode: "session"))
            session.expectOK()
            #expect(session["listen"]?.contains("pooler in between keeps sessions") == true)
            let direct = try Examination(database)
            #expect(direct["listen"]?.contains("no pooler in between") == true)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a pooler's sessions are left as they were`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let pooler = try TestPooler(before: database, mode: "transaction")
            let settings =
                "SELECT string_agg(current_setting(s), ',') FROM unnest('{search_path,timezone,statement_timeout,default_transaction_isolation}'::text[]) s"
            let before = try pooler.value(settings)
            _ = try Examination(pooler)
            for _ in 0..<4 { #expect(try pooler.value(settings) == before) }
            #expect(
                try database.value(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                ) == "0")
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a standby, and a server that takes no writes, are found`() async throws {
        try await onOwnThread {
            let primary = try TestCluster()
            try primary.migrate()
            let standby = try TestCluster(.standby(of: primary))
            try primary.waitForReplay(by: standby)
            let found = try Examination(standby)
            found.expectFault("primary", "is a standby", "host=a,b")
            #expect(found["canary"] == nil && found["listen"] == nil)
            #expect(found["tables"]?.hasPrefix("ok ") == true)
            let insisting = try Examination([
                "--database-url", standby.url + "?target_session_attrs=any",
            ])
            insisting.expectFault("primary", "is a standby")
            let both = try Examination(["--database-url", TestCluster.url(of: standby, primary)])
            both.expectOK()
            #expect(both["connection"]?.contains(":\(primary.port),") == true)
            #expect(both["standbys"]?.contains("1 connected, asynchronous") == true)

            try primary.run("ALTER DATABASE postgres SET default_transaction_read_only = on")
            try Examination(primary).expectFault("primary", "default_transaction_read_only is on")
            try primary.run(
                "BEGIN READ WRITE; ALTER DATABASE postgres RESET default_transaction_read_only; COMMIT"
            )
            try standby.stop()
            try primary.run("ALTER SYSTEM SET synchronous_standby_names = 'other'")
            try primary.run("SELECT pg_reload_conf()")
            try eventually("nobody is connected") {
                try primary.value("SELECT count(*) FROM pg_stat_replication") == "0" ? true : nil
            }
            let waiting = try Examination(primary)
            waiting.expectFault(
                "standbys", "synchronous_standby_names is other", "every commit waits")
            #expect(waiting["canary"] == nil)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `rights that are missing are named`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let node = try ServiceProcess(database: database.url)
            defer { node.kill() }
            let login = try RuntimeLogin(database, role: nil)
            try Examination(login).expectFault(
                "rights", "\(login.name) lacks ", " more",
                "GRANT event_service_runtime TO \(login.name)")
            try database.run("GRANT event_service_runtime TO \(login.name)")
            try Examination(login).expectOK()
            for right in RuntimeRights.functions.map({
                "EXECUTE on FUNCTION event_service.\($0.name)(\($0.types))"
            }) + RuntimeRights.relations.map({ "SELECT on event_service.\($0)" }) {
                try database.run("REVOKE \(right) FROM event_service_runtime")
                try Examination(login).expectFault("rights", "\(login.name) lacks \(right)")
                try database.run("GRANT \(right) TO event_service_runtime")
            }
            try database.run("REVOKE USAGE ON SCHEMA event_service FROM PUBLIC")
            try Examination(login).expectFault("rights", "USAGE on SCHEMA event_service")
            try database.run("GRANT USAGE ON SCHEMA event_service TO PUBLIC")
            try database.run("DROP FUNCTION event_service.canary()")
            try Examination(database).expectFault("rights", "event_service.canary()", "migrate")
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `tables that are not captured as they should be are named`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let node = try ServiceProcess(database: database.url)
            defer { node.kill() }
            try database.run(
                """
                CREATE TABLE notes (id int PRIMARY KEY, body text);
                SELECT event_service.watch('notes', columns => '{*}', global => true)
                """)
            let function = try database.value(
                "SELECT proname FROM pg_proc WHERE proname LIKE 'capture\\_%\\_notes'")
            #expect(try Examination(database)["tables"]?.contains("2 watched") == true)
            for (harm, cure, mention) in [
                (
                    #"ALTER TABLE notes DISABLE TRIGGER "0_event_service_update""#,
                    #"ALTER TABLE notes ENABLE TRIGGER "0_event_service_update""#,
                    "notes: trigger 0_event_service_update is disabled"
                ),
                (
                    "ALTER TABLE notes RENAME body TO text",
                    "ALTER TABLE notes RENAME text TO body",
                    "notes: column body is gone"
                ),
                (
                    "ALTER FUNCTION event_service.\(function)() RESET ALL",
                    "SELECT event_service.watch('notes', columns => '{*}', global => true)",
                    "notes: the capture function is not what watch() would write now"
                ),
                (
                    "ALTER FUNCTION event_service.\(function)() SECURITY INVOKER",
                    "SELECT event_service.watch('notes', columns => '{*}', global => true)",
                    "notes: the capture function is not what watch() would write now"
                ),
                (
                    "CREATE OR REPLACE FUNCTION event_service.\(function)() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
                    "SELECT event_service.watch('notes', columns => '{*}', global => true)",
                    "notes: the capture function is not what watch() would write now"
                ),
                (
                    #"DROP TRIGGER "0_event_service_insert" ON notes"#,
                    "SELECT event_service.watch('notes', columns => '{*}', global => true)",
                    "notes: trigger 0_event_service_insert is missing"
                ),
                (
                    #"DROP TRIGGER "0_event_service_insert" ON notes; DROP TRIGGER "0_event_service_update" ON notes; DROP TRIGGER "0_event_service_delete" ON notes; DROP TRIGGER "0_event_service_truncate" ON notes"#,
                    "SELECT event_service.watch('notes', columns => '{*}', global => true)",
                    "the table, or its triggers, are gone: event_service.\(function)()"
                ),
            ] {
                try database.run(harm)
                try Examination(database).expectFault("tables", mention, "event_service.watch()")
                try database.run(cure)
                try Examination(database).expectOK()
            }
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `missing migrations and a strange encoding are named`() async throws {
        try await onOwnThread {
            let database = try TestDatabase(migrated: false)
            let none = try Examination(database)
            none.expectFault(
                "migrations", "0001_event_log.sql, 0002_capture.sql", "event-service migrate")
            #expect(none["rights"] == nil && none["canary"] == nil)
            try database.migrate()
            try database.run("DELETE FROM event_service.migrations WHERE name LIKE '0004%'")
            try Examination(database).expectFault("migrations", "not applied: 0004_retention.sql;")

            try database.run(
                "CREATE DATABASE \(database.name)_ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
            )
            defer { try? database.run("DROP DATABASE \(database.name)_ascii") }
            let ascii = try Examination(["--database-url", database.url + "_ascii"])
            #expect(ascii["connection"]?.hasPrefix("FAIL") == true)
            #expect(ascii["connection"]?.contains("SQL_ASCII") == true)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a database that cannot be reached is one line, and shows no password`() async throws {
        try await onOwnThread {
            let cluster = try TestCluster()
            // Written by the server, whose files are not ours.
            try cluster.run(
                """
                CREATE ROLE guest LOGIN PASSWORD 'right';
                COPY (SELECT 'host all guest 127.0.0.1/32 scram-sha-256' UNION ALL
                      SELECT 'host all postgres 127.0.0.1/32 trust') TO '\(try cluster.value("SHOW hba_file"))';
                """)
            try cluster.run("SELECT pg_reload_conf()")
            func url(_ user: String, _ database: String = "postgres") -> String {
                "postgresql://\(user)@127.0.0.1:\(cluster.port)/\(database)"
            }
            for (url, mentions) in [
                (
                    url("guest:wr0ng"),
                    ["password authentication failed", "correct user and password"]
                ),
                (url("guest"), ["no password supplied", "~/.pgpass"]),
                (url("stranger:wr0ng"), ["no pg_hba.conf entry", "pg_hba.conf, and reload"]),
                (
                    url("postgres:wr0ng", "nowhere"),
                    ["\"nowhere\" does not exist", "create the database"]
                ),
                ("postgresql://a:wr0ng@127.0.0.1:1/x", ["Connection refused", "start PostgreSQL"]),
                (
                    "postgresql://a:wr0ng@nowhere.invalid/x",
                    ["nowhere.invalid", "correct the host"]
                ),
                ("postgresql://a:wr0ng@[::1/x", ["cannot be read", "correct database_url"]),
                ("postgresql://a:p@wr0ng@127.0.0.1/x", ["cannot be read", "%40"]),
                ("postgres:/a:wr0ng@127.0.0.1/x?sslmode=off", ["cannot be read"]),
            ] {
                let examination = try Examination(["--database-url", url])
                examination.expectFault("connection")
                #expect(examination.names == ["connection", "settings", "files"])
                for mention in mentions {
                    #expect(examination.lines[0].contains(mention), "\(examination.lines[0])")
                }
                #expect(!examination.lines[0].contains("wr0ng"))
            }
            let right = try Examination(["--database-url", url("guest:right")])
            #expect(right["connection"]?.hasPrefix("ok ") == true)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a clock that is off is found`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let node = try ServiceProcess(database: database.url)
            defer { node.kill() }
            try Examination(database, environment: FakeTime.environment("+90s")).expectFault(
                "clock", "the database's clock is 1m 30s behind this machine's", "NTP")
            try Examination(database, environment: FakeTime.environment("-5s")).expectFault(
                "clock", "5.0 s ahead of this machine's")
            try Examination(database, environment: FakeTime.environment("+0s")).expectOK()
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a hard limit of files below max_connections is found`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let node = try ServiceProcess(database: database.url)
            defer { node.kill() }
            let run = try ToolRun(
                "/bin/sh",
                [
                    "-c", #"ulimit -n 300; exec "$0" doctor --database-url "$1""#,
                    ToolRun.executable.path, database.url,
                ], ToolRun.cleanEnvironment)
            #expect(run.status == 1)
            #expect(run.output.contains("FAIL files"))
            #expect(run.output.contains("set max_connections=108"))
            try Examination(database, ["--max-connections", "108"]).expectOK()
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a sequencer that does not end is found, and named`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let holder = try database.connect()
            let process = try holder.run(
                "test", "SELECT pg_advisory_lock_shared(1163284052, 2), pg_backend_pid()")[0][1]
            let hanging = try Examination(database)
            hanging.expectFault("canary", "SELECT pg_terminate_backend(\(process ?? ""))")
            withExtendedLifetime(holder) {}
        }
    }

    @Test func `bad usage is 2, settings are those of serve`() throws {
        #expect(try ToolRun(["doctor", "--nonsense"]).status == 2)
        #expect(try ToolRun(["doctor", "extra"]).status == 2)
        #expect(try ToolRun(["doctor", "--config", "/does/not/exist"]).status == 1)
        let help = try ToolRun(["doctor", "--help"])
        #expect(help.status == 0)
        #expect(help.output.contains("usage: event-service doctor"))
        let variables = ["EVENT_SERVICE_DATABASE_URL": "postgresql://127.0.0.1:1/x"]
        try Examination([], variables).expectFault("connection", "port 1 failed")
    }
}

/// A login of its own that has what the service needs, and nothing else.
final class RuntimeLogin: DatabaseClient {
    let name: String
    let url: String
    private let database: TestDatabase

    init(_ database: TestDatabase, role: String? = "event_service_runtime") throws {
        self.database = database
        let name = "login_" + UUID().uuidString.lowercased().prefix(8)
        self.name = name
        url = database.url.replacing("postgres@", with: "\(name)@")
        try database.run(
            "CREATE ROLE \(name) LOGIN" + (role.map { "; GRANT \($0) TO \(name)" } ?? ""))
    }

    deinit {
        try? database.run(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '\(name)';
            DROP OWNED BY \(name); DROP ROLE \(name)
            """)
    }
}
