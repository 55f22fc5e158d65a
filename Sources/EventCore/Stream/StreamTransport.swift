/// Where a stream's bytes go.
///
/// The service's is a socket; the simulation's is a buffer that drains, or breaks, when it says so.
public protocol StreamSink: AnyObject {
    /// How many bytes wait to be sent.
    var unsentBytes: Int { get }

    /// Queues a stretch of bytes that streams share.
    func enqueue(_ bytes: SharedBytes, _ range: Range<Int>)

    /// Queues bytes that are for this stream alone.
    func enqueue(_ bytes: [UInt8])

    /// Sends what is queued as far as the peer takes it; returns how many bytes it took, `nil` once the
    /// connection is gone. When a full one takes more, the stream's `tookBytes` is called.
    func flush() -> Int?

    /// Queues a stretch of shared bytes and sends it, as `enqueue` and `flush` would.
    func send(_ bytes: SharedBytes, _ range: Range<Int>) -> Int?
}

/// What a stream asks of those around it.
public protocol StreamTransport: AnyObject {
    /// Asks for a page of the log; `completion` is called later with the page, or `nil` if it cannot be
    /// read, and with the time.
    func requestPage(
        _ request: PageRequest, completion: @escaping (LogPage?, MonotonicTime) -> Void)

    /// The stream's next deadline may have moved forward.
    func deadlineMoved()

    /// Ends the connection: after what is queued, or at once.
    func end(afterQueue: Bool)

    /// Something happened that is worth a line in the log, or a count.
    func noted(_ note: StreamNote)
}

/// What a stream has to tell about itself.
public enum StreamNote: Sendable, Equatable {
    /// Its backlog is full: it reads on by itself.
    case fellBehind(position: Int64)
    /// Its client was told that what it holds is void.
    case reset(ResetReason)
    /// It was sent so many events later than live.
    case replayed(Int, from: ReplaySource)
    /// It ends as planned.
    case ended(DisconnectReason)
}

/// What all streams of a loop have in common; an object, so that each keeps one word of it.
public final class StreamSettings: Sendable {
    /// What a stream is sent when nothing has been sent to it for a while.
    public let idle: IdlePolicy
    /// The setting `max_backlog_bytes`.
    public let maximumBacklog: Int
    /// The setting `slow_grace`.
    public let slowGrace: Duration

    /// Creates the settings of a loop's streams.
    public init(idle: IdlePolicy, maximumBacklog: Int, slowGrace: Duration) {
        self.idle = idle
        self.maximumBacklog = maximumBacklog
        self.slowGrace = slowGrace
    }
}
