/// A token in the compact form of RFC 7515, section 7.1, taken apart: bytes in base64url.
public struct CompactToken: Sendable {
    /// The header as it was signed.
    public let protected: ArraySlice<UInt8>
    /// The payload as it was signed.
    public let payload: ArraySlice<UInt8>
    /// The signature.
    public let signature: ArraySlice<UInt8>
    /// What `protected` stands for: JSON.
    public let headerBytes: [UInt8]
    /// What `payload` stands for: JSON.
    public let payloadBytes: [UInt8]

    /// The longest token that is looked at.
    public static let maximumBytes = 8192

    /// Takes a token apart.
    public init(_ text: String) throws(AuthenticationError) {
        guard text.utf8.count <= Self.maximumBytes else {
            throw AuthenticationError(
                .malformed, "The token has more than \(Self.maximumBytes) bytes.")
        }
        let parts = Array(text.utf8).split(
            separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3 else {
            throw AuthenticationError(
                .malformed, "The token is not a JWT: three parts with dots between them.")
        }
        guard let header = Base64URL.decode(parts[0]), !header.isEmpty,
            let body = Base64URL.decode(parts[1]), Base64URL.decode(parts[2]) != nil
        else {
            throw AuthenticationError(.malformed, "A part of the token is not base64url.")
        }
        protected = parts[0]
        payload = parts[1]
        signature = parts[2]
        headerBytes = header
        payloadBytes = body
    }
}

/// What the header of a token may say (RFC 7515, section 4), held to RFC 8725.
public struct TokenHeader: Sendable, Equatable {
    /// `alg`
    public let algorithm: SignatureAlgorithm
    /// `kid`
    public let keyID: String?

    /// Members that would change how the token is read, none of which is understood here.
    private static let refused = ["crit", "b64", "enc", "zip"]
    /// Kinds of tokens that are access tokens (RFC 7519, section 5.1; RFC 9068, section 2.1).
    private static let types = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"]

    /// Reads a header. Keys that it brings along (`jwk`, `jku`, `x5c`, `x5u`) are never looked at.
    public init(_ header: [String: JSONValue]) throws(AuthenticationError) {
        if let name = Self.refused.first(where: { header[$0] != nil }) {
            throw AuthenticationError(
                .malformed, "The header of the token has the member \(name).")
        }
        if let type = header["typ"] {
            // A token that the issuer signed for something else (RFC 8725, section 3.11).
            guard let text = type.text, Self.types.contains(text.lowercased()) else {
                throw AuthenticationError(
                    .malformed, "The typ of the token is neither JWT nor at+jwt.")
            }
        }
        if header["cty"] != nil {
            throw AuthenticationError(.malformed, "The token holds another: it has a cty.")
        }
        guard let algorithm = header["alg"]?.text else {
            throw AuthenticationError(.malformed, "The header of the token has no alg.")
        }
        guard let known = SignatureAlgorithm(rawValue: algorithm) else {
            throw AuthenticationError(.algorithm, "alg is not one that is known here")
        }
        if let keyID = header["kid"] {
            guard let text = keyID.text, text.utf8.count <= VerificationKey.longestID else {
                throw AuthenticationError(
                    .malformed, "The kid of the token is not a short string.")
            }
        }
        self.algorithm = known
        keyID = header["kid"]?.text
    }
}
