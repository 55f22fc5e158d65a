/// Whom a token names: what revocations and session checks go by.
public struct TokenIdentity: Sendable, Hashable {
    /// `sub`, unless it is empty.
    public var user: String?
    /// `sid`, unless it is empty.
    public var session: String?
    /// `jti`, unless it is empty.
    public var tokenID: String?
    /// `iat`: Unix seconds.
    public var issuedAt: Int64?

    /// Creates an identity.
    public init(
        user: String? = nil, session: String? = nil, tokenID: String? = nil,
        issuedAt: Int64? = nil
    ) {
        self.user = user
        self.session = session
        self.tokenID = tokenID
        self.issuedAt = issuedAt
    }

    /// Byte for byte: see `ExactText`.
    public static func == (left: Self, right: Self) -> Bool {
        left.issuedAt == right.issuedAt
            && left.user.map(ExactText.init) == right.user.map(ExactText.init)
            && left.session.map(ExactText.init) == right.session.map(ExactText.init)
            && left.tokenID.map(ExactText.init) == right.tokenID.map(ExactText.init)
    }
}

/// The bearer of a token that was found good, and what it may do.
public struct Principal: Sendable {
    /// What the token says; `nil` with `auth=none`, when there is no token.
    public var claims: TokenClaims?
    /// Whom it names; `nil` with `auth=none`.
    public var identity: TokenIdentity?
    /// When the token's time is over, as a Unix second; `nil`: never.
    public var endsAt: Int64?
    /// What it may see and do.
    public var grants: Grants

    /// Everyone, with `auth=none`.
    public static let anyone = Principal()

    private init() {
        grants = .all
    }

    /// The bearer of a token with claims that were found good at a Unix second.
    ///
    /// What it opens ends at `exp`. A token that was let in past that, within the leeway, is good to the
    /// leeway's end.
    public init(_ claims: TokenClaims, now: Int64, leeway: Int64) {
        self.claims = claims
        let name: (String?) -> String? = { $0.flatMap { $0.isEmpty ? nil : $0 } }
        identity = TokenIdentity(
            user: name(claims.subject), session: name(claims.session),
            tokenID: name(claims.tokenID), issuedAt: claims.issuedAt)
        endsAt = claims.expiresAt > now ? claims.expiresAt : claims.expiresAt + leeway
        grants = Grants(claims)
    }
}
