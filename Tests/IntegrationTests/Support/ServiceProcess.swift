import Foundation
import Synchronization
import TestSupport

/// Runs `event-service` to its end.
struct ToolRun {
    let status: Int32
    let output: String
    let error: String

    /// The executable under test.
    static let executable: URL = {
        let path =
            ProcessInfo.processInfo.environment["EVENT_SERVICE_BINARY"]
            ?? ".build/release/event-service"
        return path.hasPrefix("/")
            ? URL(fileURLWithPath: path) : Repository.root.appendingPathComponent(path)
    }()

    init(_ arguments: [String], environment: [String: String] = [:]) throws {
        self = try ToolRun(
            Self.executable.path, arguments, Self.cleanEnvironment.merging(environment) { $1 })
    }

    /// Runs any program to its end.
    init(_ executable: String, _ arguments: [String], _ environment: [String: String]) throws {
        let files = ["out", "err"].map {
            FileManager.default.temporaryDirectory.path + "/\(UUID()).\($0)"
        }
        defer { for file in files { try? FileManager.default.removeItem(atPath: file) } }
        let process = try ChildProcess(
            executable, arguments, environment: environment, output: files[0], error: files[1])
        status = process.wait()
        output = try String(contentsOfFile: files[0], encoding: .utf8)
        error = try String(contentsOfFile: files[1], encoding: .utf8)
    }

    /// The environment without anything that sets the service.
    static var cleanEnvironment: [String: String] {
        ProcessInfo.processInfo.environment.filter {
            !$0.key.hasPrefix("EVENT_SERVICE_") && $0.key != "DATABASE_URL"
        }
    }
}

/// A running `event-service serve`.
final class ServiceProcess: Sendable {
    private let process: ChildProcess
    private let logFile: String
    let port: UInt16
    let opsPort: UInt16

    /// Starts the service on free ports, by default without tokens.
    init(
        database: String, _ arguments: [String] = [], auth: String? = "none",
        environment: [String: String] = [:], descriptorLimit: Int? = nil,
        waitUntilReady: Bool = true
    ) throws {
        let limiter = descriptorLimit.map {
            ["/usr/bin/prlimit", "--nofile=\($0):\($0)"]
        }
        let logFile = FileManager.default.temporaryDirectory.path + "/event-service-\(UUID()).log"
        self.logFile = logFile
        let command = (limiter ?? []) + [ToolRun.executable.path]
        let process = try ChildProcess(
            command[0],
            Array(command.dropFirst()) + [
                "serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--database-url",
                database,
            ]
                + (auth.map { ["--auth", $0] } ?? []) + arguments,
            environment: ToolRun.cleanEnvironment.merging(environment) { $1 }, error: logFile)
        self.process = process
        let line = try eventually("the service listens") {
            guard process.isRunning else {
                throw TestFailure("ended: \(try String(contentsOfFile: logFile, encoding: .utf8))")
            }
            return try String(contentsOfFile: logFile, encoding: .utf8).split(separator: "\n")
                .first { $0.contains("service: listening") }.map(String.init)
        }
        port = try Self.port("address", in: line)
        opsPort = try Self.port("ops", in: line)
        if waitUntilReady {
            let port = port
            try eventually("the service is ready") {
                try HTTPClient.get(port, "/readyz").status == 200 ? true : nil
            }
        }
    }

    deinit {
        kill()
        try? FileManager.default.removeItem(atPath: logFile)
    }

    private static func port(_ name: String, in line: String) throws -> UInt16 {
        guard let range = line.range(of: "\(name)=") ?? line.range(of: "\"\(name)\":\""),
            let port = UInt16(
                line[range.upperBound...].prefix { $0 != " " && $0 != "\"" }
                    .split(separator: ":").last ?? "")
        else { throw TestFailure("no \(name) in \(line)") }
        return port
    }

    var id: Int32 { process.id }
    var isRunning: Bool { process.isRunning }
    var log: String { (try? String(contentsOfFile: logFile, encoding: .utf8)) ?? "" }

    /// Ends the process at once.
    func kill() {
        process.signal(SIGKILL)
        process.wait()
    }

    /// Asks the process to stop, and returns its exit status.
    func terminate() -> Int32 {
        process.signal(SIGTERM)
        return process.wait()
    }

    /// Sends a signal.
    func signal(_ number: Int32) {
        process.signal(number)
    }

    /// A line of /proc/PID/status, in kilobytes.
    func kilobytes(_ name: String) throws -> Int {
        let status = try String(contentsOfFile: "/proc/\(id)/status", encoding: .utf8)
        let line = status.split(separator: "\n").first { $0.hasPrefix(name + ":") }
        return line.flatMap { Int($0.split(whereSeparator: { !$0.isNumber }).first ?? "") } ?? 0
    }

    /// How many descriptors the process has open.
    func descriptorCount() throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/\(id)/fd").count
    }

    /// The processor time that the process has used, in hundredths of a second.
    func ticks() throws -> Int {
        let stat = try String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8)
        let fields = stat.split(separator: ")").last?.split(separator: " ") ?? []
        return (Int(fields[11]) ?? 0) + (Int(fields[12]) ?? 0)
    }
}

/// Asks until there is an answer, for at most a generous while.
@discardableResult
func eventually<Value>(
    _ what: String, within seconds: Double = 60, _ body: () throws -> Value?
) throws -> Value {
    let deadline = Date().addingTimeInterval(seconds)
    while Date() < deadline {
        if let value = try body() { return value }
        usleep(10_000)
    }
    throw TestFailure("not within \(seconds) s: \(what)")
}
