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

    func handle(_ query: QueryString, _ grants: Grants) throws(Problem) {
        guard ContentNegotiation.accepts("text/event-stream", exchange.request) else {
            throw Problem(406, "not-acceptable", "The stream is text/event-stream.")
        }
        let parameters = try StreamParameters(exchange.request, query: query)
        let subscription = try Subscription.checked(grants: grants, filter: parameters.filter)
        if exchange.request.method == "HEAD" {
            return exchange.respond(Self.response)
        }
        try server.checkCap(exchange)
        let opening = StreamOpening(parameters, subscription)
        try StreamLocator(server, exchange).locate(opening) { page, start, bounds in
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
            id: id, connection: connection, context: server.stream,
            isChunked: exchange.request.minorVersion >= 1)
        exchange.stream(Self.response, body: stream)
        let session = stream.open(
            opening.subscription, gap: opening.parameters.gap, start: cursor)
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

    init(_ parameters: StreamParameters, _ subscription: Subscription) {
        self.parameters = parameters
        self.subscription = subscription
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

/// Finds out where a stream, or a page of history, begins.
///
/// A cursor within the ring needs nobody; anything else is asked of the database, whose head and floor
/// decide: a node's own may be old. The first page comes with the answer, so that a floor that has risen
/// meanwhile is told as such.
struct StreamLocator {
    private let server: ServerContext
    private let exchange: HTTPExchange

    init(_ server: ServerContext, _ exchange: HTTPExchange) {
        self.server = server
        self.exchange = exchange
    }

    /// Calls `completion` with a first page, if one was read, where the stream begins, and the bounds by
    /// which that was decided – now, or later; or answers with a problem.
    func locate(
        _ opening: StreamOpening,
        completion: @escaping (LogPage?, StreamStart, LogBounds) -> Void
    ) throws(Problem) {
        guard !server.isDraining else {
            throw .unavailable("draining", "The service is about to stop.", retryAfter: 1)
        }
        guard let bounds = server.hub.bounds else { throw Self.databaseIsAway }
        let ring = server.hub.ring
        switch opening.parameters.start {
        case .now, .malformed:
            let start = bounds.start(opening.parameters.start, gap: opening.parameters.gap)
            if start.position >= ring.low { return completion(nil, start, bounds) }
            readFirst(opening, start, bounds, completion)
        case .after(let cursor):
            if bounds.history.contains(cursor), (ring.low...ring.head).contains(cursor.position) {
                let start = StreamStart(position: cursor.position, resumed: .complete)
                return completion(nil, start, bounds)
            }
            ask(opening, time: nil, completion)
        case .earliest:
            ask(opening, time: nil, completion)
        case .time(let time):
            ask(opening, time: time, completion)
        }
    }

    private static let databaseIsAway = Problem.unavailable(
        "database", "The log cannot be read at present.", retryAfter: 2)

    private func ask(
        _ opening: StreamOpening, time: Timestamp?,
        _ completion: @escaping (LogPage?, StreamStart, LogBounds) -> Void
    ) {
        server.client.send(.locate(time)) { reply in
            // A history that differs from this node's: the log forked, and the node is not attached to
            // what came of it yet.
            guard case .located(let bounds, let positionBefore) = reply,
                bounds.history == server.hub.bounds?.history
            else { return exchange.refuse(Self.databaseIsAway) }
            let start = bounds.start(
                opening.parameters.start, gap: opening.parameters.gap,
                positionBefore: positionBefore)
            if start.position >= server.hub.ring.low {
                completion(nil, start, bounds)
            } else {
                readFirst(opening, start, bounds, completion)
            }
        }
    }

    private func readFirst(
        _ opening: StreamOpening, _ start: StreamStart, _ bounds: LogBounds,
        _ completion: @escaping (LogPage?, StreamStart, LogBounds) -> Void
    ) {
        let request = PageRequest(
            after: start.position, ringLow: server.hub.ring.low, opening.subscription)
        server.client.send(.page(request)) { reply in
            guard case .page(let page) = reply else {
                return exchange.refuse(Self.databaseIsAway)
            }
            var bounds = bounds
            bounds.floor = max(bounds.floor, page.floor)
            bounds.head = max(bounds.head, page.head)
            guard page.floor - 1 > start.position else { return completion(page, start, bounds) }
            // The floor rose between the two answers.
            if case .earliest = opening.parameters.start {
                completion(nil, bounds.start(.earliest, gap: opening.parameters.gap), bounds)
            } else {
                completion(nil, bounds.reset(.expired, opening.parameters.gap), bounds)
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
            throw Problem(
                403, "context-not-granted",
                "The token does not grant the context \"\(error.name)\".")
        }
    }
}
