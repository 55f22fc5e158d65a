/// Why a request was not authenticated: what is counted, logged, and – where that helps nobody else –
/// told.
public struct AuthenticationError: Error, Sendable, Equatable {
    /// What the failure is counted under.
    public enum Cause: String, Sendable, CaseIterable {
        /// No token came.
        case missing
        /// Two ways in were used at once.
        case ambiguous
        /// It is not a token in form.
        case malformed
        /// Its algorithm is not that of a key.
        case algorithm
        /// None of the keys is the one that it names.
        case key
        /// The signature is not that of the key.
        case signature
        /// A claim is missing, or of the wrong type.
        case claims
        /// `exp` has passed.
        case expired
        /// `nbf` or `iat` is still to come.
        case early
        /// It is good for longer than `max_token_lifetime`.
        case lifetime
        /// `iss` is not `jwt_issuer`.
        case issuer
        /// `aud` does not name `jwt_audience`.
        case audience
        /// It was revoked.
        case revoked
        /// `session_check` said no.
        case session
        /// The ticket is used, void, or none.
        case ticket
        /// A cookie came from another site.
        case cookie
    }

    /// What the failure is counted under.
    public let cause: Cause
    /// What is wrong, for the log; holds nothing of the token but what it says of itself in public.
    public let detail: String

    /// Creates an error.
    public init(_ cause: Cause, _ detail: String) {
        self.cause = cause
        self.detail = detail
    }

    /// What the client is told.
    ///
    /// All that lies before a good signature has one answer, so that trying tells nothing about keys;
    /// behind it stands somebody with a token of the issuer's, who is told what to mend.
    public var publicDetail: String {
        switch cause {
        case .algorithm, .key, .signature:
            "The token cannot be verified: its signature is not of a key that is accepted here."
        case .missing, .ambiguous, .malformed, .claims, .expired, .early, .lifetime, .issuer,
            .audience, .revoked, .session, .ticket, .cookie:
            detail
        }
    }

    /// The answer: 401 with a challenge (RFC 6750, section 3), or 400 for two ways in at once.
    public var problem: Problem {
        switch cause {
        case .ambiguous:
            Problem(
                400, "ambiguous-credentials", publicDetail,
                fields: [Challenge.field(error: "invalid_request", publicDetail)])
        case .missing, .cookie:
            // Without a token the challenge names no error (RFC 6750, section 3.1).
            Problem(401, "unauthorized", publicDetail, fields: [Challenge.field()])
        case .malformed, .algorithm, .key, .signature, .claims, .expired, .early, .lifetime,
            .issuer, .audience, .revoked, .session, .ticket:
            Problem(
                401, "invalid-token", publicDetail,
                fields: [Challenge.field(error: "invalid_token", publicDetail)])
        }
    }
}

/// The field `WWW-Authenticate`.
public enum Challenge {
    /// The field; an error is described by characters that RFC 6750 allows, others are replaced.
    public static func field(
        error: StaticString? = nil, _ description: String = "", scope: String? = nil
    ) -> HTTPField {
        var value = "Bearer realm=\"event-service\""
        if let error { value += ", error=\"\(error)\"" }
        if !description.isEmpty {
            let allowed = description.unicodeScalars.map { scalar -> Character in
                let isAllowed =
                    (0x20...0x7E).contains(scalar.value) && scalar != "\"" && scalar != "\\"
                return isAllowed ? Character(scalar) : "'"
            }
            value += ", error_description=\"\(String(allowed))\""
        }
        if let scope { value += ", scope=\"\(scope)\"" }
        return HTTPField(name: "WWW-Authenticate", value: value)
    }
}

extension Problem {
    /// The token is good, but lacks a scope.
    public static func insufficientScope(_ scope: Scope) -> Problem {
        let detail = "The token lacks the scope \(scope.rawValue)."
        return Problem(
            403, "insufficient-scope", detail,
            fields: [
                Challenge.field(error: "insufficient_scope", detail, scope: scope.rawValue)
            ])
    }

    /// The token is good, but does not grant what was asked for.
    public static func notGranted(_ kind: String, _ detail: String) -> Problem {
        Problem(
            403, kind, detail,
            fields: [
                Challenge.field(error: "insufficient_scope", "The token does not grant this.")
            ])
    }
}
