import EventCore

/// Answers the requests of connections.
protocol HTTPRequestHandler: AnyObject {
    /// A request has come. The answer, sooner or later, goes to the exchange.
    func handle(_ exchange: HTTPExchange)
    /// What goes with every answer, that to an unreadable request of this origin too.
    func commonFields(origin: String?) -> [HTTPField]
}

/// What takes over a connection when a response goes on for ever.
protocol HTTPStreamBody: AnyObject {
    /// When the stream wants to be called though nothing happens on the socket.
    func nextDeadline(now: MonotonicTime) -> MonotonicTime
    /// That time has come.
    func timeReached(now: MonotonicTime)
    /// The socket, which was full, has taken something of what is queued.
    func tookBytes()
    /// The connection is gone, or is about to go.
    func closed()
}

/// One request and the way to answer it.
final class HTTPExchange {
    let request: HTTPRequest
    /// Names the request in the response, in problems and in the log.
    let requestID: String
    /// What the request is counted under.
    var routeName = "none"
    /// The peer's address, or that of the client behind it.
    var address: String
    /// What goes with the answer whatever it is.
    var commonFields: [HTTPField] = []
    /// Called when nobody may wait for the answer any more: the peer has ended its side, though it may
    /// still read what is sent at once, or the connection is gone.
    var onPeerEnded: (() -> Void)?
    /// Whether that is so already.
    var peerHasEnded: Bool { connection?.peerHasEnded ?? true }
    /// Whether the connection is one past the cap: it gets an answer, but no stream, and is closed then.
    let isPastCap: Bool
    /// Gone once the exchange is over or the connection is closed: an answer that comes too late goes
    /// nowhere.
    private(set) weak var connection: HTTPConnection?

    init(_ connection: HTTPConnection, _ request: HTTPRequest, requestID: String) {
        self.connection = connection
        self.request = request
        self.requestID = requestID
        address = connection.address
        isPastCap = connection.isPastCap
    }

    /// Sends a whole answer.
    func respond(_ response: HTTPResponse) {
        connection?.respond(response, to: self)
    }

    /// Sends a problem.
    func refuse(_ problem: Problem) {
        connection?.context.counts.refuse(problem)
        respond(.problem(problem, requestID: requestID))
    }

    /// Sends the head of an answer that goes on for ever, and hands the connection over.
    func stream(_ response: HTTPResponse, body: any HTTPStreamBody) {
        connection?.stream(response, to: self, body: body)
    }
}
