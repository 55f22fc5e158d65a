/// The way in that a request uses.
public enum Credentials: Sendable, Equatable {
    /// A token, in `Authorization` or in the cookie.
    case token(String)
    /// A single-use ticket, in the query of a stream.
    case ticket(String)

    /// The name of the cookie; the prefix has browsers take it from the very host and by TLS only.
    public static let cookieName = "__Host-event-service"

    /// Finds the way in; throws if there is none, or more than one that somebody chose.
    ///
    /// A cookie comes by itself, so it counts only where nothing else was given, and only from a page of
    /// this very origin.
    ///
    /// - Parameter takesTicket: whether `sse_token` of the query is a way in here.
    public init(
        _ request: HTTPRequest, query: QueryString, takesTicket: Bool
    ) throws(AuthenticationError) {
        let authorizations = request.fields.filter { $0.name == "authorization" }.map(\.value)
        let tickets = takesTicket ? query.values(of: "sse_token") : []
        let bearers = authorizations.compactMap(Self.bearer)
        guard authorizations.count <= 1, bearers.count + tickets.count <= 1 else {
            throw AuthenticationError(
                .ambiguous,
                "One token is enough: Authorization and sse_token are given, or twice one.")
        }
        if let token = bearers.first {
            self = .token(token)
        } else if let ticket = tickets.first {
            self = .ticket(ticket)
        } else if let cookie = try Self.cookie(request) {
            self = .token(cookie)
        } else {
            let isInQuery = !query.values(of: "access_token").isEmpty
            throw AuthenticationError(
                .missing,
                isInQuery
                    ? "A token in a URL is never read: send it as Authorization: Bearer, or get a ticket."
                    : "A token is required.")
        }
    }

    /// The token of `Bearer TOKEN`; `nil` for another scheme.
    private static func bearer(_ authorization: String) -> String? {
        let parts = authorization.split(
            separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts[0].lowercased() == "bearer" else { return nil }
        return parts.count == 2 ? parts[1].trimmingBlanks() : ""
    }

    private static func cookie(_ request: HTTPRequest) throws(AuthenticationError) -> String? {
        let values = request.fields.filter { $0.name == "cookie" }
            .flatMap { $0.value.split(separator: ";") }.map { $0.trimmingBlanks() }
            .filter { $0.begins(with: cookieName + "=") }
            .map { String($0.dropFirst(cookieName.count + 1)) }
        guard let value = values.first else { return nil }
        guard values.count == 1 else {
            throw AuthenticationError(.cookie, "The cookie is there more than once.")
        }
        guard isFromOwnOrigin(request) else {
            throw AuthenticationError(
                .cookie, "The cookie counts only on requests of this origin; send Authorization.")
        }
        return value
    }

    /// Whether a page of this very origin sent a request, or no page did.
    ///
    /// `Sec-Fetch-Site` is the browser's own word. One that does not send it sends `Origin` with
    /// everything but a plain GET of its own page.
    static func isFromOwnOrigin(_ request: HTTPRequest) -> Bool {
        let sites = request.fields.filter { $0.name == "sec-fetch-site" }
        guard sites.isEmpty else { return sites.count == 1 && sites[0].value == "same-origin" }
        let origins = request.fields.filter { $0.name == "origin" }
        guard !origins.isEmpty else { return request.method == "GET" || request.method == "HEAD" }
        guard origins.count == 1, let host = request.value(of: "host"),
            let origin = Origin(origins[0].value)
        else { return false }
        return origin.isAt(host: host)
    }
}
