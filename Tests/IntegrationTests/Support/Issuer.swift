import Foundation
import TestSupport

/// Who signs the tokens of the tests, and the service that believes him.
enum Issuer {
    static let secret = "the issuer's secret of these tests, 0123456789"
    static let key = SigningKey(secret: secret)

    static func now() -> Int { Int(Date().timeIntervalSince1970) }

    /// A token with these members of the payload; `exp` and `iat` unless they are given.
    static func token(_ claims: [String: Any], key: SigningKey = key) -> String {
        key.token(
            ["exp": now() + 600, "iat": now()].merging(claims.filter { !($0.value is NSNull) }) {
                $1
            }
            .filter { claims[$0.key] is NSNull == false })
    }

    /// A token whose payload has these members as they are written.
    static func token(members: String) -> String {
        key.sign(
            header: #"{"alg":"HS256"}"#,
            payload: "{\"exp\":\(now() + 600),\"iat\":\(now()),\(members)}")
    }

    /// The field that a client sends.
    static func bearer(_ token: String) -> [String] { ["Authorization: Bearer \(token)"] }

    /// A service that asks for tokens of this issuer.
    static func service(
        _ database: TestDatabase, _ arguments: [String] = [], environment: [String: String] = [:]
    ) throws -> ServiceProcess {
        try ServiceProcess(
            database: database.url, arguments, auth: "required",
            environment: environment.merging(["EVENT_SERVICE_JWT_SECRET": secret]) { $1 })
    }

    /// A ticket for a token.
    static func ticket(_ port: UInt16, _ token: String) throws -> String {
        let answer = try HTTPClient.request(
            port, "POST", "/api/v1/auth/sse-token", fields: bearer(token))
        guard answer.status == 200, let ticket = answer.json["token"] as? String,
            answer.json["expires_in"] as? Int == 60
        else { throw TestFailure("no ticket: \(answer.status) \(answer.text)") }
        return ticket
    }
}
