import EventCore
import Foundation
import TestSupport
import Testing

@testable import EventService

@Suite struct `Command line` {
    @Test func `help and version are there, and bad usage is 2`() throws {
        #expect(try ToolRun(["--version"]).output == "event-service \(Version.current)\n")
        let help = try ToolRun(["--help"])
        #expect(help.status == 0)
        for command in ["serve", "migrate", "doctor", "tail", "token"] {
            #expect(help.output.contains("\n  \(command) "))
            let own = try ToolRun([command, "--help"])
            #expect(own.status == 0)
            #expect(own.output.contains("usage: event-service \(command)"))
        }
        let serve = try ToolRun(["serve", "--help"]).output
        for setting in Setting.all { #expect(serve.contains("\n  \(setting.flag) ")) }
        for arguments in [
            [], ["nonsense"], ["serve", "--nonsense"], ["serve", "nonsense"],
            ["serve", "--listen"],
            ["serve", "--listen", "x"], ["tail", "--json=1"], ["migrate", "--no-example=1"],
        ] {
            let run = try ToolRun(arguments)
            #expect(run.status == 2, "\(arguments)")
            #expect(run.output.isEmpty && !run.error.isEmpty)
        }
    }

    @Test func `settings come from file, environment and flags, and mistakes are one line`() throws
    {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("es-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appendingPathComponent("c.json5").path
        func run(_ text: String, _ environment: [String: String] = [:], _ flags: [String] = [])
            throws -> ToolRun
        {
            try text.write(toFile: file, atomically: true, encoding: .utf8)
            return try ToolRun(["serve", "--config", file] + flags, environment: environment)
        }
        for (text, mention) in [
            (
                "{ listn: '127.0.0.1:0' }",
                "listn in \(file): there is no such setting; the nearest is listen"
            ),
            (
                "{ heartbeat: 15 }",
                "heartbeat in \(file): \"15\" is not allowed; allowed is a duration"
            ),
            (
                "{ max_connections: 0 }",
                "max_connections in \(file): \"0\" is not allowed; allowed is a number from 1"
            ),
            (
                "{ listen: { host: 'x' } }",
                "listen in \(file): an object is not allowed; allowed is"
            ),
            ("{ listen: ", "\(file): not JSON5: line 1, column 11: a value is missing"),
            (
                "// a comment\n{ drain: 15s }",
                "\(file): not JSON5: line 2, column 10: this is no number"
            ),
            ("[]", "\(file): not JSON5: line 1, column 1"), ("", "\(file): not JSON5"),
        ] {
            let result = try run(text)
            #expect(result.status == 1, "\(text)")
            #expect(result.error.contains(mention), "\(text): \(result.error)")
            #expect(result.error.split(separator: "\n").count == 1)
        }
        #expect(
            try ToolRun(["serve", "--config", "/does/not/exist"]).error.contains("/does/not/exist"))
        let variable = try run("{}", ["EVENT_SERVICE_DRAIN": "soon"])
        #expect(variable.status == 1)
        #expect(variable.error.contains("EVENT_SERVICE_DRAIN: \"soon\" is not allowed"))
        // JSON5, and that the flag wins: an address on which nobody can listen says which one it was.
        let text =
            "// a comment\n{ listen: '203.0.113.1:1', auth: \"none\", allow_insecure: true, drain: 0, }"
        #expect(try run(text).error.contains("203.0.113.1:1"))
        #expect(
            try run(text, ["EVENT_SERVICE_LISTEN": "203.0.113.1:2"]).error.contains("203.0.113.1:2")
        )
        let flag = try run(
            text, ["EVENT_SERVICE_LISTEN": "203.0.113.1:2"], ["--listen", "203.0.113.1:3"])
        #expect(flag.error.contains("203.0.113.1:3"))
        #expect(flag.status == 1)
    }

    @Test(arguments: [
        "postgresql://a:s3c@r3t@127.0.0.1/x", "postgresql://127.0.0.1/x?nonsense=s3c@r3t",
        "host=127.0.0.1 password=s3c@r3t or so",
    ])
    func `a database_url that nobody can read stops the start`(url: String) throws {
        let run = try ToolRun([
            "serve", "--auth", "none", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0",
            "--database-url", url,
        ])
        #expect(run.status == 1)
        #expect(run.error.hasPrefix("event-service serve: database_url cannot be read"))
        #expect(run.error.split(separator: "\n").count == 1)
        #expect(!run.error.contains("s3c") && !run.error.contains("r3t"))
    }

    @Test func `without tokens it listens on loopback only`() throws {
        for (listen, opsListen) in [("0.0.0.0:0", "127.0.0.1:0"), ("127.0.0.1:0", "0.0.0.0:0")] {
            let run = try ToolRun([
                "serve", "--auth", "none", "--listen", listen, "--ops-listen", opsListen,
            ])
            #expect(run.status == 1)
            #expect(run.error.contains("who reaches 0.0.0.0:0"))
            #expect(run.error.contains("allow_insecure"))
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `an address in use is said in one line`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let run = try ToolRun([
                "serve", "--auth", "none", "--listen", "127.0.0.1:\(service.port)",
            ])
            #expect(run.status == 1)
            #expect(run.error.contains("127.0.0.1:\(service.port)"))
            #expect(run.error.contains("listen"))
        }
    }

    @Test func `unknown variables only warn`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let variables = [
                "EVENT_SERVICE_PORT": "tcp://10.0.0.1:8080",
                "EVENT_SERVICE_SERVICE_HOST": "10.0.0.1",
            ]
            let service = try ServiceProcess(database: database.url, environment: variables)
            #expect(service.log.contains("EVENT_SERVICE_PORT is no setting; the nearest is"))
        }
    }

    @Test func `a token is signed, and its secret is not shown`() throws {
        let secret = "0123456789abcdef0123456789abcdef"
        let run = try ToolRun(
            [
                "token", "--user", "u\"1", "--session", "s", "--context", "a,b", "--context", "c*",
                "--events", "task.*",
                "--publish-audience", "user:1", "--scope", "events:read,events:publish", "--ttl",
                "5m",
            ],
            environment: ["EVENT_SERVICE_JWT_SECRET": secret])
        #expect(run.status == 0)
        let parts = run.output.split(separator: ".").map(String.init)
        #expect(parts.count == 3)
        func decode(_ text: String) throws -> [String: Any] {
            var base64 = text.replacing("-", with: "+").replacing("_", with: "/")
            while base64.count % 4 != 0 { base64 += "=" }
            let data = try #require(Data(base64Encoded: base64))
            return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        }
        #expect(try decode(parts[0])["alg"] as? String == "HS256")
        let claims = try decode(parts[1])
        #expect(claims["sub"] as? String == "u\"1")
        #expect(claims["contexts"] as? [String] == ["a", "b", "c*"])
        #expect(claims["publish_audiences"] as? [String] == ["user:1"])
        #expect(claims["scope"] as? String == "events:read events:publish")
        #expect((claims["exp"] as? Int ?? 0) - (claims["iat"] as? Int ?? 0) == 300)
        let short = try ToolRun(["token"], environment: ["EVENT_SERVICE_JWT_SECRET": "hunter2"])
        #expect(short.status == 1)
        #expect(!short.error.contains("hunter2"))
        #expect(try ToolRun(["token"]).status == 2)
    }

    @Test(.timeLimit(.minutes(1)))
    func `tail prints events, and goes on after an interruption`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url, ["--stream-lifetime", "1s"])
            let output = FileManager.default.temporaryDirectory.path + "/tail-\(UUID())"
            let tail = try ChildProcess(
                ToolRun.executable.path,
                [
                    "tail", "--url", "http://127.0.0.1:\(service.port)", "--type", "task.*",
                    "--json",
                ],
                environment: ToolRun.cleanEnvironment, output: output, error: output + ".err")
            defer {
                tail.signal(SIGKILL)
                tail.wait()
                try? FileManager.default.removeItem(atPath: output)
            }
            try eventually("the stream is live") {
                try String(contentsOfFile: output + ".err", encoding: .utf8).contains("stream.live")
                    ? true : nil
            }
            var count = 0
            try eventually("events over several streams") {
                count += 1
                try database.run("INSERT INTO tasks (title) VALUES ('\(count)')")
                usleep(100_000)
                return service.log.ranges(of: "stream: opened").count > 3 ? true : nil
            }
            let lines = try eventually("all of them") { () -> [String]? in
                let lines = try String(contentsOfFile: output, encoding: .utf8).split(
                    separator: "\n"
                ).map(String.init)
                return lines.count >= count ? lines : nil
            }
            let ids = try lines.map { line in
                let object =
                    try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
                return object?["id"] as? String ?? ""
            }
            #expect(ids == (try database.ids()))
            #expect(
                try ToolRun([
                    "tail", "--url", "http://127.0.0.1:\(service.port)/", "--since", "nonsense",
                ]).status == 1)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `tail ends when nobody reads what it prints`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(database: database.url)
            let url = "http://127.0.0.1:\(service.port)"
            let pipeline = try ChildProcess(
                "/bin/bash",
                [
                    "-c",
                    "\(ToolRun.executable.path) tail --url \(url) --since earliest | head -n 1",
                ],
                environment: ToolRun.cleanEnvironment, output: "/dev/null", error: "/dev/null")
            try eventually("both have ended") {
                try database.run("INSERT INTO tasks (title) VALUES ('1')")
                usleep(100_000)
                return pipeline.isRunning ? nil : true
            }
        }
    }
}

@Suite struct Migrations {
    private static func copy() throws -> URL {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("es-\(UUID())")
        try FileManager.default.copyItem(
            at: Repository.root.appendingPathComponent("Migrations"), to: folder)
        return folder
    }

    @Test(.timeLimit(.minutes(1)))
    func `migrations are applied once, and an edited one is refused`() async throws {
        try await onOwnThread {
            let database = try TestDatabase(migrated: false)
            let folder = try Self.copy()
            defer { try? FileManager.default.removeItem(at: folder) }
            let arguments = [
                "migrate", "--database-url", database.url, "--migrations", folder.path,
            ]
            let first = try ToolRun(arguments)
            #expect(first.status == 0)
            let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
            #expect(first.output == names.map { "applied \($0)\n" }.joined())
            #expect(try ToolRun(arguments).output == "nothing to apply\n")
            #expect(
                try database.column("SELECT name FROM event_service.migrations ORDER BY 1") == names
            )
            #expect(
                try database.value(
                    "SELECT count(*) FROM event_service.migrations WHERE checksum IS NULL") == "0")
            #expect(
                names.filter { !$0.hasSuffix("_tasks.sql") } == Migration.required,
                "what /readyz waits for")

            let edited = folder.appendingPathComponent(names[1])
            try (String(contentsOf: edited, encoding: .utf8) + "-- edited\n").write(
                to: edited, atomically: true, encoding: .utf8)
            let refused = try ToolRun(arguments)
            #expect(refused.status == 1)
            #expect(refused.error.contains("\(names[1]) was edited after it was applied"))
            #expect(refused.error.split(separator: "\n").count == 1)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `files that psql applied are taken over`() async throws {
        try await onOwnThread {
            let database = try TestDatabase(migrated: false)
            let psql = try ToolRun(
                Repository.root.path + "/dev/apply-migrations", [],
                ToolRun.cleanEnvironment.merging(["DATABASE_URL": database.url]) { $1 })
            #expect(psql.status == 0, "\(psql.error)")
            #expect(
                try database.value(
                    "SELECT count(*) FROM event_service.migrations WHERE checksum IS NOT NULL")
                    == "0")
            let run = try ToolRun(["migrate", "--database-url", database.url])
            #expect(run.status == 0)
            #expect(run.output.contains("taken over 0001_event_log.sql"))
            #expect(run.output.contains("nothing to apply"))
            #expect(
                try database.value(
                    "SELECT count(*) FROM event_service.migrations WHERE checksum IS NULL") == "0")
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `the example is left out where it is not wanted, or its name is taken`() async throws {
        try await onOwnThread {
            let without = try TestDatabase(migrated: false)
            #expect(
                try ToolRun(["migrate", "--database-url", without.url, "--no-example"]).status == 0)
            #expect(try without.value("SELECT to_regclass('tasks') IS NULL") == "t")
            _ = try ServiceProcess(database: without.url)

            let taken = try TestDatabase(migrated: false)
            try taken.run("CREATE TABLE tasks (mine int)")
            let run = try ToolRun(["migrate", "--database-url", taken.url])
            #expect(run.status == 0)
            #expect(run.error.contains("tasks"))
            #expect(
                try taken.value("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'tasks'::regclass")
                    == "0")
            #expect(
                try taken.value(
                    "SELECT count(*) FROM pg_attribute WHERE attrelid = 'tasks'::regclass AND attnum > 0"
                ) == "1")
            _ = try ServiceProcess(database: taken.url)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a migration that fails changes nothing and is named`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let folder = try Self.copy()
            defer { try? FileManager.default.removeItem(at: folder) }
            try "BEGIN; CREATE TABLE half (a int); SELECT 1/0; COMMIT;".write(
                to: folder.appendingPathComponent("0099_bad.sql"), atomically: true, encoding: .utf8
            )
            let run = try ToolRun([
                "migrate", "--database-url", database.url, "--migrations", folder.path,
            ])
            #expect(run.status == 1)
            #expect(run.error.contains("0099_bad.sql") && run.error.contains("division by zero"))
            #expect(try database.value("SELECT to_regclass('half') IS NULL") == "t")
            #expect(
                try ToolRun(["migrate", "--database-url", database.url, "--migrations", "/nowhere"])
                    .status == 1)
            #expect(
                try ToolRun(["migrate", "--database-url", "postgresql://127.0.0.1:1/x"]).status == 1
            )
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `two that migrate at once do it one after the other`() async throws {
        try await onOwnThread {
            let database = try TestDatabase(migrated: false)
            let runs = (0..<4).map { _ in
                WriterThread {
                    let run = try ToolRun(["migrate", "--database-url", database.url])
                    guard run.status == 0 else { throw TestFailure(run.error) }
                }
            }
            for run in runs { try run.join() }
            _ = try ServiceProcess(database: database.url)
        }
    }
}
