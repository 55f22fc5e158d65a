import EventCore
import Foundation
import TestSupport
import Testing

@Suite struct `OpenAPI document` {
    private static func document(_ name: String) throws -> [String: Any] {
        let text = try Repository.text("Schemas/\(name).json")
        return try #require(
            try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    @Test func `its paths and methods are those that are routed, both ways`() throws {
        let paths = try #require(
            try Self.document("documents/openapi")["paths"] as? [String: [String: Any]])
        var documented: [String: Set<String>] = [:]
        for (path, operations) in paths {
            let route = Route(path: path.replacing("{id}", with: "1-1"))
            documented[route.name] = Set(operations.keys.map { $0.uppercased() })
            #expect(
                Set(operations.keys.map { $0.uppercased() }).isSubset(of: route.methods), "\(path)")
        }
        // Of the public listener; files are no part of the interface.
        let routes: [Route] = [.stream, .history, .event(id: ""), .publish, .ticket, .live, .ready]
        #expect(Set(documented.keys) == Set(routes.map(\.name)))
        for route in routes {
            #expect(
                documented[route.name] == Set(route.methods).subtracting(["HEAD", "OPTIONS"]),
                "\(route.name)")
        }
    }

    @Test func `the guide has a section for each path and method, and for no other`() throws {
        let paths = try #require(
            try Self.document("documents/openapi")["paths"] as? [String: [String: Any]])
        let documented = Set(
            paths.flatMap { path, operations in
                operations.keys.map {
                    "\($0.uppercased()) \(path.replacing("{id}", with: "ID"))"
                }
            })
        let headings = try Repository.text("docs/http.md").split(separator: "\n")
            .filter { $0.hasPrefix("## GET ") || $0.hasPrefix("## POST ") }
        let sections = headings.flatMap { heading in
            let words = heading.dropFirst("## ".count).split(separator: " ", maxSplits: 1)
            return words[1].split(separator: ", ").map { "\(words[0]) \($0)" }
        }
        #expect(
            Set(sections).symmetricDifference(documented)
                == ["GET /openapi.json", "GET /asyncapi.json"])
    }

    @Test func `its bounds and choices are those of the code`() throws {
        let document = try Self.document("documents/openapi")
        func value(_ path: String...) -> Any? {
            path.reduce(document as Any?) { ($0 as? [String: Any])?[$1] }
        }
        let gap = value("components", "parameters", "gap", "schema", "enum") as? [String]
        #expect(gap?.compactMap(GapPolicy.init) == [.head, .earliest])
        let parameters =
            value("paths", "/api/v1/events/history", "get", "parameters") as? [[String: Any]] ?? []
        let maxima = parameters.compactMap { parameter -> (String, Int)? in
            guard let name = parameter["name"] as? String,
                let maximum = (parameter["schema"] as? [String: Any])?["maximum"] as? Int
            else { return nil }
            return (name, maximum)
        }
        #expect(maxima.first { $0.0 == "limit" }?.1 == HistoryParameters.maximumLimit)
        #expect(
            maxima.first { $0.0 == "wait" }?.1
                == Int(HistoryParameters.maximumWait.components.seconds))
    }

    @Test func `the schemas name every reason that there is`() throws {
        func reasons(_ name: String) throws -> Set<String> {
            let properties = try #require(
                try Self.document(name)["properties"] as? [String: [String: Any]])
            let member = try #require(properties["reason"] ?? properties["reasons"])
            let choices = member["enum"] ?? (member["items"] as? [String: Any])?["enum"]
            return Set(try #require(choices as? [String]))
        }
        #expect(try reasons("stream.end") == Set(DisconnectReason.allCases.map(\.rawValue)))
        #expect(try reasons("stream.reset") == Set(ResetReason.allCases.map(\.rawValue)))
        #expect(try reasons("stream.health") == Set(UnreadyReason.allCases.map(\.rawValue)))
    }
}
