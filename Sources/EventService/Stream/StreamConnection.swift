import EventCore

/// What the streams of one loop share.
final class StreamContext {
    let loop: EventLoop
    let hub: HubShard
    let log: Log
    let client: LogClient
    let settings: StreamSettings
    let lifetime: Duration
    /// What the streams have done.
    var counts = StreamCounts()

    init(loop: EventLoop, hub: HubShard, log: Log, client: LogClient, configuration: Configuration)
    {
        self.loop = loop
        self.hub = hub
        self.log = log
        self.client = client
        settings = StreamSettings(
            idle: IdlePolicy(heartbeat: configuration.heartbeat),
            maximumBacklog: configuration.maxBacklogBytes, slowGrace: configuration.slowGrace)
        lifetime = configuration.streamLifetime
    }

    /// When, and why, a stream that begins now ends as planned: all that began together must not come
    /// back together.
    func end(of tenure: Tenure, now: MonotonicTime) -> (at: MonotonicTime, DisconnectReason) {
        let end =
            lifetime > .zero ? now + lifetime * Double.random(in: 0.8...1) : .distantFuture
        return tenure.endsAt <= end ? (tenure.endsAt, .expired) : (end, .lifetime)
    }
}

/// The connection of one stream: what the stream decides, done with a socket.
final class StreamConnection: StreamTransport, HTTPStreamBody {
    /// Names the connection.
    let id: String
    private let connection: HTTPConnection
    private let context: StreamContext
    private let isChunked: Bool
    private let address: String
    private let since = MonotonicClock.date()
    private(set) var session: StreamSession?
    private var place: StreamPlace?
    private var ending = StreamCounts.Ending.client

    init(
        id: String, address: String, connection: HTTPConnection, context: StreamContext,
        isChunked: Bool
    ) {
        self.id = id
        self.address = address
        self.connection = connection
        self.context = context
        self.isChunked = isChunked
    }

    /// Makes the stream that begins at a cursor; it is begun by the caller.
    func open(_ opening: StreamOpening, start: Cursor) -> StreamSession {
        let now = context.loop.now
        let (endsAt, reason) = context.end(of: opening.tenure, now: now)
        let session = StreamSession(
            sink: connection, transport: self, hub: context.hub, settings: context.settings,
            subscription: opening.subscription, identity: opening.tenure.identity,
            gap: opening.parameters.gap, isChunked: isChunked, start: start, endsAt: endsAt,
            endReason: reason, retryMilliseconds: Int64.random(in: 500...5000), now: now)
        self.session = session
        place = opening.tenure.place
        return session
    }

    /// The stream as operators see it; `nil` once it has ended.
    var description: OpenStream? {
        session.map {
            OpenStream(
                id: id, identity: $0.identity, address: address, since: since,
                cursor: $0.currentCursor, unsentBytes: connection.unsentBytes)
        }
    }

    // MARK: What the stream wants

    func requestPage(
        _ request: PageRequest, completion: @escaping (LogPage?, MonotonicTime) -> Void
    ) {
        context.client.send(.page(request)) { [context] reply in
            if case .page(let page) = reply {
                completion(page, context.loop.now)
            } else {
                completion(nil, context.loop.now)
            }
        }
    }

    func deadlineMoved() {
        connection.updateTimer()
    }

    func end(afterQueue: Bool) {
        if afterQueue {
            connection.endStream(isChunked: isChunked)
        } else {
            connection.close()
        }
    }

    func noted(_ note: StreamNote) {
        switch note {
        case .fellBehind(let position):
            context.counts.fellBehind += 1
            context.log.debug("stream: fell behind", ["id": id, "position": String(position)])
        case .replayed(let count, let source):
            if count > 0 { context.counts.replayed[source, default: 0] += count }
        case .reset(let reason):
            context.counts.resets[reason, default: 0] += 1
            context.log.info("stream: reset", ["id": id, "reason": reason.rawValue])
        case .ended(let reason):
            ending = .planned(reason)
        }
    }

    // MARK: What the connection says

    func nextDeadline(now: MonotonicTime) -> MonotonicTime {
        session?.nextDeadline ?? .distantFuture
    }

    func timeReached(now: MonotonicTime) {
        session?.timeReached(now: now)
    }

    func tookBytes() {
        session?.tookBytes(now: context.loop.now)
    }

    func closed() {
        if let session {
            context.counts.ended[ending, default: 0] += 1
            context.counts.deliveredToEnded += session.deliveredCount
            let lasted = MonotonicClock.date().microseconds - since.microseconds
            context.log.info(
                "stream: ended",
                [
                    "id": id, "reason": ending.name, "cursor": "\(session.currentCursor)",
                    "events": String(session.deliveredCount),
                    "milliseconds": String(max(0, lasted / 1000)),
                ])
        }
        session?.closed()
        session = nil
        place = nil
    }
}
