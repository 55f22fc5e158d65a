import CJose
import EventCore
import Glibc

/// Signs tokens, for development: `event-service token`.
enum TokenSigner {
    /// Signs claims, a JSON object, with HS256 (RFC 7515, RFC 7518 section 3.2).
    static func sign(claims: String, secret: String) throws(ConfigurationError) -> String {
        // RFC 7518 wants a key as long as the hash.
        guard secret.utf8.count >= 32 else {
            throw ConfigurationError("jwt_secret: HS256 needs a secret of at least 32 bytes")
        }
        guard let token = compact(claims: claims, secret: secret) else {
            throw ConfigurationError("the token could not be signed")
        }
        return token
    }

    private static func compact(claims: String, secret: String) -> String? {
        let key = json_object()
        let signature = json_object()
        let header = json_object()
        let jws = json_object()
        defer {
            for value in [key, signature, header, jws] { cjose_release(value) }
        }
        json_object_set_new(key, "kty", json_string("oct"))
        json_object_set_new(key, "alg", json_string("HS256"))
        json_object_set_new(key, "k", base64(secret))
        json_object_set_new(header, "alg", json_string("HS256"))
        json_object_set_new(header, "typ", json_string("JWT"))
        json_object_set(signature, "protected", header)
        json_object_set_new(jws, "payload", base64(claims))
        guard jose_jws_sig(nil, jws, signature, key) else { return nil }
        let parts = ["protected", "payload", "signature"].compactMap { (name: String) in
            json_string_value(json_object_get(jws, name)).map { String(cString: $0) }
        }
        return parts.count == 3 ? parts.joined(separator: ".") : nil
    }

    /// The text as base64url, which is how RFC 7515 writes bytes.
    private static func base64(_ text: String) -> UnsafeMutablePointer<json_t>? {
        let bytes = Array(text.utf8)
        return jose_b64_enc(bytes, bytes.count)
    }
}
