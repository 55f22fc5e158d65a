/// What `session_check` said of one token.
public enum SessionAnswer: Sendable {
    /// Its session is open.
    case open
    /// It is not.
    case closed
    /// The function raised an error, or could not be asked.
    case unknown
}

extension HubShard {
    /// So often in a row may it not be found out whether a session is open; then what is open ends.
    public static let mostUnansweredChecks = 3

    /// Ends what is open by a token that these revocations refuse.
    public func revoke(by revocations: RevocationTable, now: MonotonicTime) {
        forEachMember { member in
            guard let identity = member.identity, revocations.refuses(identity) else { return }
            member.tokenRevoked(now: now)
        }
    }

    /// Whom the tokens name by which something is open, each once.
    public var identities: Set<TokenIdentity> {
        var identities: Set<TokenIdentity> = []
        forEachMember { member in
            if let identity = member.identity { identities.insert(identity) }
        }
        return identities
    }

    /// Ends what is open though its session is not, or though nobody could say so for too long.
    public func sessionsAnswered(_ answers: [TokenIdentity: SessionAnswer], now: MonotonicTime) {
        forEachMember { member in
            guard let answer = member.identity.flatMap({ answers[$0] }) else { return }
            switch answer {
            case .open:
                member.unansweredChecks = 0
            case .closed:
                member.tokenRevoked(now: now)
            case .unknown:
                member.unansweredChecks += 1
                guard member.unansweredChecks >= Self.mostUnansweredChecks else { return }
                member.tokenRevoked(now: now)
            }
        }
    }
}
