import EventCore

/// What the handlers of one loop share.
final class ServerContext {
    let configuration: Configuration
    let stream: StreamContext
    let authenticator: Authenticator
    let files: StaticFiles
    let nextID: () -> String
    /// Whether the service is about to stop.
    var isDraining = false

    init(
        configuration: Configuration, stream: StreamContext, authenticator: Authenticator,
        files: StaticFiles, nextID: @escaping () -> String
    ) {
        self.configuration = configuration
        self.stream = stream
        self.authenticator = authenticator
        self.files = files
        self.nextID = nextID
    }

    var hub: HubShard { stream.hub }
    var client: LogClient { stream.client }

    /// Refuses what stays open to a connection past the cap.
    func checkCap(_ exchange: HTTPExchange) throws(Problem) {
        guard exchange.isPastCap else { return }
        throw .unavailable(
            "too-many-connections", "The service holds as many connections as it may.",
            retryAfter: Int.random(in: 1...5))
    }

    /// What `/readyz` says.
    var unready: [UnreadyReason] { hub.unready + (isDraining ? [.draining] : []) }
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
        let file = try find(route)
        let allow = HTTPField(name: "Allow", value: route.methods.joined(separator: ", "))
        guard route.methods.contains(request.method) else {
            throw Problem(
                405, "method-not-allowed", "\(request.path) does not answer \(request.method).",
                fields: [allow])
        }
        guard request.method != "OPTIONS" else {
            return exchange.respond(HTTPResponse(204, fields: [allow]))
        }
        guard let query = QueryString(request.query) else {
            throw .badRequest("The query is not percent-encoded UTF-8.")
        }
        switch route {
        case .live:
            exchange.respond(.json(Array("{\"live\":true}".utf8)))
        case .ready:
            respondReady(exchange)
        case .stream:
            let grants = try readGrants(request)
            try StreamHandler(server, exchange).handle(query, grants)
        case .history:
            let grants = try readGrants(request)
            try HistoryHandler(server, exchange).handle(query, grants)
        case .event(let id):
            let grants = try readGrants(request)
            try EventHandler(server, exchange).handle(id: id, grants)
        case .publish:
            let grants = try server.authenticator.grants(of: request)
            try PublishHandler(server, exchange).handle(grants)
        case .file:
            if let file { exchange.respond(file.response(to: request)) }
        }
    }

    /// What does not exist is 404 whatever the method.
    private func find(_ route: Route) throws(Problem) -> StaticFile? {
        switch (route, listener) {
        case (.live, _), (.ready, _):
            return nil
        case (_, .opsListener):
            throw .notFound
        case (.file(let path), .publicListener):
            guard let file = server.files.file(at: path) else { throw .notFound }
            return file
        case (.stream, _), (.history, _), (.event, _), (.publish, _):
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

    private func readGrants(_ request: HTTPRequest) throws(Problem) -> Grants {
        let grants = try server.authenticator.grants(of: request)
        guard grants.mayRead else {
            throw server.authenticator.insufficientScope("events:read")
        }
        return grants
    }

    private func respondReady(_ exchange: HTTPExchange) {
        let reasons = server.unready
        exchange.respond(
            .json(
                UnreadyReason.json(ready: reasons.isEmpty, reasons: reasons),
                status: reasons.isEmpty ? 200 : 503))
    }
}
