import EventCore
import Foundation
import TestSupport
import Testing

@Suite struct Logs {
    /// The lines of a log of JSON: each is one object with a time, a level and a message.
    private static func entries(_ service: ServiceProcess) throws -> [[String: String]] {
        try service.log.split(separator: "\n").map { line in
            let entry = try #require(
                try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: String])
            #expect(entry["time"].flatMap { Timestamp(rfc3339: $0) } != nil)
            #expect(entry["level"].flatMap(LogLevel.init) != nil)
            #expect(entry["message"]?.contains(": ") == true)
            return entry
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `a request and its stream are told by their ids, from beginning to end`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(
                database: database.url, ["--log-format", "json", "--log-level", "debug"])
            do {
                let stream = try StreamClient(service.port, fields: ["X-Request-Id: mine.1"])
                try database.run("INSERT INTO tasks (title) VALUES ('a'), ('b')")
                _ = try stream.events(2)
            }
            #expect(
                try HTTPClient.get(service.port, "/nothing", fields: ["X-Request-Id: mine.2"])
                    .status == 404)
            let ended = try eventually("the end is told") {
                try Self.entries(service).first { $0["message"] == "stream: ended" }
            }
            let entries = try Self.entries(service)
            let opened = try #require(entries.first { $0["message"] == "stream: opened" })
            #expect(opened["request"] == "mine.1" && opened["level"] == "info")
            #expect(opened["address"] == "127.0.0.1" && opened["resumed"] == "fresh")
            #expect(ended["id"] == opened["id"] && ended["id"] != nil)
            #expect(ended["reason"] == "client" && ended["events"] == "2")
            #expect(ended["cursor"] == (try database.ids().last))
            #expect(ended["milliseconds"].flatMap { Int($0) } != nil)
            let answered = entries.filter { $0["message"] == "http: answered" }
            #expect(
                answered.first { $0["request"] == "mine.1" }?["route"] == "stream")
            let missing = try #require(answered.first { $0["request"] == "mine.2" })
            #expect(missing["status"] == "404" && missing["method"] == "GET")
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `what a peer says makes no line of its own, and no level below the chosen is written`()
        async throws
    {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try ServiceProcess(
                database: database.url, ["--trusted-proxies", "127.0.0.0/8"])
            do {
                _ = try StreamClient(
                    service.port, fields: ["X-Forwarded-For: 192.0.2.1", "X-Request-Id: a=\"b"])
            }
            let line = try eventually("the stream is told") {
                service.log.split(separator: "\n").first { $0.contains("stream: opened") }
            }
            #expect(line.contains(" address=192.0.2.1 ") && !line.contains("a=\"b"))
            for line in service.log.split(separator: "\n") {
                let words = line.split(separator: " ", maxSplits: 2)
                #expect(words.count == 3 && Timestamp(rfc3339: String(words[0])) != nil, "\(line)")
                #expect(["info", "warning", "error"].contains(words[1]), "\(line)")
            }
        }
    }
}
