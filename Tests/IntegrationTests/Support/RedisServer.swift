import Foundation
import TestSupport

/// A Redis server of its own, which writes every command to disk before it answers.
final class RedisServer: @unchecked Sendable {
    let port: UInt16
    private let folder: URL
    private let arguments: [String]
    /// `@unchecked Sendable`: one test thread at a time uses it.
    private var process: ChildProcess?

    init(_ arguments: [String] = ["--appendonly", "yes", "--appendfsync", "always"]) throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "es-redis-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        port = try FreePort.find()
        self.arguments = arguments
        try start()
    }

    deinit {
        kill()
        try? FileManager.default.removeItem(at: folder)
    }

    /// Where it is, as a setting.
    var url: String { "redis://127.0.0.1:\(port)/0" }

    func start() throws {
        process = try ChildProcess(
            "/usr/bin/redis-server",
            [
                "--port", String(port), "--bind", "127.0.0.1", "--dir", folder.path, "--save", "",
            ] + arguments, environment: ProcessInfo.processInfo.environment,
            output: folder.path + "/log", error: folder.path + "/log")
        try eventually("Redis answers") {
            guard process?.isRunning == true else {
                throw TestFailure(try String(contentsOfFile: folder.path + "/log", encoding: .utf8))
            }
            return try? RedisClient(port: port).run("PING") == "PONG" ? true : nil
        }
    }

    /// `kill -9`.
    func kill() {
        process?.signal(SIGKILL)
        process?.wait()
    }

    /// Stops the process without ending it, as a machine does that hangs.
    func signal(_ number: Int32) {
        process?.signal(number)
    }
}

/// A connection to Redis that waits for its answers; written for tests, so that what the service's own
/// client does is seen by another.
final class RedisClient {
    private let socket: ClientSocket
    private var buffer: [UInt8] = []

    init(port: UInt16) throws {
        socket = try ClientSocket(port: port)
    }

    /// Runs a command; answers that are lists stand in brackets, nothing is `(nil)`.
    @discardableResult
    func run(_ arguments: String...) throws -> String {
        try run(arguments)
    }

    @discardableResult
    func run(_ arguments: [String]) throws -> String {
        try send(arguments)
        return try answer()
    }

    /// Sends a command without waiting for its answer.
    func send(_ arguments: [String]) throws {
        var text = "*\(arguments.count)\r\n"
        for argument in arguments { text += "$\(argument.utf8.count)\r\n\(argument)\r\n" }
        try socket.send(text)
    }

    /// The next answer.
    func answer() throws -> String {
        let line = try line()
        let rest = String(line.dropFirst())
        switch line.first {
        case "+", ":": return rest
        case "-": throw TestFailure(rest)
        case "$":
            guard let count = Int(rest), count >= 0 else { return "(nil)" }
            return String(decoding: try bytes(count + 2).dropLast(2), as: UTF8.self)
        case "*":
            guard let count = Int(rest), count >= 0 else { return "(nil)" }
            return "[" + (try (0..<count).map { _ in try answer() }).joined(separator: " ") + "]"
        default: throw TestFailure("Redis said \(line)")
        }
    }

    private func line() throws -> String {
        while true {
            if let end = buffer.firstRange(of: [13, 10]) {
                defer { buffer.removeSubrange(..<end.upperBound) }
                return String(decoding: buffer[..<end.lowerBound], as: UTF8.self)
            }
            try receive()
        }
    }

    private func bytes(_ count: Int) throws -> [UInt8] {
        while buffer.count < count { try receive() }
        defer { buffer.removeFirst(count) }
        return Array(buffer.prefix(count))
    }

    private func receive() throws {
        guard let more = socket.receive(), !more.isEmpty else {
            throw TestFailure("Redis is gone")
        }
        buffer += more
    }
}

/// Ports for servers that are told theirs.
enum FreePort {
    /// Below those that the kernel gives to clients.
    static func find() throws -> UInt16 {
        try eventually("there is a free port") {
            let port = UInt16.random(in: 10_000..<20_000)
            return (try? ClientSocket(port: port)) == nil ? port : nil
        }
    }
}
