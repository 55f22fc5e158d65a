/// How tokens may be signed (RFC 7518, section 3).
public enum SignatureAlgorithm: String, Sendable, CaseIterable {
    /// HMAC with SHA-256.
    case hs256 = "HS256"
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    case rs256 = "RS256"
    /// RSASSA-PSS with SHA-256.
    case ps256 = "PS256"
    /// ECDSA over P-256 with SHA-256.
    case es256 = "ES256"
}

/// One key, good for one algorithm: the key says which, never the token (RFC 8725, section 3.1).
public struct VerificationKey: Sendable, Hashable {
    /// The only algorithm that is accepted with the key.
    public let algorithm: SignatureAlgorithm
    /// `kid`; `nil`: the key is for tokens whatever they name.
    public let keyID: String?
    /// The members of a JWK (RFC 7517) that a check needs, and no other: nothing private is kept.
    public let members: [String: String]

    /// The longest `kid`, in bytes.
    public static let longestID = 256
    /// The least of a secret, in bytes (RFC 7518, section 3.2).
    public static let shortestSecret = 32

    /// The key of a secret, for HS256; `nil` if it is too short.
    public init?(secret: String) {
        guard secret.utf8.count >= Self.shortestSecret else { return nil }
        algorithm = .hs256
        keyID = nil
        members = ["kty": "oct", "k": Base64URL.encode(secret.utf8)]
    }

    /// Reads a JWK; throws why it is of no use here.
    ///
    /// - Parameter allowsSecrets: false for a set that anybody can fetch.
    public init(
        _ jwk: [String: JSONValue], allowsSecrets: Bool
    ) throws(UnusableKey) {
        if let use = jwk["use"], use.text != "sig" { throw UnusableKey("its use is not sig") }
        if let operations = jwk["key_ops"], operations.texts?.contains("verify") != true {
            throw UnusableKey("its key_ops lack verify")
        }
        if let id = jwk["kid"] {
            guard let text = id.text, text.utf8.count <= Self.longestID else {
                throw UnusableKey("its kid is not a short string")
            }
        }
        keyID = jwk["kid"]?.text
        let fallback: SignatureAlgorithm
        switch jwk["kty"]?.text {
        case "RSA":
            // Without an alg an RSA key is for RS256: what issuers mean that leave it out.
            fallback = .rs256
            members = try Self.rsa(jwk)
        case "EC":
            fallback = .es256
            members = try Self.ellipticCurve(jwk)
        case "oct" where allowsSecrets:
            fallback = .hs256
            members = try Self.secret(jwk)
        case "oct":
            throw UnusableKey("it is a secret, and the set is public")
        default:
            throw UnusableKey("its kty is not RSA, EC or oct")
        }
        guard let given = jwk["alg"] else {
            algorithm = fallback
            return
        }
        guard let named = given.text.flatMap(SignatureAlgorithm.init(rawValue:)),
            named == fallback || (named == .ps256 && fallback == .rs256)
        else { throw UnusableKey("its alg is not one of its kty that is known here") }
        algorithm = named
    }

    private static func bytes(
        _ name: String, _ jwk: [String: JSONValue]
    ) throws(UnusableKey) -> (text: String, bytes: [UInt8]) {
        guard let text = jwk[name]?.text, let bytes = Base64URL.decode(text) else {
            throw UnusableKey("its member \(name) is not base64url")
        }
        return (text, bytes)
    }

    private static func rsa(_ jwk: [String: JSONValue]) throws(UnusableKey) -> [String: String] {
        let (modulus, exponent) = (try bytes("n", jwk), try bytes("e", jwk))
        let digits = modulus.bytes.drop { $0 == 0 }
        let bits = digits.count * 8 - (digits.first?.leadingZeroBitCount ?? 0)
        // Below, it can be factored; above, a check would hold up a loop.
        guard (2048...8192).contains(bits) else {
            throw UnusableKey("its modulus has \(bits) bits, not 2048 to 8192")
        }
        let value = exponent.bytes.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard exponent.bytes.count <= 4, value >= 3, value % 2 == 1 else {
            throw UnusableKey("its exponent is not an odd number from 3 of at most 32 bits")
        }
        return ["kty": "RSA", "n": modulus.text, "e": exponent.text]
    }

    private static func ellipticCurve(
        _ jwk: [String: JSONValue]
    ) throws(UnusableKey) -> [String: String] {
        guard jwk["crv"]?.text == "P-256" else { throw UnusableKey("its crv is not P-256") }
        let (x, y) = (try bytes("x", jwk), try bytes("y", jwk))
        guard x.bytes.count == 32, y.bytes.count == 32 else {
            throw UnusableKey("its x and y are not of 32 bytes")
        }
        return ["kty": "EC", "crv": "P-256", "x": x.text, "y": y.text]
    }

    private static func secret(
        _ jwk: [String: JSONValue]
    ) throws(UnusableKey) -> [String: String] {
        let secret = try bytes("k", jwk)
        guard secret.bytes.count >= shortestSecret else {
            throw UnusableKey("its secret has fewer than \(shortestSecret) bytes")
        }
        return ["kty": "oct", "k": secret.text]
    }
}

/// Why a key of a set is not used.
public struct UnusableKey: Error, Sendable, Equatable {
    /// The reason, after "key …:".
    public let reason: String

    init(_ reason: String) {
        self.reason = reason
    }
}

/// The keys that tokens are checked with.
public struct KeySet: Sendable, Equatable {
    /// The keys.
    public var keys: [VerificationKey]

    /// How large a set may be, in bytes.
    public static let maximumBytes = 256 << 10
    /// How many keys of a set are used.
    public static let maximumCount = 100
    /// With how many keys a token is tried: with more, tokens that name none would hold up a loop.
    public static let mostCandidates = 4

    /// Creates a set.
    public init(_ keys: [VerificationKey] = []) {
        self.keys = keys
    }

    /// Reads a JWK set (RFC 7517, section 5); keys that are of no use here are left out, and `skipped`
    /// is told why. `nil` if none is left.
    public init?(
        _ document: JSONValue, allowsSecrets: Bool, skipped: (UnusableKey) -> Void = { _ in }
    ) {
        guard case .array(let entries)? = document.members?["keys"] else { return nil }
        keys = []
        for entry in entries.prefix(Self.maximumCount) {
            do throws(UnusableKey) {
                guard let jwk = entry.members else { throw UnusableKey("it is not an object") }
                keys.append(try VerificationKey(jwk, allowsSecrets: allowsSecrets))
            } catch {
                skipped(error)
            }
        }
        if keys.isEmpty { return nil }
    }

    /// The places of the keys to try for a token.
    ///
    /// A `kid` that is known means those keys and no other; else keys without one are tried, and all
    /// when the token names none. Throws `algorithm` when the keys that the token names are for another,
    /// so that a public key is never taken for a secret, and `key` when there is none.
    public func candidates(for header: TokenHeader) throws(AuthenticationError) -> [Int] {
        let named = keys.indices.filter { index in
            guard let wanted = header.keyID, let known = keys[index].keyID else { return false }
            return wanted.isIdentical(to: known)
        }
        let meant =
            named.isEmpty
            ? keys.indices.filter { header.keyID == nil || keys[$0].keyID == nil } : named
        let fitting = meant.filter { keys[$0].algorithm == header.algorithm }
        guard !fitting.isEmpty else {
            throw AuthenticationError(
                named.isEmpty ? .key : .algorithm,
                named.isEmpty
                    ? "no key is the one that the token means" : "the key is for another alg")
        }
        return Array(fitting.prefix(Self.mostCandidates))
    }
}
