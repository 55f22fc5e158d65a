import EventCore

/// Answers `GET /api/v1/events/ID`: one event, in full.
struct EventHandler {
    private let server: ServerContext
    private let exchange: HTTPExchange

    init(_ server: ServerContext, _ exchange: HTTPExchange) {
        self.server = server
        self.exchange = exchange
    }

    func handle(id: String, _ principal: Principal) throws(Problem) {
        guard ContentNegotiation.accepts("application/json", exchange.request) else {
            throw Problem(406, "not-acceptable", "An event is application/json.")
        }
        // No event, no such event, not for this caller: one answer, which tells nothing.
        guard let cursor = Cursor(id) else { throw .notFound }
        guard let bounds = server.hub.bounds else { throw Self.databaseIsAway }
        guard bounds.history.contains(cursor) else { throw .notFound }
        let subscription = try Subscription.checked(
            grants: principal.grants, filter: EventFilter())
        server.client.send(.event(cursor.position)) { [exchange, server] reply in
            guard server.authenticator.recheck(principal, exchange) else { return }
            switch reply {
            case .event where server.hub.bounds?.history.contains(cursor) != true:
                // The log has forked meanwhile: the position is another event's.
                exchange.refuse(.notFound)
            case .event(let event?) where subscription.admits(event):
                exchange.respond(.json(EventEncoder.json(of: event, cursor: cursor)))
            case .event:
                exchange.refuse(.notFound)
            case .located, .page, .published, .access, .refused, .unavailable:
                exchange.refuse(Self.databaseIsAway)
            }
        }
    }

    private static let databaseIsAway = Problem.unavailable(
        "database", "The log cannot be read at present.", retryAfter: 2)
}

extension Subscription {
    /// Whether the subscriber sees an event.
    fileprivate func admits(_ event: Event) -> Bool {
        EventType.isSent(event.envelope.type) && admits(event.envelope)
    }
}
