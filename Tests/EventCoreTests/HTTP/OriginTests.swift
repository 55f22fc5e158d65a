import EventCore
import Testing

@Suite struct `Cross-origin rules` {
    private static func request(_ fields: [String], method: String = "OPTIONS") throws
        -> HTTPRequest
    {
        var parser = HTTPRequestParser(limits: .init(headBytes: 4000, bodyBytes: 0))
        let lines = fields.map { $0 + "\r\n" }.joined()
        parser.append(Array("\(method) / HTTP/1.1\r\nHost: a\r\n\(lines)\r\n".utf8))
        return try #require(try parser.next())
    }

    private static func value(_ name: String, _ fields: [HTTPField]) -> String? {
        fields.first { $0.name == name }?.value
    }

    private static let rules = CrossOriginRules(["https://app.example", "http://localhost:3000"])

    @Test(arguments: ["https://app.example", "http://localhost:3000"])
    func `an origin of the list may read`(_ origin: String) {
        let fields = Self.rules.fields(for: origin)
        #expect(Self.value("Access-Control-Allow-Origin", fields) == origin)
        #expect(
            Self.value("Access-Control-Expose-Headers", fields) == "Retry-After, X-Request-Id")
        #expect(Self.value("Vary", fields) == "Origin")
        #expect(!fields.contains { $0.name == "Access-Control-Allow-Credentials" })
    }

    @Test(arguments: [
        "null", "", "https://app.example/", "https://app.example:443", "https://app.example.evil",
        "http://app.example", "HTTPS://app.example", "https://APP.example", "https://evil.example",
        "https://app.example, https://evil.example", "http://localhost:30000", "*",
    ])
    func `no other origin may`(_ origin: String) {
        let fields = Self.rules.fields(for: origin)
        #expect(Self.value("Access-Control-Allow-Origin", fields) == nil)
        #expect(Self.value("Vary", fields) == "Origin")
    }

    @Test func `a star is every origin but null`() {
        let rules = CrossOriginRules(["*"])
        #expect(
            Self.value("Access-Control-Allow-Origin", rules.fields(for: "https://x.example")) == "*"
        )
        #expect(rules.fields(for: "null").isEmpty)
        #expect(rules.fields(for: nil).isEmpty)
        #expect(CrossOriginRules([]).fields(for: "https://x.example").isEmpty)
    }

    @Test func `a preflight is answered as the list says`() throws {
        let asked = try Self.request([
            "Origin: https://app.example", "Access-Control-Request-Method: GET",
            "Access-Control-Request-Headers: authorization,x-evil",
        ])
        let fields = Self.rules.preflightFields(asked, methods: ["GET", "OPTIONS"])
        #expect(Self.value("Access-Control-Allow-Methods", fields) == "GET, OPTIONS")
        #expect(
            Self.value("Access-Control-Allow-Headers", fields)
                == "authorization, last-event-id, content-type, traceparent")
        #expect(Self.value("Access-Control-Max-Age", fields) == "7200")
        for other in [
            ["Origin: https://evil.example", "Access-Control-Request-Method: GET"],
            ["Origin: null", "Access-Control-Request-Method: GET"],
            ["Origin: https://app.example"], ["Access-Control-Request-Method: GET"],
        ] {
            #expect(Self.rules.preflightFields(try Self.request(other), methods: ["GET"]).isEmpty)
        }
        let get = try Self.request(
            ["Origin: https://app.example", "Access-Control-Request-Method: GET"], method: "GET")
        #expect(Self.rules.preflightFields(get, methods: ["GET"]).isEmpty)
    }

    @Test(arguments: [
        "https://app.example", "http://a.b-c.example:8080", "http://127.0.0.1:1",
        "http://[::1]:3000",
        "https://xn--bcher-kva.example",
    ])
    func `an origin is what a browser writes`(_ text: String) {
        #expect(Origin(text)?.text == text)
    }

    @Test(arguments: [
        "", "null", "*", "https://", "app.example", "ftp://a", "https://a/", "https://a/b",
        "https://a?b",
        "https://a#b", "https://u@a", "https://A.example", "http://a:80", "https://a:443",
        "https://a:",
        "https://:1", "https://a b", "https://ä.example", "https://a\r\nX: y",
    ])
    func `anything else is no origin`(_ text: String) {
        #expect(Origin(text) == nil)
    }
}

@Suite struct Addresses {
    @Test(arguments: [
        ("1.2.3.4", "1.2.3.4"), ("255.255.255.255", "255.255.255.255"), ("::1", "0:0:0:0:0:0:0:1"),
        ("::", "0:0:0:0:0:0:0:0"), ("2001:DB8::8:800:200c:417a", "2001:db8:0:0:8:800:200c:417a"),
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"), ("::ffff:1.2.3.4", "1.2.3.4"),
        ("::ffff:102:304", "1.2.3.4"), ("fe80::1%eth0", "fe80:0:0:0:0:0:0:1"),
        ("64:ff9b::1.2.3.4", "64:ff9b:0:0:0:0:102:304"), ("1::8", "1:0:0:0:0:0:0:8"),
    ])
    func `addresses are read`(text: String, expected: String) {
        #expect(IPAddress(text)?.description == expected)
    }

    @Test(arguments: [
        "", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", "1.2.3.-4", "1.2.3.",
        "a.b.c.d",
        ":", ":::", "1:2", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::", "g::",
        "1:2:3:4:5:6:7::8",
        "::1.2.3", "1.2.3.4::", "1:2:3:4:5:6:7:1.2.3.4", "١.2.3.4", "0x1.2.3.4",
    ])
    func `anything else is none`(_ text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test(arguments: [
        ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.1", false),
        ("10.0.0.0/8", "::ffff:10.0.0.1", true), ("0.0.0.0/0", "9.9.9.9", true),
        ("0.0.0.0/0", "::1", false), ("127.0.0.1", "127.0.0.1", true),
        ("127.0.0.1", "127.0.0.2", false),
        ("fd00::/8", "fdff::1", true), ("fd00::/8", "fe80::1", false), ("::1", "::1", true),
        ("192.168.4.0/22", "192.168.7.9", true), ("192.168.4.0/22", "192.168.8.0", false),
    ])
    func `a network holds its addresses`(network: String, address: String, holds: Bool) throws {
        let network = try #require(IPNetwork(network))
        #expect(network.contains(try #require(IPAddress(address))) == holds)
    }

    @Test(arguments: [
        "", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8/8", "::/129",
        "fe80::1%eth0",
        "10.0.0.0/+8", "localhost",
    ])
    func `a slip of the pen is no network`(_ text: String) {
        #expect(IPNetwork(text) == nil)
    }

    @Test func `limits count a network of version 6 as one`() throws {
        let (a, b) = (
            try #require(IPAddress("2001:db8::1")), try #require(IPAddress("2001:db8::ffff:2"))
        )
        #expect(a != b && a.limitKey == b.limitKey)
        #expect(try #require(IPAddress("2001:db8:0:1::1")).limitKey != a.limitKey)
    }

    private static let trusted = ["10.0.0.0/8", "::1"].compactMap { IPNetwork($0) }

    @Test(
        arguments: [
            // Not a proxy of ours: nothing is believed.
            ("9.9.9.9", ["X-Forwarded-For: 1.2.3.4"], "9.9.9.9"),
            ("9.9.9.9", ["Forwarded: for=1.2.3.4"], "9.9.9.9"),
            ("10.0.0.1", [], "10.0.0.1"),
            ("10.0.0.1", ["X-Forwarded-For: 1.2.3.4"], "1.2.3.4"),
            ("::1", ["X-Forwarded-For: 1.2.3.4"], "1.2.3.4"),
            // What the client wrote stands in front, and is not reached.
            ("10.0.0.1", ["X-Forwarded-For: 6.6.6.6, 1.2.3.4"], "1.2.3.4"),
            (
                "10.0.0.1", ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 1.2.3.4, 10.0.0.2"],
                "1.2.3.4"
            ),
            ("10.0.0.1", ["X-Forwarded-For: 10.9.9.9, 1.2.3.4, 10.0.0.3, 10.0.0.2"], "1.2.3.4"),
            ("10.0.0.1", ["X-Forwarded-For: 10.0.0.9, 10.0.0.8"], "10.0.0.9"),
            ("10.0.0.1", ["X-Forwarded-For: 1.2.3.4:5678"], "1.2.3.4"),
            ("10.0.0.1", ["X-Forwarded-For: 2001:db8::1"], "2001:db8:0:0:0:0:0:1"),
            ("10.0.0.1", ["X-Forwarded-For: [2001:db8::1]:99"], "2001:db8:0:0:0:0:0:1"),
            // What is no address ends the walk at the last one that is believed.
            ("10.0.0.1", ["X-Forwarded-For: 1.2.3.4, nonsense"], "10.0.0.1"),
            ("10.0.0.1", ["X-Forwarded-For: nonsense, 10.0.0.7"], "10.0.0.7"),
            ("10.0.0.1", ["X-Forwarded-For: "], "10.0.0.1"),
            ("10.0.0.1", ["Forwarded: for=1.2.3.4;proto=https;by=10.0.0.1"], "1.2.3.4"),
            (
                "10.0.0.1", ["Forwarded: proto=https; For=\"[2001:db8::1]:4711\""],
                "2001:db8:0:0:0:0:0:1"
            ),
            ("10.0.0.1", ["Forwarded: for=6.6.6.6, for=1.2.3.4, for=10.0.0.2"], "1.2.3.4"),
            ("10.0.0.1", ["Forwarded: for=unknown"], "10.0.0.1"),
            ("10.0.0.1", ["Forwarded: for=1.2.3.4, for=_hidden"], "10.0.0.1"),
            ("10.0.0.1", ["Forwarded: proto=https"], "10.0.0.1"),
            // One of the two the client has sent; which, nobody knows.
            ("10.0.0.1", ["Forwarded: for=1.2.3.4", "X-Forwarded-For: 1.2.3.4"], "1.2.3.4"),
            ("10.0.0.1", ["Forwarded: for=6.6.6.6", "X-Forwarded-For: 1.2.3.4"], "10.0.0.1"),
            ("10.0.0.1", ["Forwarded: for=1.2.3.4", "X-Forwarded-For: 6.6.6.6"], "10.0.0.1"),
        ] as [(String, [String], String)])
    func `a client behind trusted proxies is found, and nobody else is believed`(
        peer: String, fields: [String], client: String
    ) throws {
        let request = try Self.request(fields)
        #expect(ForwardedAddress(trusted: Self.trusted).client(of: request, peer: peer) == client)
        #expect(ForwardedAddress(trusted: []).client(of: request, peer: peer) == peer)
    }

    private static func request(_ fields: [String]) throws -> HTTPRequest {
        var parser = HTTPRequestParser(limits: .init(headBytes: 4000, bodyBytes: 0))
        let lines = fields.map { $0 + "\r\n" }.joined()
        parser.append(Array("GET / HTTP/1.1\r\nHost: a\r\n\(lines)\r\n".utf8))
        return try #require(try parser.next())
    }
}
