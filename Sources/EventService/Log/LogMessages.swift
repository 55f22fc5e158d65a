import EventCore

/// What a worker asks the database thread, and what it gets.
///
/// Workers never wait: they send a request with a number, and the reply comes back to their mailbox.
enum LogRequest: Sendable {
    /// The bounds of the log now and, for a time, the last position sequenced before it.
    case locate(Timestamp?)
    /// A page of the log.
    case page(PageRequest)
    /// The event at a position.
    case event(Int64)
    /// Publish the items of a body.
    case publish(PublishRequest)
    /// What concerns tokens rather than the log.
    case access(AccessRequest)
}

/// The outcome of a `LogRequest`.
enum LogReply: Sendable {
    case located(LogBounds, positionBefore: Int64?)
    case page(LogPage)
    case event(Event?)
    case published([Int64])
    case access(AccessReply)
    /// The request is at fault.
    case refused(Problem)
    /// PostgreSQL is away, or too much is waiting for it.
    case unavailable
}

/// Events to be published, all or none.
struct PublishRequest: Sendable {
    /// The body as it came, of which only `data` is read: one JSON object, or an array of them.
    let body: String
    /// All else, item by item, as JSON that the service has read and written itself.
    let envelopes: String
}

/// A `LogRequest` on its way.
struct LogCall: Sendable {
    let request: LogRequest
    let number: UInt64
    let replyTo: Mailbox<WorkerMessage>
}

/// The worker's end: keeps what is to be done with each reply.
final class LogClient {
    private let calls: Mailbox<LogCall>
    private let replies: Mailbox<WorkerMessage>
    private var pending: [UInt64: (LogReply) -> Void] = [:]
    private var lastNumber: UInt64 = 0

    init(calls: Mailbox<LogCall>, replies: Mailbox<WorkerMessage>) {
        self.calls = calls
        self.replies = replies
    }

    /// Sends a request; `completion` is called on this thread, later.
    func send(_ request: LogRequest, completion: @escaping (LogReply) -> Void) {
        lastNumber += 1
        pending[lastNumber] = completion
        calls.post(LogCall(request: request, number: lastNumber, replyTo: replies))
    }

    /// A reply has come.
    func received(_ reply: LogReply, number: UInt64) {
        pending.removeValue(forKey: number)?(reply)
    }
}
