/// What a path stands for.
public enum Route: Sendable, Equatable {
    /// `GET /api/v1/events/stream`
    case stream
    /// `GET /api/v1/events/history`
    case history
    /// `GET /api/v1/events/ID`
    case event(id: String)
    /// `POST /api/v1/events`
    case publish
    /// `POST /api/v1/auth/sse-token`
    case ticket
    /// `GET /livez`
    case live
    /// `GET /readyz`
    case ready
    /// `GET /metrics`, on the ops listener
    case metrics
    /// `GET` and `DELETE /admin/connections`, on the ops listener
    case connections
    /// A file of `web/dist`, by its path without the leading slash.
    case file(String)

    /// Finds the route of a path.
    public init(path: String) {
        let events = "/api/v1/events"
        switch path {
        case "\(events)/stream": self = .stream
        case "\(events)/history": self = .history
        case events: self = .publish
        case "/api/v1/auth/sse-token": self = .ticket
        case "/livez": self = .live
        case "/readyz": self = .ready
        case "/metrics": self = .metrics
        case "/admin/connections": self = .connections
        case _ where path.hasPrefix("\(events)/"):
            self = .event(id: String(path.dropFirst(events.count + 1)))
        default: self = .file(String(path.dropFirst()))
        }
    }

    /// What requests of the route are counted under.
    public var name: String {
        switch self {
        case .stream: "stream"
        case .history: "history"
        case .event: "event"
        case .publish: "publish"
        case .ticket: "sse-token"
        case .live: "livez"
        case .ready: "readyz"
        case .metrics: "metrics"
        case .connections: "connections"
        case .file: "file"
        }
    }

    /// The methods that the route answers.
    public var methods: [String] {
        switch self {
        case .publish, .ticket: ["POST", "OPTIONS"]
        case .connections: ["GET", "HEAD", "DELETE", "OPTIONS"]
        case .stream, .history, .event, .live, .ready, .metrics, .file: ["GET", "HEAD", "OPTIONS"]
        }
    }
}
