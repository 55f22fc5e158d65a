import EventCore

/// Answers `GET /api/v1/events/stream`.
struct StreamHandler {
    private let server: ServerContext
    private let exchange: HTTPExchange

    /// What a client is told to wait before it connects again after an end that nobody planned.
    static let retryMilliseconds = 2000

    init(_ server: ServerContext, _ exchange: HTTPExchange) {
        self.server = server
        self.exchange = exchange
    }

    func handle(_ query: QueryString, _ principal: Principal) throws(Problem) {
        guard ContentNegotiation.accepts("text/event-stream", exchange.request) else {
            throw Problem(406, "not-acceptable", "The stream is text/event-stream.")
        }
        let parameters = try StreamParameters(exchange.request, query: query)
        let subscription = try Subscription.checked(
            grants: principal.grants, filter: parameters.filter)
        if exchange.request.method == "HEAD" {
            return exchange.respond(Self.response)
        }
        let tenure = try server.admitStream(exchange, principal)
        let opening = StreamOpening(parameters, subscription, tenure)
        try StreamOpener(server, exchange).locate(opening) { page, start, bounds in
            guard server.authenticator.recheck(principal, exchange) else { return }
            begin(opening, start: start, bounds: bounds, page: page)
        }
    }

    private static var response: HTTPResponse {
        var response = HTTPResponse(
            200,
            fields: [
                HTTPField(name: "Content-Type", value: "text/event-stream"),
                HTTPField(name: "Cache-Control", value: "no-store, no-transform"),
                HTTPField(name: "X-Accel-Buffering", value: "no"),
            ])
        response.isStream = true
        return response
    }

    private func begin(
        _ opening: StreamOpening, start: StreamStart, bounds: LogBounds, page: LogPage?
    ) {
        guard let connection = exchange.connection else { return }
        let cursor = bounds.history.cursor(at: start.position)
        let id = server.nextID()
        let stream = StreamConnection(
            id: id, address: exchange.address, connection: connection, context: server.stream,
            isChunked: exchange.request.minorVersion >= 1)
        exchange.stream(Self.response, body: stream)
        server.stream.counts.opened[start.resumed, default: 0] += 1
        let session = stream.open(opening, start: cursor)
        let open = StreamOpen(
            connectionID: id, time: MonotonicClock.date(),
            heartbeatMilliseconds: server.configuration.heartbeat.wholeMilliseconds,
            resumed: start.resumed, cursor: cursor, head: bounds.headCursor,
            retryMilliseconds: Self.retryMilliseconds)
        server.stream.log.info(
            "stream: opened",
            [
                "id": id, "request": exchange.requestID, "address": exchange.address,
                "cursor": "\(cursor)", "resumed": start.resumed.rawValue,
            ])
        session.begin(
            open: open, reset: opening.reset(start, bounds, cursor: cursor), page: page,
            now: server.stream.loop.now)
    }
}

/// What a request wants, before it is known where it begins.
struct StreamOpening {
    let parameters: StreamParameters
    let subscription: Subscription
    let tenure: Tenure

    init(_ parameters: StreamParameters, _ subscription: Subscription, _ tenure: Tenure) {
        self.parameters = parameters
        self.subscription = subscription
        self.tenure = tenure
    }

    /// What the client is told of a position that cannot be served.
    func reset(_ start: StreamStart, _ bounds: LogBounds, cursor: Cursor) -> StreamReset? {
        start.reset.map {
            StreamReset(
                reason: $0, requested: parameters.requested, earliest: bounds.earliestCursor,
                head: bounds.headCursor, cursor: cursor)
        }
    }
}

/// Takes the steps that a `StreamLocator` wants, with answers from the database thread.
struct StreamOpener {
    private let server: ServerContext
    private let exchange: HTTPExchange

    init(_ server: ServerContext, _ exchange: HTTPExchange) {
        self.server = server
        self.exchange = exchange
    }

    /// Calls `completion` with where the stream begins, the bounds by which that was decided, and a
    /// first page, if one was read – now, or later; or answers with a problem.
    func locate(
        _ opening: StreamOpening,
        completion: @escaping (LogPage?, StreamStart, LogBounds) -> Void
    ) throws(Problem) {
        guard !server.isDraining else {
            throw .unavailable("draining", "The service is about to stop.", retryAfter: 1)
        }
        var locator = StreamLocator(
            opening.parameters.start, gap: opening.parameters.gap,
            subscription: opening.subscription)
        let hub = server.hub
        let step = locator.begin(
            hub: hub.bounds, ringLow: hub.ring.low, ringHead: hub.ring.head)
        take(step, of: locator, completion)
    }

    private static let databaseIsAway = Problem.unavailable(
        "database", "The log cannot be read at present.", retryAfter: 2)

    private func take(
        _ step: StreamLocator.Step, of locator: StreamLocator,
        _ completion: @escaping (LogPage?, StreamStart, LogBounds) -> Void
    ) {
        var locator = locator
        let hub = server.hub
        switch step {
        case .found(let start, let bounds, let page):
            completion(page, start, bounds)
        case .unavailable:
            exchange.refuse(Self.databaseIsAway)
        case .askBounds(let time):
            server.client.send(.locate(time)) { reply in
                guard case .located(let bounds, let positionBefore) = reply else {
                    return exchange.refuse(Self.databaseIsAway)
                }
                let next = locator.boundsReturned(
                    bounds, positionBefore: positionBefore, hub: hub.bounds?.history,
                    ringLow: hub.ring.low)
                take(next, of: locator, completion)
            }
        case .readPage(let request):
            server.client.send(.page(request)) { reply in
                guard case .page(let page) = reply else {
                    return exchange.refuse(Self.databaseIsAway)
                }
                take(
                    locator.pageReturned(page, hub: hub.bounds?.history), of: locator, completion)
            }
        }
    }
}

extension Subscription {
    /// The subscription of a request; throws a 403 that names the context.
    static func checked(grants: Grants, filter: EventFilter) throws(Problem) -> Subscription {
        do throws(ContextNotGranted) {
            return try Subscription(grants: grants, filter: filter)
        } catch {
            throw .notGranted(
                "context-not-granted",
                "The token does not grant the context \"\(error.name)\".")
        }
    }
}
