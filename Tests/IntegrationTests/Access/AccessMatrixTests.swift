import EventCore
import Foundation
import TestSupport
import Testing

@testable import EventService

@Suite struct `Access matrix` {
    /// Every cell of the table by every way: about twelve thousand answers, each as declared.
    @Test(.timeLimit(.minutes(3)))
    func `each audience is seen by whom the table says, by every operation and way`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            try database.run(MatrixEvents.tables)
            let service = try Issuer.service(database)
            let withoutRing = try Issuer.service(database, ["--ring-bytes", "0"])
            let tokens = AccessMatrix.subscribers.map { Issuer.token(members: $0.claims) }
            let live = try AccessMatrix.subscribers.indices.map { index in
                try StreamClient(
                    service.port, AccessMatrix.subscribers[index].query,
                    fields: Issuer.bearer(tokens[index]))
            }
            try database.run(MatrixEvents.script)
            let ids = try eventually("each event is there once") {
                let ids = try MatrixEvents.ids(database)
                return ids.count == MatrixEvents.expected.count ? ids : nil
            }

            var cells = 0
            for (index, subscriber) in AccessMatrix.subscribers.enumerated() {
                let expected = MatrixEvents.seen(bySubscriber: index)
                func check(_ seen: Set<String>, _ way: String) {
                    cells += MatrixEvents.expected.count
                    #expect(
                        seen == expected,
                        "\(subscriber.name), \(way): \(seen.symmetricDifference(expected).sorted())"
                    )
                }
                let fields = Issuer.bearer(tokens[index])
                let query = "since=earliest&limit=1000&" + subscriber.query
                check(try MatrixEvents.read(live[index], isLive: true), "live")
                for port in [service.port, withoutRing.port] {
                    let replay = try StreamClient(port, query, fields: fields)
                    check(try MatrixEvents.read(replay), "replay")
                    check(try MatrixEvents.history(port, query, fields), "history")
                    let ticket = try Issuer.ticket(port, tokens[index])
                    let byTicket = try StreamClient(port, query + "&sse_token=" + ticket)
                    check(try MatrixEvents.read(byTicket), "ticket")
                    let cookie = [
                        "Cookie: __Host-event-service=\(tokens[index])",
                        "Sec-Fetch-Site: same-origin",
                    ]
                    check(try MatrixEvents.history(port, query, cookie), "cookie")
                }
                guard subscriber.query.isEmpty else { continue }
                var single: Set<String> = []
                for (name, id) in ids {
                    let answer = try HTTPClient.get(
                        service.port, "/api/v1/events/\(id)", fields: fields)
                    #expect([200, 404].contains(answer.status))
                    if answer.status == 200 { single.insert(name) }
                }
                check(single, "single event")
            }
            #expect(cells > 10_000)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `each way in opens what the table says`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try Issuer.service(database, ["--auth-failure-rate", "0"])
            try database.run("SELECT event_service.publish('a.b', '1', '{*}')")
            let id = try eventually("sequenced") { try database.ids().first }
            let credentials = try WaysIn(service, database)
            for way in AccessMatrix.waysIn {
                for (request, status) in zip(AccessMatrix.requests, way.statuses) {
                    let (fields, query) = try credentials.of(way.name)
                    let answer = try credentials.ask(request, id: id, fields: fields, query: query)
                    #expect(answer.status == status, "\(way.name): \(request): \(answer.text)")
                    #expect(
                        (answer.fields["www-authenticate"]?.hasPrefix("Bearer realm=") == true)
                            == (400...403).contains(answer.status), "\(way.name): \(request)")
                }
            }
        }
    }
}

/// The events of the matrix: one of each audience and operation.
private enum MatrixEvents {
    static let tables = ["row", "note"].map { topic in
        """
        CREATE TABLE \(topic)s (id text PRIMARY KEY, version int, users text[], sessions text[], contexts text[]);
        SELECT event_service.watch('\(topic)s', topic => '\(topic)', columns => '{id,version}', user_column => 'users',
                                   session_column => 'sessions', context_columns => '{contexts}');
        CREATE TABLE \(topic)s_for_all (id text PRIMARY KEY, version int);
        SELECT event_service.watch('\(topic)s_for_all', topic => '\(topic)', columns => '{*}', global => true);
        """
    }.joined()

    private static func array(_ labels: [String], _ kind: String) -> String {
        let names = labels.filter { $0.hasPrefix(kind) }.map { "\"\($0.dropFirst(kind.count))\"" }
        return "'{" + names.joined(separator: ",") + "}'"
    }

    /// Key and operation of all events that somebody could see.
    static var expected: [(name: String, audience: AccessMatrix.Audience)] {
        AccessMatrix.audiences.enumerated().flatMap { index, audience in
            AccessMatrix.operations.filter { operation in
                switch operation {
                // Nobody can publish to nobody; a table for all has no rows that move; a row of nobody
                // cannot come to nobody.
                case "publish": !audience.labels.isEmpty
                case "enter", "leave": !audience.labels.isEmpty && audience.labels != ["*"]
                default: true
                }
            }.map { ("\(index)/\($0)", audience) }
        }
    }

    static func seen(bySubscriber index: Int) -> Set<String> {
        Set(expected.filter { $0.audience.isSeen(bySubscriber: index) }.map(\.name))
    }

    static var script: String {
        AccessMatrix.audiences.enumerated().map { index, audience in
            let labels = audience.labels
            let publish =
                labels.isEmpty
                ? ""
                : "SELECT event_service.publish('\(audience.topic).said', '1', '{\(labels.map { "\"\($0)\"" }.joined(separator: ","))}', '\(index)');\n"
            guard labels != ["*"] else {
                let table = audience.topic + "s_for_all"
                return publish + """
                    INSERT INTO \(table) VALUES ('\(index)', 1);
                    UPDATE \(table) SET version = 2 WHERE id = '\(index)';
                    DELETE FROM \(table) WHERE id = '\(index)';

                    """
            }
            let table = audience.topic + "s"
            let columns = ["user:", "session:", "context:"].map { array(labels, $0) }
                .joined(separator: ", ")
            return publish + """
                INSERT INTO \(table) VALUES ('\(index)', 1, \(columns));
                UPDATE \(table) SET version = 2 WHERE id = '\(index)';
                DELETE FROM \(table) WHERE id = '\(index)';
                INSERT INTO \(table) VALUES ('\(index)m', 1);
                UPDATE \(table) SET (users, sessions, contexts) = (\(columns)) WHERE id = '\(index)m';
                UPDATE \(table) SET (users, sessions, contexts) = ('{}', '{}', '{}') WHERE id = '\(index)m';

                """
        }.joined()
    }

    /// `key/op` of an event; the rows that move have an m behind their number, and count only when they
    /// come and go.
    private static func name(key: String?, operation: String?) -> String {
        "\((key ?? "").replacing("m", with: ""))/\(operation ?? "")"
    }

    /// The id of each event by its name.
    static func ids(_ database: TestDatabase) throws -> [String: String] {
        // Rows that belong to nobody while they wait to move are events for nobody.
        let rows = try database.connect().run(
            "ids",
            """
            SELECT key, op, id FROM event_service.events
            WHERE key NOT LIKE '%m' OR op IN ('enter', 'leave')
            """)
        return Dictionary(rows.map { (name(key: $0[0], operation: $0[1]), $0[2] ?? "") }) { $1 }
    }

    /// What a stream shows: of a replay up to its end, of a live one until nothing comes.
    static func read(_ stream: StreamClient, isLive: Bool = false) throws -> Set<String> {
        guard stream.answer.status == 200 else { throw TestFailure(stream.answer.text) }
        var names: Set<String> = []
        while let message = isLive ? try? stream.next(within: 0.25) : try stream.next() {
            if message.type == "stream.live", !isLive { break }
            guard !message.type.hasPrefix("stream.") else { continue }
            names.insert(
                name(
                    key: message.json["key"] as? String, operation: message.json["op"] as? String))
        }
        return names
    }

    static func history(_ port: UInt16, _ query: String, _ fields: [String]) throws -> Set<String> {
        let page = try HTTPClient.get(port, "/api/v1/events/history?\(query)", fields: fields)
        guard page.status == 200, page.json["has_more"] as? Bool == false,
            let events = page.json["events"] as? [[String: Any]]
        else { throw TestFailure("history: \(page.status) \(page.text)") }
        return Set(
            events.map { name(key: $0["key"] as? String, operation: $0["op"] as? String) })
    }
}

/// The rows of the second table as requests.
private struct WaysIn {
    let service: ServiceProcess
    let database: TestDatabase
    private let both: String
    private let used: String

    init(_ service: ServiceProcess, _ database: TestDatabase) throws {
        self.service = service
        self.database = database
        both = Issuer.token([
            "sub": "ann", "scope": "events:read events:publish", "publish_audiences": ["*"],
        ])
        used = try Issuer.ticket(service.port, both)
        _ = try StreamClient(service.port, "sse_token=" + used)
        try database.run("SELECT event_service.revoke('eve')")
    }

    func of(_ name: String) throws -> (fields: [String], query: String) {
        let bearer: ([String: Any]) -> [String] = { Issuer.bearer(Issuer.token($0)) }
        let cookie = "Cookie: __Host-event-service=\(both)"
        switch name {
        case "nothing": return ([], "")
        case "token": return (bearer(["sub": "ann"]), "")
        case "token, scope events:publish":
            return (bearer(["scope": "events:publish", "publish_audiences": ["*"]]), "")
        case "token, both scopes": return (Issuer.bearer(both), "")
        case "token, both scopes, no publish_audiences":
            return (bearer(["scope": "events:publish events:read"]), "")
        case "token, scope events:admin": return (bearer(["scope": "events:admin"]), "")
        case "token, scope empty": return (bearer(["scope": ""]), "")
        case "token that has expired": return (bearer(["exp": Issuer.now() - 60]), "")
        case "token that is revoked":
            return (bearer(["sub": "eve", "iat": Issuer.now() - 60]), "")
        case "token of another issuer":
            let foreign = SigningKey(secret: String(repeating: "f", count: 40))
            return (Issuer.bearer(Issuer.token(["sub": "ann"], key: foreign)), "")
        case "token as ?access_token=": return ([], "access_token=" + both)
        case "token as ?sse_token=": return ([], "sse_token=" + both)
        case "ticket as ?sse_token=":
            return ([], "sse_token=" + (try Issuer.ticket(service.port, both)))
        case "ticket that was used": return ([], "sse_token=" + used)
        case "ticket as Bearer":
            return (Issuer.bearer(try Issuer.ticket(service.port, both)), "")
        case "token and ticket": return (Issuer.bearer(both), "sse_token=" + used)
        case "two tokens": return (Issuer.bearer(both) + Issuer.bearer(both), "")
        case "cookie, Sec-Fetch-Site: same-origin":
            return ([cookie, "Sec-Fetch-Site: same-origin"], "")
        case "cookie, Sec-Fetch-Site: same-site":
            return ([cookie, "Sec-Fetch-Site: same-site"], "")
        case "cookie, Sec-Fetch-Site: cross-site":
            return ([cookie, "Sec-Fetch-Site: cross-site"], "")
        case "cookie, Origin of this host": return ([cookie, "Origin: http://localhost"], "")
        case "cookie, Origin of another host": return ([cookie, "Origin: http://evil.example"], "")
        case "cookie, Origin null": return ([cookie, "Origin: null"], "")
        case "cookie, neither": return ([cookie], "")
        case "cookie of another site beside a token":
            return (Issuer.bearer(both) + [cookie, "Sec-Fetch-Site: cross-site"], "")
        default: throw TestFailure("nobody knows how to come with \(name)")
        }
    }

    func ask(
        _ request: String, id: String, fields: [String], query: String
    ) throws -> HTTPAnswer {
        switch request {
        case "stream": return try StreamClient(service.port, query, fields: fields).answer
        case "history":
            return try HTTPClient.get(
                service.port, "/api/v1/events/history?" + query, fields: fields)
        case "single event":
            return try HTTPClient.get(service.port, "/api/v1/events/\(id)?" + query, fields: fields)
        case "publish":
            return try HTTPClient.request(
                service.port, "POST", "/api/v1/events?" + query,
                fields: fields + ["Content-Type: application/json"],
                body: #"{"type":"a.b","audience":["user:ann"],"data":1}"#)
        case "ticket":
            return try HTTPClient.request(
                service.port, "POST", "/api/v1/auth/sse-token?" + query, fields: fields)
        default: throw TestFailure("nobody knows how to ask for \(request)")
        }
    }
}
