import EventCore

/// Decides what a request may see and do.
struct Authenticator: Sendable {
    let mode: AuthMode

    /// What the bearer of a request's token may do; throws a 401.
    func grants(of request: HTTPRequest) throws(Problem) -> Grants {
        switch mode {
        case .none:
            return .all
        case .required:
            throw Problem(
                401, "unauthorized", "A token is required.",
                fields: [
                    HTTPField(name: "WWW-Authenticate", value: "Bearer realm=\"event-service\"")
                ])
        }
    }

    /// The token is good, but not for this.
    func insufficientScope(_ scope: String) -> Problem {
        Problem(
            403, "insufficient-scope", "The token lacks the scope \(scope).",
            fields: [
                HTTPField(
                    name: "WWW-Authenticate",
                    value:
                        "Bearer realm=\"event-service\", error=\"insufficient_scope\", scope=\"\(scope)\""
                )
            ])
    }
}
