import CJose
import EventCore

/// Checks the signatures of tokens with one set of keys.
///
/// Belongs to one thread. An HS256 check takes a few microseconds, an RS256 check some 70, so it is done
/// on the loop.
final class TokenVerifier {
    let keys: KeySet
    private let prepared: [JoseJSON?]
    private let jose: OpaquePointer?

    init(_ keys: KeySet) {
        self.keys = keys
        prepared = keys.keys.map { key in
            JoseJSON(key.members.merging(["alg": key.algorithm.rawValue]) { $1 })
        }
        jose = jose_cfg()
        if let jose { cjose_silence(jose) }
    }

    deinit {
        jose_cfg_decref(jose)
    }

    /// The claims of a token, if one of the keys has signed it.
    func claims(of text: String) throws(AuthenticationError) -> TokenClaims {
        let token = try CompactToken(text)
        guard let header = JoseJSON.value(of: token.headerBytes)?.members else {
            throw AuthenticationError(
                .malformed, "The header of the token is not a JSON object of unique members.")
        }
        let candidates = try keys.candidates(for: try TokenHeader(header))
        guard candidates.contains(where: { isSigned(token, by: $0) }) else {
            throw AuthenticationError(.signature, "the signature is not that of the key")
        }
        guard let payload = JoseJSON.value(of: token.payloadBytes)?.members else {
            throw AuthenticationError(
                .malformed, "The payload of the token is not a JSON object of unique members.")
        }
        return try TokenClaims(payload)
    }

    /// libjose compares in constant time, and takes the algorithm from the key.
    private func isSigned(_ token: CompactToken, by index: Int) -> Bool {
        guard let key = prepared[index], let jws = JoseJSON([:]) else { return false }
        jws.set("protected", token.protected)
        jws.set("payload", token.payload)
        jws.set("signature", token.signature)
        return jose_jws_ver(jose, jws.pointer, nil, key.pointer, false)
    }
}
