/// What `session_check` said of one token.
public enum SessionAnswer: Sendable {
    /// Its session is open.
    case open
    /// It is not.
    case closed
    /// The function raised an error, or could not be asked.
    case unknown
}

/// By whose token a member of the hub is open.
///
/// An object, so that a stream keeps one word of it beside what is touched for every event.
final class Bearer {
    let identity: TokenIdentity
    /// How often in a row it could not be found out whether the session is open.
    var unansweredChecks = 0

    init(_ identity: TokenIdentity) {
        self.identity = identity
    }
}

extension HubShard {
    /// So often in a row may it not be found out whether a session is open; then what is open ends.
    public static let mostUnansweredChecks = 3

    /// Ends what is open by a token that these revocations refuse.
    public func revoke(by revocations: RevocationTable, now: MonotonicTime) {
        forEachMember { member in
            guard let bearer = member.bearer, revocations.refuses(bearer.identity) else { return }
            member.tokenRevoked(now: now)
        }
    }

    /// Whom the tokens name by which something is open, each once.
    public var identities: Set<TokenIdentity> {
        var identities: Set<TokenIdentity> = []
        forEachMember { member in
            if let bearer = member.bearer { identities.insert(bearer.identity) }
        }
        return identities
    }

    /// Ends what is open though its session is not, or though nobody could say so for too long.
    public func sessionsAnswered(_ answers: [TokenIdentity: SessionAnswer], now: MonotonicTime) {
        forEachMember { member in
            guard let bearer = member.bearer, let answer = answers[bearer.identity] else { return }
            switch answer {
            case .open:
                bearer.unansweredChecks = 0
            case .closed:
                member.tokenRevoked(now: now)
            case .unknown:
                bearer.unansweredChecks += 1
                guard bearer.unansweredChecks >= Self.mostUnansweredChecks else { return }
                member.tokenRevoked(now: now)
            }
        }
    }
}
