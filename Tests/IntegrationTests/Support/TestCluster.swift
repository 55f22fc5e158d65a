import Foundation
import TestSupport

@testable import EventService

/// A PostgreSQL server of its own, for tests that stop it, or copy it.
final class TestCluster: DatabaseClient {
    /// What a cluster is made as.
    enum Origin {
        /// An empty one.
        case new
        /// One with the files that another has now.
        case copy(of: TestCluster)
        /// One that follows another.
        case standby(of: TestCluster)
    }

    private let folder: URL
    /// The environment in which the server runs.
    private let environment: [String: String]
    /// The URL of the database `postgres`, the same after every start.
    let url: String

    /// Creates and starts a cluster.
    ///
    /// - Parameter clock: an offset of the server's clock, as libfaketime takes it: `-30m`.
    init(_ origin: Origin = .new, clock: String? = nil) throws {
        folder = TestServer.newFolder()
        environment = clock.map(FakeTime.environment) ?? [:]
        switch origin {
        case .new: break
        case .copy(let other): try TestServer.tool("postgres", ["copy", folder.path, other.url])
        case .standby(let other):
            try TestServer.tool("postgres", ["copy", folder.path, other.url, "standby"])
        }
        url = try TestServer.tool("postgres", ["start", folder.path], environment)
    }

    deinit {
        _ = try? TestServer.tool("postgres", ["destroy", folder.path])
    }

    var port: String {
        url.split(separator: ":").last?.split(separator: "/").first.map(String.init) ?? ""
    }

    /// The URL of some clusters, of which that one is used which takes writes.
    static func url(of clusters: TestCluster...) -> String {
        let hosts = clusters.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
        return "postgresql://postgres@\(hosts)/postgres"
    }

    /// Starts it again, perhaps with another clock.
    func start(clock: String? = nil) throws {
        let environment = clock.map(FakeTime.environment) ?? environment
        let now = try TestServer.tool("postgres", ["start", folder.path], environment)
        guard now == url else { throw TestFailure("the port was taken meanwhile") }
    }

    func stop(_ mode: String = "fast") throws {
        try TestServer.tool("postgres", ["stop", folder.path, mode])
    }

    /// Makes a standby a primary.
    func promote() throws {
        try TestServer.tool("postgres", ["promote", folder.path])
    }

    /// Has a standby receive no more, and waits until it has replayed what it has.
    func cutReplication() throws {
        try run("ALTER SYSTEM SET primary_conninfo = ''")
        try run("SELECT pg_reload_conf()")
        try eventually("nothing is received any more") {
            try value("SELECT count(*) FROM pg_stat_wal_receiver") == "0" ? true : nil
        }
    }

    /// Waits until a standby has all that is committed here.
    func waitForReplay(by standby: TestCluster) throws {
        let end = try value("SELECT pg_current_wal_flush_lsn()")
        try eventually("the standby has all") {
            try standby.value("SELECT pg_last_wal_replay_lsn() >= '\(end)'::pg_lsn") == "t"
                ? true : nil
        }
    }

    /// Puts the files of another cluster, which is stopped, in the place of its own.
    func replaceFiles(with other: TestCluster) throws {
        let (mine, theirs) = (
            folder.appendingPathComponent("data"), other.folder.appendingPathComponent("data")
        )
        try FileManager.default.removeItem(at: mine)
        try FileManager.default.moveItem(at: theirs, to: mine)
    }

    /// Restores a dump of everything here into another cluster, with the roles.
    func dump(into other: TestCluster) throws {
        let file = folder.path + ".sql"
        defer { try? FileManager.default.removeItem(atPath: file) }
        for (tool, arguments) in [("pg_dumpall", ["--roles-only"]), ("pg_dump", [])] {
            try Tool.run(tool, arguments + ["-f", file, "-d", url])
            // The role postgres is there already.
            let stop = tool == "pg_dump" ? ["-v", "ON_ERROR_STOP=1"] : []
            try Tool.run("psql", ["-X", "-q"] + stop + ["-o", "/dev/null", "-f", file, other.url])
        }
    }

    /// The processes of the server, the first of them the one that the others come from.
    private func processes() throws -> [Int32] {
        let file = folder.appendingPathComponent("data/postmaster.pid")
        let text = try String(contentsOf: file, encoding: .utf8)
        guard let first = text.split(separator: "\n").first.flatMap({ Int32($0) }) else {
            throw TestFailure("no process in \(file.path)")
        }
        let children = try String(
            contentsOfFile: "/proc/\(first)/task/\(first)/children", encoding: .utf8)
        return [first] + children.split(separator: " ").compactMap { Int32($0) }
    }

    /// Has the server accept connections and never answer them; those that stand are served.
    func freeze() throws {
        kill(try processes()[0], SIGSTOP)
    }

    /// Has all of the server hang, as a machine does whose disk no longer answers.
    func freezeAll() throws {
        for id in try processes() { kill(id, SIGSTOP) }
    }

    /// Has a server go on that hung.
    func thaw() throws {
        for id in try processes() { kill(id, SIGCONT) }
    }

    /// Ends a server that hangs.
    func killFrozen() throws {
        for id in try processes() { kill(id, SIGKILL) }
    }
}

/// The programs that come with PostgreSQL.
enum Tool {
    static func run(_ name: String, _ arguments: [String]) throws {
        let run = try ToolRun(
            "/usr/bin/env", [name] + arguments, ProcessInfo.processInfo.environment)
        guard run.status == 0 else { throw TestFailure("\(name): \(run.error)") }
    }
}

/// Another clock for a program: Debian's libfaketime.
enum FakeTime {
    /// The environment of a program whose clock is off by so much: `-30m`, `+1h`.
    static func environment(_ offset: String) -> [String: String] {
        let libraries = "/usr/lib"
        let folders = (try? FileManager.default.contentsOfDirectory(atPath: libraries)) ?? []
        let library = folders.map { "\(libraries)/\($0)/faketime/libfaketime.so.1" }
            .first { FileManager.default.fileExists(atPath: $0) }
        return [
            "LD_PRELOAD": library ?? "libfaketime is not installed", "FAKETIME": offset,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        ]
    }
}

/// A PgBouncer before a server.
final class TestPooler: DatabaseClient {
    private let folder: URL
    let url: String

    init(before server: any DatabaseClient, mode: String) throws {
        folder = TestServer.newFolder()
        url = try TestServer.tool("pgbouncer", ["start", folder.path, server.url, mode])
    }

    deinit {
        _ = try? TestServer.tool("pgbouncer", ["destroy", folder.path])
    }
}

/// The scripts in `dev/` that start servers.
private enum TestServer {
    static func newFolder() -> URL {
        FileManager.default.temporaryDirectory.appendingPathComponent("es-\(UUID().uuidString)")
    }

    /// Runs a script and returns what it prints.
    @discardableResult
    static func tool(
        _ name: String, _ arguments: [String], _ environment: [String: String] = [:]
    ) throws -> String {
        let run = try ToolRun(
            Repository.root.path + "/dev/" + name, arguments,
            ProcessInfo.processInfo.environment.merging(environment) { $1 })
        guard run.status == 0 else { throw TestFailure("dev/\(name) \(arguments): \(run.error)") }
        return run.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
