import EventCore
import Testing

/// One row: what comes on a connection, and what the parser makes of it.
struct ParserCase: Sendable, CustomTestStringConvertible {
    let name: String
    let input: String
    /// The requests, as `METHOD PATH?QUERY BODY`.
    var requests: [String] = []
    /// The status of the error behind them.
    var status: Int?

    var testDescription: String { name }

    var bytes: [UInt8] { Array(input.replacing("\n", with: "\r\n").utf8) }

    static let good: [ParserCase] = [
        ParserCase(name: "plain", input: "GET / HTTP/1.1\nHost: a\n\n", requests: ["GET /?"]),
        ParserCase(
            name: "query", input: "GET /a?x=1&y=%20 HTTP/1.1\nHost: a\n\n",
            requests: ["GET /a?x=1&y=%20"]),
        ParserCase(
            name: "decoded path", input: "GET /a%2Fb%C3%A4 HTTP/1.1\nhost: a\n\n",
            requests: ["GET /a/bä?"]),
        ParserCase(
            name: "empty line before", input: "\nGET / HTTP/1.1\nHost: a\n\n", requests: ["GET /?"]),
        ParserCase(
            name: "HTTP/1.0 without Host", input: "GET / HTTP/1.0\n\n", requests: ["GET /?"]),
        ParserCase(
            name: "IPv6 host", input: "GET / HTTP/1.1\nHost: [::1]:8080\n\n", requests: ["GET /?"]),
        ParserCase(name: "empty host", input: "GET / HTTP/1.1\nHost:\n\n", requests: ["GET /?"]),
        ParserCase(name: "HTTP/1.7", input: "GET / HTTP/1.7\nHost: a\n\n", requests: ["GET /?"]),
        ParserCase(
            name: "absolute form", input: "GET http://a.example:80/x?y HTTP/1.1\nHost: a\n\n",
            requests: ["GET /x?y"]),
        ParserCase(
            name: "absolute form without a path",
            input: "GET http://a.example HTTP/1.1\nHost: a\n\n",
            requests: ["GET /?"]),
        ParserCase(
            name: "absolute form with a query only",
            input: "GET http://a?x HTTP/1.1\nHost: a\n\n", requests: ["GET /?x"]),
        ParserCase(
            name: "asterisk", input: "OPTIONS * HTTP/1.1\nHost: a\n\n", requests: ["OPTIONS *?"]),
        ParserCase(
            name: "length", input: "POST / HTTP/1.1\nHost: a\nContent-Length: 5\n\nhello",
            requests: ["POST /? hello"]),
        ParserCase(
            name: "length zero", input: "POST / HTTP/1.1\nHost: a\nContent-Length: 0\n\n",
            requests: ["POST /?"]),
        ParserCase(
            name: "chunks",
            input:
                "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n3\nabc\n00A;x=\"y\"\n0123456789\n0\n\n",
            requests: ["POST /? abc0123456789"]),
        ParserCase(
            name: "trailer",
            input: "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: Chunked\n\n1\na\n0\nX: y\n\n",
            requests: ["POST /? a"]),
        ParserCase(
            name: "pipelined",
            input:
                "GET /1 HTTP/1.1\nHost: a\n\nPOST /2 HTTP/1.1\nHost: a\nContent-Length: 2\n\nxyGET /3 HTTP/1.1\nHost: a\n\n",
            requests: ["GET /1?", "POST /2? xy", "GET /3?"]),
        ParserCase(
            name: "odd but allowed field",
            input: "GET / HTTP/1.1\nHost:a\nX!#$%&'*+-.^_`|~9: \t \u{7F}".dropLast() + "x \n\n",
            requests: ["GET /?"]),
        ParserCase(name: "unfinished", input: "GET / HTTP/1.1\nHost: a\n"),
        ParserCase(
            name: "body to come", input: "POST / HTTP/1.1\nHost: a\nContent-Length: 5\n\nhell"),
    ]

    static let bad: [ParserCase] = [
        ParserCase(name: "TLS", input: "\u{16}\u{03}\u{01}", status: 400),
        ParserCase(name: "blank first", input: " GET / HTTP/1.1", status: 400),
        ParserCase(name: "HTTP/2 preface", input: "PRI * HTTP/2.0\n\nSM\n\n", status: 505),
        ParserCase(name: "HTTP/0.9", input: "GET /\n", status: 400),
        ParserCase(name: "no target", input: "GET  HTTP/1.1\n", status: 400),
        ParserCase(name: "two blanks", input: "GET  / HTTP/1.1\n", status: 400),
        ParserCase(name: "tab for a blank", input: "GET\t/ HTTP/1.1\n", status: 400),
        ParserCase(name: "long method", input: String(repeating: "A", count: 40), status: 400),
        ParserCase(name: "not a path", input: "GET x HTTP/1.1\nHost: a\n\n", status: 400),
        ParserCase(name: "fragment", input: "GET /#x HTTP/1.1\nHost: a\n\n", status: 400),
        ParserCase(
            name: "authority form", input: "CONNECT a:443 HTTP/1.1\nHost: a\n\n", status: 400),
        ParserCase(name: "bytes past ASCII", input: "GET /ä HTTP/1.1\n", status: 400),
        ParserCase(name: "broken escape", input: "GET /%4 HTTP/1.1\nHost: a\n\n", status: 400),
        ParserCase(
            name: "escape of no UTF-8", input: "GET /%FF HTTP/1.1\nHost: a\n\n", status: 400),
        ParserCase(name: "lower-case version", input: "GET / http/1.1\n", status: 400),
        ParserCase(name: "more behind the version", input: "GET / HTTP/1.1 x\n", status: 400),
        ParserCase(name: "version of one number", input: "GET / HTTP/1\n", status: 400),
        ParserCase(name: "no Host", input: "GET / HTTP/1.1\n\n", status: 400),
        ParserCase(name: "two Hosts", input: "GET / HTTP/1.1\nHost: a\nHost: a\n\n", status: 400),
        ParserCase(name: "folded", input: "GET / HTTP/1.1\nHost: a\n b\n\n", status: 400),
        ParserCase(name: "folded by a tab", input: "GET / HTTP/1.1\nHost: a\n\tb\n\n", status: 400),
        ParserCase(
            name: "blank before the colon", input: "GET / HTTP/1.1\nHost : a\n\n", status: 400),
        ParserCase(name: "no colon", input: "GET / HTTP/1.1\nHost\n\n", status: 400),
        ParserCase(name: "no name", input: "GET / HTTP/1.1\n: a\n\n", status: 400),
        ParserCase(name: "NUL in a value", input: "GET / HTTP/1.1\nHost: a\u{0}\n\n", status: 400),
        ParserCase(name: "DEL in a value", input: "GET / HTTP/1.1\nHost: a\u{7F}\n\n", status: 400),
        ParserCase(
            name: "long head", input: "GET / HTTP/1.1\nX: " + String(repeating: "a", count: 600),
            status: 431),
        ParserCase(
            name: "long target", input: "GET /" + String(repeating: "a", count: 600), status: 431),
        ParserCase(
            name: "many fields",
            input: "GET / HTTP/1.1\n" + String(repeating: "A: b\n", count: 200),
            status: 431),
        ParserCase(
            name: "two lengths",
            input: "POST / HTTP/1.1\nHost: a\nContent-Length: 1\nContent-Length: 1\n\n", status: 400
        ),
        ParserCase(
            name: "list of lengths", input: "POST / HTTP/1.1\nHost: a\nContent-Length: 1, 1\n\n",
            status: 400),
        ParserCase(
            name: "signed length", input: "POST / HTTP/1.1\nHost: a\nContent-Length: +1\n\n",
            status: 400),
        ParserCase(
            name: "empty length", input: "POST / HTTP/1.1\nHost: a\nContent-Length:\n\n",
            status: 400),
        ParserCase(
            name: "hexadecimal length", input: "POST / HTTP/1.1\nHost: a\nContent-Length: 0x1\n\n",
            status: 400),
        ParserCase(
            name: "length past all numbers",
            input: "POST / HTTP/1.1\nHost: a\nContent-Length: 99999999999999999999999\n\n",
            status: 413),
        ParserCase(
            name: "long body", input: "POST / HTTP/1.1\nHost: a\nContent-Length: 101\n\n",
            status: 413),
        ParserCase(
            name: "length and chunks",
            input: "POST / HTTP/1.1\nHost: a\nContent-Length: 1\nTransfer-Encoding: chunked\n\n",
            status: 400),
        ParserCase(
            name: "chunks in HTTP/1.0",
            input: "POST / HTTP/1.0\nHost: a\nTransfer-Encoding: chunked\n\n", status: 400),
        ParserCase(
            name: "another coding", input: "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: gzip\n\n",
            status: 501),
        ParserCase(
            name: "a coding that is chunked in Unicode only",
            input: "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chun\u{212A}ed\n\n", status: 501),
        ParserCase(name: "two hosts in one", input: "GET / HTTP/1.1\nHost: a b\n\n", status: 400),
        ParserCase(name: "a user's host", input: "GET / HTTP/1.1\nHost: a@b\n\n", status: 400),
        ParserCase(name: "a host with a path", input: "GET / HTTP/1.1\nHost: a/b\n\n", status: 400),
        ParserCase(
            name: "chunked twice",
            input: "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked, chunked\n\n", status: 501),
        ParserCase(
            name: "two codings",
            input:
                "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n",
            status: 501),
        ParserCase(name: "chunk of no size", input: chunked + "\n", status: 400),
        ParserCase(name: "chunk of a bad size", input: chunked + "x\n", status: 400),
        ParserCase(name: "chunk with a sign", input: chunked + "+1\n", status: 400),
        ParserCase(
            name: "chunk past all numbers", input: chunked + "FFFFFFFFFFFFFFFFF", status: 413),
        ParserCase(
            name: "chunks past the limit",
            input: chunked + "60\n" + String(repeating: "a", count: 96) + "\n9\n", status: 413),
        ParserCase(name: "chunk without its end", input: chunked + "1\nab", status: 400),
        ParserCase(
            name: "long extension", input: chunked + "1;" + String(repeating: "a", count: 300),
            status: 400),
        ParserCase(name: "folded trailer", input: chunked + "0\nX: y\n z\n\n", status: 400),
    ]

    private static let chunked = "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n"

    /// Line ends that must not pass for CRLF; here they are as they are sent.
    static let badLineEnds = [
        "GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        "GET / HTTP/1.1\rHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\r\r\n", "\r\rGET",
        "GET / HTTP/1.1\r\nHost: a\r\n\rX", "\nGET / HTTP/1.1\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\n",
    ]
}

@Suite struct `HTTP request parser` {
    static let limits = HTTPRequestParser.Limits(headBytes: 512, bodyBytes: 100)

    /// What the parser makes of some pieces: the requests, and the status of an error.
    static func parse(_ pieces: [[UInt8]]) -> (requests: [String], status: Int?) {
        var parser = HTTPRequestParser(limits: limits)
        var requests: [String] = []
        for piece in pieces {
            parser.append(piece)
            do throws(HTTPParseError) {
                while let request = try parser.next() {
                    let body =
                        request.body.isEmpty
                        ? "" : " " + String(decoding: request.body, as: UTF8.self)
                    requests.append("\(request.method) \(request.path)?\(request.query)\(body)")
                }
            } catch {
                return (requests, error.status)
            }
        }
        return (requests, nil)
    }

    @Test(arguments: ParserCase.good + ParserCase.bad)
    func `a connection is read the same however it is cut`(_ row: ParserCase) {
        let bytes = row.bytes
        var cuts: [[[UInt8]]] = [[bytes], bytes.map { [$0] }]
        for index in bytes.indices {
            cuts.append([Array(bytes[..<index]), Array(bytes[index...])])
        }
        for pieces in cuts {
            let (requests, status) = Self.parse(pieces)
            #expect(requests == row.requests)
            #expect(status == row.status)
        }
    }

    @Test(arguments: ParserCase.badLineEnds)
    func `only CR LF ends a line`(_ input: String) {
        let bytes = Array(input.utf8)
        #expect(Self.parse([bytes]).status == 400)
        #expect(Self.parse(bytes.map { [$0] }).status == 400)
    }

    @Test func `after an error the parser stays failed`() {
        var parser = HTTPRequestParser(limits: Self.limits)
        parser.append([0])
        #expect(throws: HTTPParseError.self) { try parser.next() }
        parser.append(Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
        #expect(throws: HTTPParseError.self) { try parser.next() }
    }

    @Test func `a client that expects 100 is told once, unless the body has come`() throws {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        var parser = HTTPRequestParser(limits: Self.limits)
        parser.append(Array(head.utf8))
        #expect(try parser.next() == nil)
        let told = [parser.takeContinue(), parser.takeContinue()]
        #expect(told == [true, false])
        parser.append(Array("ok".utf8))
        #expect(try parser.next()?.body == Array("ok".utf8))
        let toldAfterwards = parser.takeContinue()
        #expect(!toldAfterwards)
    }

    @Test(arguments: [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive, Close\r\n\r\n", false),
        ("GET / HTTP/1.0\r\n\r\n", false),
    ])
    func `whether the connection stays open is said by version and Connection`(
        input: String, keeps: Bool
    ) throws {
        var parser = HTTPRequestParser(limits: Self.limits)
        parser.append(Array(input.utf8))
        #expect(try parser.next()?.keepsAlive == keeps)
    }

    @Test func `fields keep their order and lose their blanks and case`() throws {
        var parser = HTTPRequestParser(limits: Self.limits)
        parser.append(
            Array("GET / HTTP/1.1\r\nHOST:\t a \t\r\nAccept: x , y\r\naccept: z\r\n\r\n".utf8))
        let request = try #require(try parser.next())
        #expect(request.fields.map(\.name) == ["host", "accept", "accept"])
        #expect(request.value(of: "host") == "a")
        #expect(request.list(of: "accept") == ["x", "y", "z"])
    }

    @Test(
        arguments: [
            ("x-1_a.B", "x-1_a.B"), ("", nil), ("a b", nil), ("<script>", nil),
            (String(repeating: "a", count: 65), nil),
        ] as [(String, String?)])
    func `a request id of the client's is kept only if it is harmless`(given: String, kept: String?)
        throws
    {
        var parser = HTTPRequestParser(limits: Self.limits)
        parser.append(Array("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: \(given)\r\n\r\n".utf8))
        #expect(try parser.next()?.requestID == kept)
    }
}
