import EventCore
import Testing

@Suite struct `Query strings` {
    @Test func `values are decoded as forms are`() throws {
        let query = try #require(QueryString("a=1&b=x%20y+z&a=2&c&%C3%A4=%E2%82%AC&&"))
        #expect(query.values(of: "a") == ["1", "2"])
        #expect(query.values(of: "b") == ["x y z"])
        #expect(query.values(of: "c") == [""])
        #expect(query.values(of: "ä") == ["€"])
        #expect(query.values(of: "d") == [])
    }

    @Test func `lists are repeated or separated by commas`() throws {
        let query = try #require(QueryString("t=a,b&t=c&t=,d%2Ce"))
        #expect(query.list(of: "t") == ["a", "b", "c", "d", "e"])
    }

    @Test(arguments: ["a=%", "a=%4", "a=%xx", "%=1", "a=%ff", "a=%C3"])
    func `what is not percent-encoded UTF-8 is refused`(_ query: String) {
        #expect(QueryString(query) == nil)
    }

    @Test(arguments: ["", "plain", "a b&c=d%€", "+", "\u{0}"])
    func `what is encoded is decoded to itself`(_ text: String) throws {
        let query = try #require(QueryString("a=" + QueryString.encode(text)))
        #expect(query.values(of: "a") == [text])
    }
}

@Suite struct `Content negotiation` {
    @Test(
        arguments: [
            (nil, true), ("", true), ("*/*", true), ("text/*", true), ("text/event-stream", true),
            ("TEXT/Event-Stream;charset=utf-8", true), ("application/json", false),
            ("application/json, */*;q=0.1", true), ("text/event-stream;q=0, */*", false),
            ("text/*;q=0, text/event-stream", true), ("text/html;q=1, text/*; q=0.0", false),
            ("nonsense", false),
        ] as [(String?, Bool)])
    func `the most specific range decides`(accept: String?, accepted: Bool) throws {
        var parser = HTTPRequestParser(limits: .init(headBytes: 1000, bodyBytes: 0))
        let line = accept.map { "Accept: \($0)\r\n" } ?? ""
        parser.append(Array("GET / HTTP/1.1\r\nHost: a\r\n\(line)\r\n".utf8))
        let request = try #require(try parser.next())
        #expect(ContentNegotiation.accepts("text/event-stream", request) == accepted)
    }
}

@Suite struct Routes {
    @Test(arguments: [
        ("/api/v1/events/stream", Route.stream), ("/api/v1/events/history", .history),
        ("/api/v1/events", .publish), ("/api/v1/events/1-2", .event(id: "1-2")),
        ("/api/v1/events/", .event(id: "")), ("/livez", .live), ("/readyz", .ready),
        ("/", .file("")), ("/client/index.js", .file("client/index.js")),
        ("/../etc/passwd", .file("../etc/passwd")), ("//livez", .file("/livez")),
        ("/Livez", .file("Livez")),
    ])
    func `a path leads to one place`(path: String, route: Route) {
        #expect(Route(path: path) == route)
    }

    @Test(arguments: [
        ("localhost", "localhost"), ("localhost:80", "localhost"), ("127.0.0.1:1", "127.0.0.1"),
        ("[::1]:8080", "::1"), ("[::1]", "::1"), ("", ""), ("[", "["),
    ])
    func `a host loses its port`(host: String, name: String) {
        #expect(HostName.withoutPort(host) == name)
    }
}

@Suite struct Problems {
    @Test func `a problem is a document of RFC 9457`() {
        let problem = Problem(403, "context-not-granted", "No \"b\".\n")
        #expect(
            String(decoding: problem.json(requestID: "r1"), as: UTF8.self) == #"""
                {"type":"urn:event-service:problem:context-not-granted","title":"Forbidden","status":403,"detail":"No \"b\".\n","request_id":"r1"}
                """#)
    }
}

@Suite struct `Items to publish` {
    private static func item(
        type: String = "a.b", audience: [String] = ["*"], dedup: String? = nil,
        trace: String? = nil
    ) throws(Problem) -> PublishItem {
        try PublishItem(
            index: 3, type: type, audience: audience, key: "k", deduplicationKey: dedup,
            traceParent: trace)
    }

    @Test func `a good item becomes an envelope without data`() throws {
        var bytes: [UInt8] = []
        try Self.item(audience: ["user:1", "context:\"x\""], dedup: "d").appendEnvelope(to: &bytes)
        #expect(
            String(decoding: bytes, as: UTF8.self) == #"""
                {"type":"a.b","audience":["user:1","context:\"x\""],"key":"k","dedup_key":"d"}
                """#)
    }

    @Test func `a trace goes into the envelope, and what is none is refused by its index`() throws {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        var bytes: [UInt8] = []
        try Self.item(trace: trace).appendEnvelope(to: &bytes)
        #expect(
            String(decoding: bytes, as: UTF8.self) == #"""
                {"type":"a.b","audience":["*"],"key":"k","traceparent":"\#(trace)"}
                """#)
        let problem = #expect(throws: Problem.self) { try Self.item(trace: "00-0-0-00") }
        #expect(problem?.status == 400)
        #expect(problem?.detail.hasPrefix("item 3: \"00-0-0-00\" is not a traceparent") == true)
    }

    @Test(arguments: [
        "", "a", "a.", ".a", "a..b", "a b.c", "ä.b", "stream.open", "event_service.x",
        String(repeating: "a", count: 127) + ".b",
    ])
    func `a bad type is refused by its index`(_ type: String) {
        let problem = #expect(throws: Problem.self) { try Self.item(type: type) }
        #expect(problem?.status == 400)
        #expect(problem?.detail.hasPrefix("item 3: ") == true)
    }

    @Test(arguments: [
        [], [""], ["user:"], ["everyone"], ["*", "group:1"],
        ["user:" + String(repeating: "x", count: 1020)],
    ])
    func `a bad audience is refused by its index`(_ audience: [String]) {
        let problem = #expect(throws: Problem.self) { try Self.item(audience: audience) }
        #expect(problem?.detail.hasPrefix("item 3: ") == true)
    }
}
