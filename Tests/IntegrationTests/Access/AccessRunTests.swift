import EventCore
import Foundation
import TestSupport
import Testing

@testable import EventService

@Suite struct `Access under way` {
    /// Rows move between the audiences of 200 users at random, on two nodes; what each user gets – live, in
    /// history from the log, and event by event – is compared with a model that knows nothing of the
    /// service.
    ///
    /// `ACCESS_EVENTS=100000 ACCESS_SEED=n` sets its length and seed.
    @Test(.timeLimit(.minutes(20)))
    func `each user sees what the model says, and nothing else`() async throws {
        let environment = ProcessInfo.processInfo.environment
        let length = environment["ACCESS_EVENTS"].flatMap { Int($0) } ?? 3000
        let seed =
            environment["ACCESS_SEED"].flatMap { UInt64($0) } ?? UInt64.random(in: 0..<1_000_000)
        print("access run: \(length) events, seed \(seed)")
        try await onOwnThread {
            let database = try TestDatabase()
            try database.run(AccessModel.schema)
            let nodes = [
                try Issuer.service(database),
                try Issuer.service(
                    database, ["--ring-bytes", "0", "--max-backlog-bytes", "64KiB"]),
            ]
            var model = AccessModel(seed: seed)
            let tokens = (0..<AccessModel.users).map {
                Issuer.bearer(
                    Issuer.token(
                        model.claims($0).merging(["exp": Issuer.now() + 7200]) { $1 }))
            }
            let readers = try Self.open(model, tokens, nodes)
            let reading = WriterThread {
                var lastProgress = Date()
                while !readers.allSatisfy(\.isDone) {
                    for reader in readers where try !reader.isDone && reader.read() {
                        lastProgress = Date()
                    }
                    guard lastProgress.timeIntervalSinceNow > -60 else {
                        throw TestFailure("nothing comes, and streams have not ended")
                    }
                    usleep(1000)
                }
            }
            let writer = try database.connect()
            while model.changes.count < length {
                try writer.runScript("write", model.transaction(statements: 40))
            }
            let everybody = Set(model.narrowed.map(\.context) + ["*"])
            try writer.runScript("end", model.publish("end", everybody))
            try reading.join()

            var deliveries = 0
            for reader in readers {
                let expected = model.changes.compactMap { $0.seen(by: reader.holder) }
                deliveries += expected.count
                #expect(
                    reader.lines == expected,
                    "\(reader.name): \(Self.difference(reader.lines, expected))")
                #expect(!reader.hasForeignSecret, "\(reader.name) got what belongs to another row")
            }
            try Self.compareHistory(model, tokens, nodes)
            let singles = try Self.compareSingles(database, model, tokens, nodes[0])
            print(
                "access run: \(model.changes.count) changes, \(deliveries) deliveries, \(singles) single events"
            )
        }
    }

    private static func open(
        _ model: AccessModel, _ tokens: [[String]], _ nodes: [ServiceProcess]
    ) throws -> [RunReader] {
        let whole = try model.holders.enumerated().map { user, holder in
            try RunReader("user \(user)", holder, nodes[user % 2].port, "", tokens[user])
        }
        let narrow = try model.narrowed.map { user, context in
            try RunReader(
                "user \(user) in \(context)", AccessModel.Holder(labels: [context]),
                nodes[(user + 1) % 2].port, "context=\(context.dropFirst(8))", tokens[user])
        }
        return whole + narrow
    }

    private static func compareHistory(
        _ model: AccessModel, _ tokens: [[String]], _ nodes: [ServiceProcess]
    ) throws {
        for (user, holder) in model.holders.enumerated() {
            var lines: [String] = []
            var since = "earliest"
            while true {
                let page = try HTTPClient.get(
                    nodes[1 - user % 2].port, "/api/v1/events/history?since=\(since)&limit=1000",
                    fields: tokens[user])
                let json = page.json
                for event in json["events"] as? [[String: Any]] ?? [] {
                    lines.append(RunReader.line(event))
                }
                since = json["next"] as? String ?? ""
                guard json["has_more"] as? Bool == true else { break }
            }
            let expected = model.changes.compactMap { $0.seen(by: holder) }
            #expect(lines == expected, "history of user \(user): \(difference(lines, expected))")
        }
    }

    /// Each of some events for each of some users: there, or not there.
    private static func compareSingles(
        _ database: TestDatabase, _ model: AccessModel, _ tokens: [[String]], _ node: ServiceProcess
    ) throws -> Int {
        let events = model.changes.flatMap { change in
            change.operations.map { (change: change, operation: $0) }
        }
        let ids = try database.ids()
        guard ids.count == events.count else {
            throw TestFailure("the log has \(ids.count) events, the model \(events.count)")
        }
        var count = 0
        for index in stride(from: 0, to: ids.count, by: max(1, ids.count / 400)) {
            for user in stride(from: index % 50, to: AccessModel.users, by: 50) {
                let answer = try HTTPClient.get(
                    node.port, "/api/v1/events/\(ids[index])", fields: tokens[user])
                // Of the events of one change a user gets one at most.
                let line = events[index].change.seen(by: model.holders[user])
                let isSeen = line?.contains(" \(events[index].operation) ") ?? false
                let got = answer.status == 200 ? RunReader.line(answer.json) : nil
                #expect(
                    got == (isSeen ? line : nil), "\(ids[index]) for user \(user): \(answer.text)")
                count += 1
            }
        }
        return count
    }

    private static func difference(_ lines: [String], _ expected: [String]) -> String {
        let index = zip(lines, expected).enumerated().first { $0.element.0 != $0.element.1 }?.offset
        let place = index ?? min(lines.count, expected.count)
        return
            "\(lines.count) of \(expected.count), from \(place): \(lines.dropFirst(place).prefix(3))"
            + " instead of \(expected.dropFirst(place).prefix(3))"
    }
}

/// One stream of the run.
///
/// `@unchecked Sendable`: one thread reads, and is joined before anybody looks.
private final class RunReader: @unchecked Sendable {
    let name: String
    let holder: AccessModel.Holder
    private let stream: StreamClient
    private(set) var lines: [String] = []
    private(set) var isDone = false
    private(set) var hasForeignSecret = false

    init(
        _ name: String, _ holder: AccessModel.Holder, _ port: UInt16, _ query: String,
        _ fields: [String]
    ) throws {
        self.name = name
        self.holder = holder
        stream = try StreamClient(port, query, fields: fields)
        guard stream.answer.status == 200 else { throw TestFailure(stream.answer.text) }
    }

    /// Takes what has come; false if that is nothing.
    func read() throws -> Bool {
        guard stream.readWaiting() else { return false }
        for message in stream.takeWaiting() {
            guard message.type != "stream.end" else { throw TestFailure("\(name) has ended") }
            guard !message.type.hasPrefix("stream.") else { continue }
            let line = Self.line(message.json)
            lines.append(line)
            isDone = isDone || line == "run end publish >"
            check(message.json, line)
        }
        return true
    }

    /// What a row says of itself must be of the very version that the line names.
    private func check(_ event: [String: Any], _ line: String) {
        let key = line.split(separator: " ").prefix(2).joined(separator: " ")
        for image in ["old", "new"] {
            guard let row = event[image] as? [String: Any] else { continue }
            let version = row["version"] as? Int ?? 0
            if row["secret"] as? String != "secret of \(key) \(version)" { hasForeignSecret = true }
        }
    }

    /// An event as one line: table and key, operation, the versions of its images.
    static func line(_ event: [String: Any]) -> String {
        let version: (String) -> String = { image in
            (event[image] as? [String: Any])?["version"].map { "\($0)" } ?? ""
        }
        let (topic, key) = (event["topic"] as? String ?? "", event["key"] as? String ?? "")
        return "\(topic) \(key) \(event["op"] ?? "") \(version("old"))>\(version("new"))"
    }
}
