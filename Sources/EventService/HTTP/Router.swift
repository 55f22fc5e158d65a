import EventCore

/// What the handlers of one loop share.
final class ServerContext {
    let configuration: Configuration
    let stream: StreamContext
    let authenticator: Authenticator
    let access: AccessState
    let files: StaticFiles
    let nextID: () -> String
    fileprivate let crossOrigin: CrossOriginRules
    fileprivate let proxies: ForwardedAddress
    let metrics: MetricsCollector
    let admin: AdminHandler
    /// Whether the service is about to stop.
    var isDraining = false

    init(
        configuration: Configuration, stream: StreamContext, authenticator: Authenticator,
        access: AccessState, files: StaticFiles, nextID: @escaping () -> String,
        metrics: MetricsCollector, admin: AdminHandler
    ) {
        self.configuration = configuration
        self.stream = stream
        self.authenticator = authenticator
        self.access = access
        self.files = files
        self.nextID = nextID
        crossOrigin = CrossOriginRules(configuration.allowedOrigins)
        proxies = ForwardedAddress(trusted: configuration.trustedProxies)
        self.metrics = metrics
        self.admin = admin
    }

    var hub: HubShard { stream.hub }
    var client: LogClient { stream.client }

    /// Lets in what stays open, unless there are as many as there may be: of all, of this user, of this
    /// address. Nobody who is in has to go for another.
    func admitStream(_ exchange: HTTPExchange, _ principal: Principal) throws(Problem) -> Tenure {
        guard !exchange.isPastCap else {
            access.count(.access(.maxConnections))
            throw .unavailable(
                "too-many-connections", "The service holds as many connections as it may.",
                retryAfter: Int.random(in: 1...5))
        }
        let place = try access.admitStream(
            user: principal.identity?.user, address: exchange.address)
        return Tenure(principal, place: place)
    }

    /// What `/readyz` says.
    var unready: [UnreadyReason] { hub.unready }
}

/// Finds who answers a request, and refuses what nobody answers.
final class Router: HTTPRequestHandler {
    private let server: ServerContext
    private let listener: AcceptedBy

    init(_ server: ServerContext, listener: AcceptedBy) {
        self.server = server
        self.listener = listener
    }

    func handle(_ exchange: HTTPExchange) {
        let request = exchange.request
        exchange.address = server.proxies.client(of: request, peer: exchange.address)
        exchange.commonFields = commonFields(origin: request.value(of: "origin"))
        do throws(Problem) {
            try route(exchange)
        } catch {
            exchange.refuse(error)
        }
    }

    private func route(_ exchange: HTTPExchange) throws(Problem) {
        let request = exchange.request
        try checkHost(request)
        if request.path == "*" {
            return exchange.respond(
                HTTPResponse(
                    204, fields: [HTTPField(name: "Allow", value: "GET, HEAD, POST, OPTIONS")]))
        }
        let route = Route(path: request.path)
        exchange.routeName = route.name
        let file = try find(route)
        let allow = HTTPField(name: "Allow", value: route.methods.joined(separator: ", "))
        guard route.methods.contains(request.method) else {
            throw Problem(
                405, "method-not-allowed", "\(request.path) does not answer \(request.method).",
                fields: [allow])
        }
        guard request.method != "OPTIONS" else {
            let preflight = server.crossOrigin.preflightFields(request, methods: route.methods)
            return exchange.respond(HTTPResponse(204, fields: [allow] + preflight))
        }
        guard let query = QueryString(request.query) else {
            throw .badRequest("The query is not percent-encoded UTF-8.")
        }
        switch route {
        case .live:
            exchange.respond(.json(Array("{\"live\":true}".utf8)))
        case .ready:
            respondReady(exchange)
        case .metrics:
            server.metrics.answer(exchange)
        case .connections:
            try authenticate(exchange, query, .admin) { [server] _ throws(Problem) in
                if request.method == "DELETE" {
                    server.admin.end(try StreamSelection(query: query), exchange)
                } else {
                    server.admin.list(exchange)
                }
            }
        case .stream:
            try server.access.streamAsked(by: exchange.address, now: server.stream.loop.now)
            try authenticate(exchange, query, .read, takesTicket: true) {
                [server] principal throws(Problem) in
                try StreamHandler(server, exchange).handle(query, principal)
            }
        case .history:
            try authenticate(exchange, query, .read) { [server] principal throws(Problem) in
                try HistoryHandler(server, exchange).handle(query, principal)
            }
        case .event(let id):
            try authenticate(exchange, query, .read) { [server] principal throws(Problem) in
                try EventHandler(server, exchange).handle(id: id, principal)
            }
        case .publish:
            try authenticate(exchange, query, .publish) { [server] principal throws(Problem) in
                try PublishHandler(server, exchange).handle(principal)
            }
        case .ticket:
            try authenticate(exchange, query, .read) { [server] principal throws(Problem) in
                try server.authenticator.issueTicket(exchange, principal)
            }
        case .file:
            if let file { exchange.respond(file.response(to: request)) }
        }
    }

    /// What does not exist is 404 whatever the method.
    private func find(_ route: Route) throws(Problem) -> StaticFile? {
        switch (route, listener) {
        case (.live, _), (.ready, _), (.metrics, .opsListener), (.connections, .opsListener):
            return nil
        case (_, .opsListener), (.metrics, .publicListener), (.connections, .publicListener):
            throw .notFound
        case (.file(let path), .publicListener):
            guard let file = server.files.file(at: path) else { throw .notFound }
            return file
        case (.stream, _), (.history, _), (.event, _), (.publish, _), (.ticket, _):
            return nil
        }
    }

    /// Without tokens, the service answers only what is said to this very machine: a page of another
    /// site that has its own name resolve to 127.0.0.1 sends that name as `Host`.
    private func checkHost(_ request: HTTPRequest) throws(Problem) {
        guard server.configuration.auth == .none, !server.configuration.allowInsecure else {
            return
        }
        let host = request.value(of: "host") ?? ""
        let name = HostName.withoutPort(host)
        guard ListenAddress.isLoopback(host: name) || (host.isEmpty && request.minorVersion == 0)
        else {
            throw Problem(
                421, "misdirected-request",
                "With auth=none only requests to localhost are answered, not to \"\(name.prefix(64))\"."
            )
        }
    }

    /// Goes on with a request whose bearer has a scope.
    private func authenticate(
        _ exchange: HTTPExchange, _ query: QueryString, _ scope: Scope, takesTicket: Bool = false,
        then: @escaping Authenticator.Continuation
    ) throws(Problem) {
        try server.authenticator.authenticate(exchange, query: query, takesTicket: takesTicket) {
            principal throws(Problem) in
            guard principal.grants.scopes.contains(scope) else { throw .insufficientScope(scope) }
            try then(principal)
        }
    }

    func commonFields(origin: String?) -> [HTTPField] {
        listener == .publicListener ? server.crossOrigin.fields(for: origin) : []
    }

    private func respondReady(_ exchange: HTTPExchange) {
        let reasons = server.unready
        exchange.respond(
            .json(
                UnreadyReason.json(ready: reasons.isEmpty, reasons: reasons),
                status: reasons.isEmpty ? 200 : 503))
    }
}
