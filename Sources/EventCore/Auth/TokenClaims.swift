/// The claims of a token that mean something here (RFC 7519, section 4); all others are ignored.
public struct TokenClaims: Sendable, Equatable {
    /// `exp`: Unix seconds.
    public var expiresAt: Int64
    /// `nbf`: Unix seconds.
    public var notBefore: Int64?
    /// `iat`: Unix seconds.
    public var issuedAt: Int64?
    /// `iss`
    public var issuer: String?
    /// `aud`, a string or an array of them.
    public var audience: [String]?
    /// `sub`
    public var subject: String?
    /// `sid`
    public var session: String?
    /// `jti`
    public var tokenID: String?
    /// `contexts`: names, a trailing `*` allowed.
    public var contexts: [String] = []
    /// `events`: patterns of types; `nil`: all. One that could match no type is left out.
    public var types: [TypePattern]?
    /// `scope`: words separated by blanks; without the claim, `events:read`. Others' scopes are ignored.
    public var scopes: Set<Scope> = [.read]
    /// `publish_audiences`: labels, a trailing `*` allowed.
    public var publishAudiences: [String] = []

    /// The longest `sub`, `sid` and `jti`, in bytes: as long as those that can be revoked.
    public static let longestName = 1024

    /// Creates claims that grant what is for everyone.
    public init(expiresAt: Int64) {
        self.expiresAt = expiresAt
    }

    /// Reads the payload of a token whose signature is good.
    ///
    /// A claim of the wrong type is an error, never a claim that is not there: without it the token might
    /// grant more.
    public init(_ payload: [String: JSONValue]) throws(AuthenticationError) {
        guard let expiry = try Self.date("exp", payload, up: false) else {
            throw AuthenticationError(.claims, "The token has no exp.")
        }
        expiresAt = expiry
        notBefore = try Self.date("nbf", payload, up: true)
        issuedAt = try Self.date("iat", payload, up: false)
        issuer = try Self.text("iss", payload)
        subject = try Self.name("sub", payload)
        session = try Self.name("sid", payload)
        tokenID = try Self.name("jti", payload)
        if let text = payload["aud"]?.text {
            audience = [text]
        } else {
            audience = try Self.texts("aud", payload)
        }
        contexts = try Self.texts("contexts", payload) ?? []
        types = try Self.texts("events", payload)?.compactMap { TypePattern($0) }
        publishAudiences = try Self.texts("publish_audiences", payload) ?? []
        if let scope = try Self.text("scope", payload) {
            scopes = Set(scope.split(separator: " ").compactMap { Scope(rawValue: String($0)) })
        }
    }

    /// The claims as JSON, from which they are read as they are: what is kept with a ticket.
    public var json: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append("{\"exp\":")
        bytes.appendDecimal(expiresAt)
        for (name, second) in [("nbf", notBefore), ("iat", issuedAt)] {
            guard let second else { continue }
            bytes.appendMemberName(name)
            bytes.appendDecimal(second)
        }
        for (name, text) in [("iss", issuer), ("sub", subject), ("sid", session), ("jti", tokenID)]
        {
            guard let text else { continue }
            bytes.appendMemberName(name)
            bytes.appendJSONString(text)
        }
        for (name, texts) in [
            ("aud", audience), ("contexts", contexts.isEmpty ? nil : contexts),
            ("events", types?.map(\.text)),
            ("publish_audiences", publishAudiences.isEmpty ? nil : publishAudiences),
        ] {
            guard let texts else { continue }
            bytes.appendMemberName(name)
            bytes.appendJSONStrings(texts)
        }
        bytes.appendMemberName("scope")
        let words = Scope.allCases.filter(scopes.contains).map(\.rawValue)
        bytes.appendJSONString(words.joined(separator: " "))
        bytes.append("}")
        return bytes
    }

    private static func text(
        _ name: String, _ payload: [String: JSONValue]
    ) throws(AuthenticationError) -> String? {
        guard let value = payload[name] else { return nil }
        guard let text = value.text else { throw wrongType(name, "a string") }
        return text
    }

    private static func name(
        _ name: String, _ payload: [String: JSONValue]
    ) throws(AuthenticationError) -> String? {
        let text = try text(name, payload)
        guard text?.utf8.count ?? 0 <= longestName else {
            throw AuthenticationError(
                .claims, "The claim \(name) has more than \(longestName) bytes.")
        }
        return text
    }

    private static func texts(
        _ name: String, _ payload: [String: JSONValue]
    ) throws(AuthenticationError) -> [String]? {
        guard let value = payload[name] else { return nil }
        guard let texts = value.texts else { throw wrongType(name, "an array of strings") }
        return texts
    }

    /// A NumericDate, which may have a fraction; it is rounded to what lets less through.
    private static func date(
        _ name: String, _ payload: [String: JSONValue], up: Bool
    ) throws(AuthenticationError) -> Int64? {
        switch payload[name] {
        case nil:
            return nil
        case .integer(let seconds) where seconds.magnitude < 1 << 52:
            return seconds
        case .number(let seconds) where seconds.magnitude < 0x1p52:
            return Int64(seconds.rounded(up ? .up : .down))
        case .some:
            throw wrongType(name, "a number of seconds since 1970")
        }
    }

    private static func wrongType(_ name: String, _ wanted: String) -> AuthenticationError {
        AuthenticationError(.claims, "The claim \(name) is not \(wanted).")
    }
}

/// What the claims of a token must be: the settings `jwt_issuer`, `jwt_audience`, `jwt_leeway`,
/// `max_token_lifetime`.
public struct TokenRules: Sendable {
    /// `iss` must be this; `nil`: any, or none.
    public var issuer: String?
    /// `aud` must name this; `nil`: there must be no `aud`.
    public var audience: String?
    /// How far clocks may differ, in seconds.
    public var leeway: Int64
    /// For how long a token may be good, in seconds; revocations are kept as long.
    public var maximumLifetime: Int64

    /// Creates rules.
    public init(
        issuer: String? = nil, audience: String? = nil, leeway: Int64 = 30,
        maximumLifetime: Int64 = 30 * 86_400
    ) {
        self.issuer = issuer
        self.audience = audience
        self.leeway = leeway
        self.maximumLifetime = maximumLifetime
    }

    /// The rules that the settings say.
    public init(_ configuration: Configuration) {
        let text: (String) -> String? = { $0.isEmpty ? nil : $0 }
        self.init(
            issuer: text(configuration.jwtIssuer), audience: text(configuration.jwtAudience),
            leeway: configuration.jwtLeeway.components.seconds,
            maximumLifetime: configuration.maxTokenLifetime.components.seconds)
    }

    /// How long a revocation can matter: the last token that it concerns was issued in its second, and
    /// is accepted until `leeway` past its end.
    public var revocationLifetime: Int64 { maximumLifetime + leeway + 1 }

    /// Throws unless the claims are good at a Unix second.
    public func check(_ claims: TokenClaims, now: Int64) throws(AuthenticationError) {
        guard now < claims.expiresAt + leeway else {
            throw AuthenticationError(
                .expired, "The token expired \(now - claims.expiresAt) s ago.")
        }
        if let notBefore = claims.notBefore, notBefore > now + leeway {
            throw AuthenticationError(
                .early, "The token is good only in \(notBefore - now) s: see nbf.")
        }
        if let issuedAt = claims.issuedAt, issuedAt > now + leeway {
            throw AuthenticationError(
                .early, "The token says that it will be issued in \(issuedAt - now) s: see iat.")
        }
        // From its issue where that is known: else a token of a year would be refused for eleven months
        // and then accepted, when a revocation of it has been forgotten.
        guard claims.expiresAt - (claims.issuedAt ?? now) <= maximumLifetime else {
            throw AuthenticationError(
                .lifetime,
                "The token is good for longer than the \(maximumLifetime) s that max_token_lifetime allows."
            )
        }
        try checkParties(claims)
    }

    private func checkParties(_ claims: TokenClaims) throws(AuthenticationError) {
        if let issuer {
            guard let given = claims.issuer, given.isIdentical(to: issuer) else {
                throw AuthenticationError(.issuer, "The claim iss is not the issuer set here.")
            }
        }
        switch (audience, claims.audience) {
        case (let wanted?, let given):
            guard given?.contains(where: { $0.isIdentical(to: wanted) }) ?? false else {
                throw AuthenticationError(.audience, "The claim aud does not name this service.")
            }
        case (nil, .some):
            // RFC 7519, section 4.1.3: who is not named must refuse.
            throw AuthenticationError(
                .audience, "The token is for the audience aud names, and jwt_audience is not set.")
        case (nil, nil):
            break
        }
    }
}
