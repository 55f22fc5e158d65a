/// One call of `event_service.revoke`: whatever is not `nil` must match.
public struct Revocation: Sendable, Hashable {
    /// A token's `sub`.
    public var user: String?
    /// A token's `sid`.
    public var session: String?
    /// A token's `jti`.
    public var tokenID: String?
    /// The Unix second in which it was revoked.
    public var second: Int64

    /// Creates a revocation.
    public init(
        user: String? = nil, session: String? = nil, tokenID: String? = nil, second: Int64
    ) {
        self.user = user
        self.session = session
        self.tokenID = tokenID
        self.second = second
    }
}

/// The revocations that are in force.
///
/// A token is refused when all that a revocation names is the token's, and the token was issued no later
/// than in the second of the revocation, or does not say when – or when the revocation names the very
/// token. Of revocations of the same names the latest counts, so the table holds one entry for each that
/// was ever revoked within `max_token_lifetime`, about 200 bytes.
public struct RevocationTable: Sendable {
    private struct Names: Hashable {
        var user: ExactText?
        var session: ExactText?
        var tokenID: ExactText?
    }

    private var seconds: [Names: Int64] = [:]

    /// Creates a table without entries.
    public init() {}

    /// How many entries there are.
    public var count: Int { seconds.count }

    /// Adds a revocation; `false` if it changes nothing.
    @discardableResult
    public mutating func insert(_ revocation: Revocation) -> Bool {
        let names = Names(
            user: revocation.user.map(ExactText.init),
            session: revocation.session.map(ExactText.init),
            tokenID: revocation.tokenID.map(ExactText.init))
        // Such a one would match every token; the database lets none in.
        guard names.user != nil || names.session != nil || names.tokenID != nil else {
            return false
        }
        if let known = seconds[names], known >= revocation.second { return false }
        seconds[names] = revocation.second
        return true
    }

    /// Forgets what was revoked before a Unix second.
    public mutating func removeAll(before second: Int64) {
        seconds = seconds.filter { $0.value >= second }
    }

    /// Whether a token is refused.
    public func refuses(_ identity: TokenIdentity) -> Bool {
        guard !seconds.isEmpty else { return false }
        let users = [nil, identity.user.map(ExactText.init)]
        let sessions = [nil, identity.session.map(ExactText.init)]
        let tokens = [nil, identity.tokenID.map(ExactText.init)]
        for user in users.prefix(identity.user == nil ? 1 : 2) {
            for session in sessions.prefix(identity.session == nil ? 1 : 2) {
                for tokenID in tokens.prefix(identity.tokenID == nil ? 1 : 2) {
                    let names = Names(user: user, session: session, tokenID: tokenID)
                    guard let second = seconds[names] else { continue }
                    if tokenID != nil || identity.issuedAt.map({ $0 <= second }) ?? true {
                        return true
                    }
                }
            }
        }
        return false
    }
}
