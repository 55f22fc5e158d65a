import EventCore
import Foundation
import TestSupport
import Testing

@testable import EventService

@Suite struct `Session checks` {
    private static let function = """
        CREATE TABLE open_sessions (id text PRIMARY KEY);
        CREATE TABLE calls (at_transaction xid8, session_id text);
        CREATE FUNCTION session_is_open(user_id text, session_id text, token_id text) RETURNS boolean
        LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO calls VALUES (pg_current_xact_id(), session_id);
            IF session_id = 'broken' THEN RAISE EXCEPTION 'broken'; END IF;
            RETURN EXISTS (SELECT FROM open_sessions o WHERE o.id = session_id)
                OR (user_id = 'ann' AND token_id = 'key');
        END $$;
        INSERT INTO open_sessions SELECT 's' || i FROM generate_series(1, 60) i
        """

    private static func service(_ database: TestDatabase) throws -> ServiceProcess {
        try database.run(function)
        return try Issuer.service(
            database,
            ["--session-check", "session_is_open", "--session-check-interval", "1s"])
    }

    private static func open(
        _ service: ServiceProcess, _ claims: [String: Any]
    ) throws -> StreamClient {
        try StreamClient(service.port, fields: Issuer.bearer(Issuer.token(claims)))
    }

    @Test(.timeLimit(.minutes(1)))
    func `a session that is not open gets nothing, and one that closes ends`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try Self.service(database)
            let rows: [(claims: [String: Any], status: Int)] = [
                (["sid": "s1"], 200), (["sid": "closed"], 401), ([:], 401), (["sub": "s1"], 401),
                (["sub": "ann", "jti": "key"], 200), (["sub": "ann", "jti": "other"], 401),
                (["sid": "broken"], 503),
            ]
            for row in rows {
                let token = Issuer.token(row.claims)
                #expect(try Self.open(service, row.claims).answer.status == row.status)
                for (method, target) in [
                    ("GET", "/api/v1/events/history"), ("POST", "/api/v1/auth/sse-token"),
                ] {
                    let answer = try HTTPClient.request(
                        service.port, method, target, fields: Issuer.bearer(token))
                    #expect(answer.status == row.status, "\(row.claims): \(answer.text)")
                }
            }
            let streams = try ["s1", "s2"].map { try Self.open(service, ["sid": $0]) }
            let ticket = try Issuer.ticket(service.port, Issuer.token(["sid": "s1"]))
            try database.run("DELETE FROM open_sessions WHERE id = 's1'")
            #expect(try streams[0].next("stream.end").json["reason"] as? String == "revoked")
            #expect(try StreamClient(service.port, "sse_token=" + ticket).answer.status == 401)
            try database.run("INSERT INTO tasks (title, session_id) VALUES ('x', 's2')")
            #expect(try streams[1].events(1).count == 1)
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `many streams are asked about in one query, each token once`() async throws {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try Self.service(database)
            let streams = try (0..<120).map { try Self.open(service, ["sid": "s\($0 % 60 + 1)"]) }
            #expect(streams.allSatisfy { $0.answer.status == 200 })
            try database.run("TRUNCATE calls")
            // One query for each loop, of which there are two, and round.
            let counts = try eventually("a round") { () -> [Int]? in
                let rows = try database.connect().run(
                    "calls",
                    "SELECT count(DISTINCT session_id), count(DISTINCT at_transaction) FROM calls")
                let counts = rows[0].map { Int($0 ?? "") ?? 0 }
                return counts[0] == 60 ? counts : nil
            }
            #expect(counts[1] <= 8, "\(counts[1]) queries")
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `when nobody can answer, streams end after three rounds and none is opened`() async throws
    {
        try await onOwnThread {
            let database = try TestDatabase()
            let service = try Self.service(database)
            let stream = try Self.open(service, ["sid": "s1"])
            try database.run("ALTER FUNCTION session_is_open RENAME TO gone")
            let began = Date()
            let refused = try HTTPClient.get(
                service.port, "/api/v1/events/stream",
                fields: Issuer.bearer(Issuer.token(["sid": "s1"])))
            #expect(refused.status == 503 && refused.fields["retry-after"] != nil)
            #expect(try stream.next("stream.end").json["reason"] as? String == "revoked")
            #expect(Date().timeIntervalSince(began) > 1.5, "a stumble is no end")
            try database.run("ALTER FUNCTION gone RENAME TO session_is_open")
            #expect(try Self.open(service, ["sid": "s1"]).answer.status == 200)
        }
    }
}
