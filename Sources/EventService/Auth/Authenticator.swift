import EventCore

/// Finds out whose a request is, and what it may see and do.
///
/// ```
///  request ─▶ credentials ─┬─ token ──▶ signature ─▶ claims ─┬─▶ revoked? ─▶ session_check? ─▶ principal
///                          │              └ unknown key: waits for fresh keys, once
///                          └─ ticket ─▶ database: claims ────┘
/// ```
/// With keys at hand and no `session_check` a token is decided at once, without leaving the loop.
/// Belongs to one worker.
final class Authenticator {
    /// Goes on with a request once it is known whose it is.
    typealias Continuation = (Principal) throws(Problem) -> Void

    private let mode: AuthMode
    private let rules: TokenRules
    private let sessions: SessionChecks?
    private let state: AccessState
    private let client: LogClient
    private let keyRequests: KeyRequests?
    private let log: Log
    private let now: () -> MonotonicTime
    private let secretKeys: [VerificationKey]
    private var verifier: TokenVerifier
    /// Whether all keys that are set have been read once.
    private var hasAllKeys: Bool
    /// Requests whose tokens name keys that are being fetched.
    private var parked: [(exchange: HTTPExchange, token: String, then: Continuation)] = []

    /// How many requests may wait for keys; more are refused.
    private static let mostParked = 1024

    init(
        _ configuration: Configuration, state: AccessState, client: LogClient,
        sessions: SessionChecks?, keyRequests: KeyRequests?, log: Log,
        now: @escaping () -> MonotonicTime
    ) {
        mode = configuration.auth
        rules = TokenRules(configuration)
        self.state = state
        self.client = client
        self.sessions = sessions
        self.keyRequests = keyRequests
        self.log = log
        self.now = now
        secretKeys = configuration.secretKeys
        verifier = TokenVerifier(KeySet(secretKeys))
        hasAllKeys = keyRequests == nil
    }

    /// Calls `then` with the principal of a request, now or later, or answers it with a problem.
    ///
    /// - Parameter takesTicket: whether `sse_token` of the query is a way in here.
    func authenticate(
        _ exchange: HTTPExchange, query: QueryString, takesTicket: Bool = false,
        then: @escaping Continuation
    ) throws(Problem) {
        guard mode == .required else { return try then(.anyone) }
        do throws(AuthenticationError) {
            switch try Credentials(exchange.request, query: query, takesTicket: takesTicket) {
            case .token(let token): check(token, exchange, mayWait: true, then)
            case .ticket(let text): redeem(text, exchange, then)
            }
        } catch {
            refuse(exchange, error)
        }
    }

    // MARK: Tokens

    private func check(
        _ token: String, _ exchange: HTTPExchange, mayWait: Bool, _ then: @escaping Continuation
    ) {
        do throws(AuthenticationError) {
            admit(try verifier.claims(of: token), exchange, then)
        } catch {
            guard error.cause == .key, let keyRequests else { return refuse(exchange, error) }
            if mayWait, parked.count < Self.mostParked {
                parked.append((exchange, token, then))
                if parked.count == 1 { keyRequests.ask() }
            } else if hasAllKeys {
                refuse(exchange, error)
            } else {
                exchange.refuse(
                    .unavailable(
                        "keys", "The keys of tokens have not been read yet.", retryAfter: 2))
            }
        }
    }

    /// Keys have come, or are still the same; who waited for them is served.
    ///
    /// - Parameter set: `nil` as long as none was read.
    func keysCame(_ set: KeySet?) {
        if let set {
            hasAllKeys = true
            let all = KeySet(secretKeys + set.keys)
            if all != verifier.keys { verifier = TokenVerifier(all) }
        }
        let waiting = parked
        parked = []
        for entry in waiting { check(entry.token, entry.exchange, mayWait: false, entry.then) }
    }

    // MARK: Tickets

    private func redeem(_ text: String, _ exchange: HTTPExchange, _ then: @escaping Continuation) {
        guard let ticket = Ticket(text) else {
            let detail =
                text.contains(".")
                ? "sse_token takes a ticket of POST /api/v1/auth/sse-token, never a token."
                : "sse_token is not a ticket."
            return refuse(exchange, AuthenticationError(.ticket, detail))
        }
        client.send(.access(.redeemTicket(hash: ticket.hash))) { [weak self] reply in
            guard let self else { return }
            guard case .access(.redeemed(let json)) = reply else {
                return exchange.refuse(Self.databaseIsAway)
            }
            do throws(AuthenticationError) {
                guard let json, let members = JoseJSON.value(of: json)?.members else {
                    throw AuthenticationError(
                        .ticket, "The ticket was used, has expired, or its token is revoked.")
                }
                admit(try TokenClaims(members), exchange, then)
            } catch {
                refuse(exchange, error)
            }
        }
    }

    /// Answers `POST /api/v1/auth/sse-token`: a ticket that stands for the token of the request.
    func issueTicket(_ exchange: HTTPExchange, _ principal: Principal) throws(Problem) {
        guard let ticket = Ticket.new() else { throw Self.databaseIsAway }
        // With auth=none it is given, and will be ignored.
        guard let claims = principal.claims else { return exchange.respond(ticket.response) }
        let text = String(decoding: claims.json, as: UTF8.self)
        client.send(.access(.issueTicket(hash: ticket.hash, claims: text))) { [state] reply in
            switch reply {
            case .access(.issued(true)):
                exchange.respond(ticket.response)
            case .access(.issued(false)):
                state.count(.access(.tickets))
                exchange.refuse(
                    .tooMany(
                        "too-many-tickets", "100 tickets of this user wait to be used.",
                        retryAfter: .seconds(60)))
            case .access, .located, .page, .event, .published, .refused, .unavailable:
                exchange.refuse(Self.databaseIsAway)
            }
        }
    }

    // MARK: Whoever it is

    /// The claims are the issuer's: whether they are good now, and still.
    private func admit(
        _ claims: TokenClaims, _ exchange: HTTPExchange, _ then: @escaping Continuation
    ) {
        let second = MonotonicClock.unixSecond()
        do throws(AuthenticationError) {
            try rules.check(claims, now: second)
            let principal = Principal(claims, now: second, leeway: rules.leeway)
            guard try !isUnknown(principal) else { return exchange.refuse(Self.databaseIsAway) }
            guard let sessions, let identity = principal.identity else {
                return proceed(principal, exchange, then)
            }
            sessions.ask([identity]) { [weak self] answers in
                guard let self else { return }
                switch answers.first {
                case .open: proceed(principal, exchange, then)
                case .closed:
                    refuse(exchange, AuthenticationError(.session, "The session is over."))
                case .unknown, nil:
                    exchange.refuse(
                        .unavailable(
                            "session-check", "It cannot be found out whether the session is open.",
                            retryAfter: 2))
                }
            }
        } catch {
            refuse(exchange, error)
        }
    }

    /// Throws if a principal's token is revoked; true while revocations have not been read.
    private func isUnknown(_ principal: Principal) throws(AuthenticationError) -> Bool {
        guard let identity = principal.identity else { return false }
        guard let isRefused = state.refuses(identity) else { return true }
        if isRefused { throw Self.revoked }
        return false
    }

    private func proceed(
        _ principal: Principal, _ exchange: HTTPExchange, _ then: Continuation
    ) {
        do throws(Problem) {
            try then(principal)
        } catch {
            if error.status == 403 { state.count(.access(.notGranted)) }
            exchange.refuse(error)
        }
    }

    /// Looks once more when the log has been asked, before anything of it is shown or a stream opens:
    /// meanwhile the node may have heard of a revocation that it could not apply to what was not open yet.
    func recheck(_ principal: Principal, _ exchange: HTTPExchange) -> Bool {
        do throws(AuthenticationError) {
            _ = try isUnknown(principal)
            return true
        } catch {
            refuse(exchange, error)
            return false
        }
    }

    static let revoked = AuthenticationError(.revoked, "The token is revoked.")
    private static let databaseIsAway = Problem.unavailable(
        "database", "Tokens cannot be checked at present.", retryAfter: 2)

    /// Answers a failure, and slows down who fails too often: a good token is never refused for that.
    func refuse(_ exchange: HTTPExchange, _ error: AuthenticationError) {
        let wait = state.authenticationFailed(error.cause, by: exchange.address, now: now())
        let fields: KeyValuePairs<String, String> = [
            "request": exchange.requestID, "address": exchange.address,
            "cause": error.cause.rawValue, "detail": error.detail,
        ]
        guard let wait else {
            log.info("auth: refused", fields)
            return exchange.refuse(error.problem)
        }
        log.debug("auth: refused, too many failures", fields)
        exchange.refuse(
            .tooMany(
                "too-many-failures", "This address has failed to authenticate too often.",
                retryAfter: wait))
    }
}

extension Configuration {
    /// The key of `jwt_secret`, if it is set.
    var secretKeys: [VerificationKey] {
        VerificationKey(secret: jwtSecret).map { [$0] } ?? []
    }
}
