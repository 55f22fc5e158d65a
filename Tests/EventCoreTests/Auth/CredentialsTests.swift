import EventCore
import Testing

@Suite struct `Ways in` {
    private static func request(
        _ fields: [String], method: String = "GET", query: String = ""
    ) throws -> (HTTPRequest, QueryString) {
        var parser = HTTPRequestParser(limits: .init(headBytes: 20_000, bodyBytes: 0))
        let hasHost = fields.contains { $0.hasPrefix("Host:") }
        let lines = (hasHost ? [] : ["Host: app.example"]) + fields
        parser.append(
            Array(
                "\(method) /?\(query) HTTP/1.1\r\n\(lines.joined(separator: "\r\n"))\r\n\r\n".utf8))
        let request = try #require(try parser.next())
        return (request, try #require(QueryString(request.query)))
    }

    private static func credentials(
        _ fields: [String], method: String = "GET", query: String = "", takesTicket: Bool = true
    ) throws -> Credentials {
        let (request, query) = try request(fields, method: method, query: query)
        return try Credentials(request, query: query, takesTicket: takesTicket)
    }

    private static let cookie = "Cookie: a=b; __Host-event-service=c.o.k; d=e"

    @Test(
        arguments: [
            (["Authorization: Bearer a.b.c"], "", .token("a.b.c")),
            (["authorization: bearer  a.b.c "], "", .token("a.b.c")),
            (["Authorization: BEARER a"], "", .token("a")),
            (["Authorization: Bearer"], "", .token("")),
            ([], "sse_token=t", .ticket("t")), ([cookie], "", .token("c.o.k")),
            ([cookie], "sse_token=t", .ticket("t")),
            ([cookie, "Authorization: Bearer a"], "", .token("a")),
            (["Authorization: Basic YTpi"], "sse_token=t", .ticket("t")),
            (["Cookie: __Host-event-service="], "", .token("")),
        ] as [([String], String, Credentials)])
    func `a token comes by header, cookie or ticket`(
        fields: [String], query: String, expected: Credentials
    ) throws {
        #expect(try Self.credentials(fields, query: query) == expected)
    }

    @Test(
        arguments: [
            ([], "", .missing), (["Authorization: Basic YTpi"], "", .missing),
            (["Authorization: Bearerx a"], "", .missing), ([], "access_token=a.b.c", .missing),
            ([], "token=a.b.c", .missing), (["Cookie: event-service=a"], "", .missing),
            (["Cookie: __Host-Event-Service=a"], "", .missing),
            (["Cookie: x__Host-event-service=a"], "", .missing),
            (["Authorization: Bearer a", "Authorization: Bearer b"], "", .ambiguous),
            (["Authorization: Bearer a", "Authorization: Basic b"], "", .ambiguous),
            (["Authorization: Bearer a"], "sse_token=t", .ambiguous),
            ([], "sse_token=t&sse_token=u", .ambiguous),
            ([cookie, "Cookie: __Host-event-service=z"], "", .cookie),
            (["Cookie: __Host-event-service=a; __Host-event-service=a"], "", .cookie),
        ] as [([String], String, AuthenticationError.Cause)])
    func `anything else is none, or one too many`(
        fields: [String], query: String, cause: AuthenticationError.Cause
    ) {
        let error = #expect(throws: AuthenticationError.self) {
            try Self.credentials(fields, query: query)
        }
        #expect(error?.cause == cause)
    }

    @Test func `a ticket opens streams only`() {
        #expect(throws: AuthenticationError.self) {
            try Self.credentials([], query: "sse_token=t", takesTicket: false)
        }
    }

    @Test(
        arguments: [
            ("GET", [], true), ("HEAD", [], true), ("POST", [], false), ("DELETE", [], false),
            ("GET", ["Sec-Fetch-Site: same-origin"], true),
            ("POST", ["Sec-Fetch-Site: same-origin"], true),
            ("POST", ["Sec-Fetch-Site: same-origin", "Origin: https://app.example"], true),
            ("GET", ["Sec-Fetch-Site: same-site"], false),
            ("GET", ["Sec-Fetch-Site: cross-site"], false),
            ("GET", ["Sec-Fetch-Site: none"], false),
            ("GET", ["Sec-Fetch-Site:"], false), ("GET", ["Sec-Fetch-Site: Same-Origin"], false),
            ("GET", ["Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"], false),
            ("GET", ["Sec-Fetch-Site: cross-site", "Origin: https://app.example"], false),
            ("GET", ["Origin: https://app.example"], true),
            ("POST", ["Origin: https://app.example"], true),
            ("POST", ["Origin: http://app.example"], true),
            ("POST", ["Origin: https://app.example", "Host: app.example:443"], true),
            ("POST", ["Origin: https://app.example", "Host: APP.example"], true),
            ("POST", ["Origin: https://app.example:8443", "Host: app.example:8443"], true),
            ("POST", ["Origin: http://[::1]:8080", "Host: [::1]:8080"], true),
            ("POST", ["Origin: https://app.example:8443"], false),
            ("POST", ["Origin: https://app.example", "Host: app.example:8443"], false),
            ("POST", ["Origin: https://app.example", "Host: app.example:80"], false),
            ("POST", ["Origin: https://evil.example"], false),
            ("GET", ["Origin: https://evil.example"], false), ("GET", ["Origin: null"], false),
            ("GET", ["Origin:"], false),
            ("GET", ["Origin: https://app.example.evil.example"], false),
            ("GET", ["Origin: https://app.example/"], false),
            ("GET", ["Origin: https://app.example", "Origin: https://app.example"], false),
        ] as [(String, [String], Bool)])
    func `a cookie counts only from this very origin`(
        method: String, fields: [String], counts: Bool
    ) throws {
        let given = [Self.cookie] + fields
        if counts {
            #expect(try Self.credentials(given, method: method) == .token("c.o.k"))
        } else {
            let error = #expect(throws: AuthenticationError.self) {
                try Self.credentials(given, method: method)
            }
            #expect(error?.cause == .cookie)
        }
    }
}
