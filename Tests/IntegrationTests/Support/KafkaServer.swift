import Foundation
import TestSupport

/// A Kafka broker of its own, which keeps what it was given on disk.
///
/// It does not miss members of a group that were killed: one with a `group.instance.id` gets its
/// partitions back when it comes again, others are waited for for ever.
final class KafkaServer: KafkaBrokers, @unchecked Sendable {
    let port: UInt16
    private let folder: URL
    /// `@unchecked Sendable`: one test thread at a time starts and stops it.
    private var process: ChildProcess?

    init() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "es-kafka-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        port = try FreePort.find()
        try start()
    }

    deinit {
        stop()
        try? FileManager.default.removeItem(at: folder)
    }

    /// Where it is, as a setting.
    var brokers: String { "127.0.0.1:\(port)" }

    func start() throws {
        process = try ChildProcess(
            Self.executable(),
            [
                "start", "--only", "kafka", "--kafka-port", String(port), "--data-dir",
                folder.path + "/data",
            ], environment: ProcessInfo.processInfo.environment, output: folder.path + "/log",
            error: folder.path + "/log")
        try eventually("Kafka listens") {
            guard process?.isRunning == true else {
                throw TestFailure(try String(contentsOfFile: folder.path + "/log", encoding: .utf8))
            }
            return try? ClientSocket(port: port)
        }
    }

    /// Asks it to end, and waits until it has.
    func stop() {
        process?.signal(SIGTERM)
        process?.wait()
    }

    /// Not the script of that name, which would be left when it is killed.
    private static func executable() throws -> String {
        let folder = Repository.root.path + "/.local/python/lib"
        for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
            let path = "\(folder)/\(name)/site-packages/noida_db/noida-db"
            if FileManager.default.isExecutableFile(atPath: path) { return path }
        }
        throw TestFailure("noida-db is not there: dev/bootstrap test")
    }
}

/// A cluster of librdkafka's mock brokers, which miss members that were killed.
final class KafkaMockCluster: KafkaBrokers, @unchecked Sendable {
    let brokers: String
    /// `@unchecked Sendable`: one test thread at a time uses it.
    private let process: ChildProcess

    init(brokers count: Int, topic: String, partitions: Int) throws {
        let output = FileManager.default.temporaryDirectory.path + "/\(UUID()).out"
        defer { try? FileManager.default.removeItem(atPath: output) }
        let process = try ChildProcess(
            Repository.root.path + "/dev/kafka-mock", [String(count), topic, String(partitions)],
            environment: ProcessInfo.processInfo.environment, output: output, error: "/dev/null")
        self.process = process
        brokers = try eventually("the mock brokers listen") {
            let text = try String(contentsOfFile: output, encoding: .utf8)
            return text.hasSuffix("\n") ? String(text.dropLast()) : nil
        }
    }

    deinit {
        process.signal(SIGTERM)
        process.wait()
    }

    /// Takes down the broker that coordinates the group, or brings it up again.
    func setCoordinator(isUp: Bool) {
        process.signal(isUp ? SIGUSR2 : SIGUSR1)
    }
}

/// What others do to brokers, with a client that is not the service's.
protocol KafkaBrokers: Sendable {
    /// Where they are, as a setting.
    var brokers: String { get }
}

extension KafkaBrokers {
    func create(_ topic: String, partitions: Int) throws {
        try tool("create", topic, String(partitions))
    }

    func delete(_ topic: String) throws {
        try tool("delete", topic)
    }

    /// Writes messages, in their order; so many a second, or as fast as it goes.
    func produce(
        _ topic: String, rate: Int = 0, _ messages: [(key: String, value: String)]
    ) throws {
        let input = FileManager.default.temporaryDirectory.path + "/\(UUID()).in"
        try messages.map { "\($0.key)\t\($0.value)\n" }.joined()
            .write(toFile: input, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: input) }
        try tool("produce", topic, String(rate), "<", input)
    }

    /// Reads the first messages of a topic.
    func consume(_ topic: String, _ count: Int) throws -> [[String: Any]] {
        try tool("consume", topic, String(count)).split(separator: "\n").map {
            (try JSONSerialization.jsonObject(with: Data($0.utf8))) as? [String: Any] ?? [:]
        }
    }

    /// All messages of a topic, as far as they are there.
    func consumeAll(_ topic: String) throws -> [[String: Any]] {
        try consume(topic, 0)
    }

    @discardableResult
    private func tool(_ arguments: String...) throws -> String {
        let command = ([Repository.root.path + "/dev/kafka", brokers] + arguments)
            .joined(separator: " ")
        let run = try ToolRun("/bin/sh", ["-c", command], ProcessInfo.processInfo.environment)
        guard run.status == 0 else { throw TestFailure("\(command): \(run.error)") }
        return run.output
    }
}
