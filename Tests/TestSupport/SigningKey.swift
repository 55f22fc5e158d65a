import CJose
import Foundation

/// A key that signs tokens, the issuer's side: made by libjose, or a secret.
///
/// `@unchecked Sendable`: libjose only reads the key once it is made.
public final class SigningKey: @unchecked Sendable {
    private let key: UnsafeMutablePointer<json_t>
    /// `alg` of the tokens that it signs.
    public let algorithm: String
    /// `kid`
    public let id: String?

    /// Makes a key for RS256, PS256, ES256 or HS256.
    public init(_ algorithm: String, id: String? = nil, bits: Int = 2048) {
        self.algorithm = algorithm
        self.id = id
        let template: [String: Any] =
            algorithm.hasPrefix("ES")
            ? ["kty": "EC", "crv": "P-256"]
            : algorithm.hasPrefix("HS")
                ? ["kty": "oct", "bytes": bits / 8] : ["kty": "RSA", "bits": bits]
        key = Self.json(template)
        precondition(jose_jwk_gen(nil, key), "libjose makes no key for \(algorithm)")
        mark()
    }

    /// The key that a secret is.
    public init(secret: String, id: String? = nil) {
        algorithm = "HS256"
        self.id = id
        key = Self.json(["kty": "oct", "k": Self.encode(Array(secret.utf8))])
        mark()
    }

    deinit {
        cjose_release(key)
    }

    private func mark() {
        json_object_set_new(key, "alg", json_string(algorithm))
        if let id { json_object_set_new(key, "kid", json_string(id)) }
    }

    /// The public JWK as the issuer would publish it, with changes; `nil` removes a member.
    public func jwk(private isPrivate: Bool = false, _ changes: [String: Any?] = [:]) -> [String:
        Any]
    {
        guard let text = json_dumps(key, 0) else { return [:] }
        defer { free(text) }
        var members =
            (try? JSONSerialization.jsonObject(with: Data(String(cString: text).utf8)))
            as? [String: Any]
            ?? [:]
        if !isPrivate {
            for name in ["d", "p", "q", "dp", "dq", "qi", "key_ops"] { members[name] = nil }
        }
        for (name, value) in changes { members[name] = value }
        return members
    }

    /// A JWK set of some keys, as text.
    public static func set(_ keys: [[String: Any]]) -> String {
        let data = try? JSONSerialization.data(withJSONObject: ["keys": keys])
        return data.map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    /// Signs a header and a payload, both as they are given: JSON or not.
    ///
    /// The header must name the algorithm of the key, for libjose to take it.
    public func sign(header: String, payload: String) -> String {
        let jws = Self.json(["payload": Self.encode(Array(payload.utf8))])
        let signature = Self.json([:])
        defer {
            cjose_release(jws)
            cjose_release(signature)
        }
        json_object_set_new(
            signature, "protected", json_string(Self.encode(Array(header.utf8))))
        guard jose_jws_sig(nil, jws, signature, key) else { return "" }
        return ["protected", "payload", "signature"].compactMap { (name: String) in
            json_string_value(json_object_get(jws, name)).map { String(cString: $0) }
        }.joined(separator: ".")
    }

    /// Signs claims with the usual header.
    public func token(_ claims: [String: Any], header: [String: Any?] = [:]) -> String {
        var members: [String: Any] = ["alg": algorithm, "typ": "JWT"]
        if let id { members["kid"] = id }
        for (name, value) in header { members[name] = value }
        return sign(header: Self.text(members), payload: Self.text(claims))
    }

    /// An object as JSON.
    public static func text(_ object: [String: Any]) -> String {
        let data = try? JSONSerialization.data(withJSONObject: object, options: .sortedKeys)
        return data.map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    /// Bytes in base64url.
    public static func encode(_ bytes: [UInt8]) -> String {
        Data(bytes).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_")
            .replacing("=", with: "")
    }

    private static func json(_ object: [String: Any]) -> UnsafeMutablePointer<json_t> {
        guard let value = json_loads(text(object), 0, nil) else {
            preconditionFailure("JSON that was just written")
        }
        return value
    }
}
