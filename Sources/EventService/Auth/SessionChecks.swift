import EventCore

/// Asks `session_check` for one worker: about requests when they come, and at intervals about all open
/// streams.
final class SessionChecks {
    private let loop: EventLoop
    private let client: LogClient
    private let hub: HubShard
    private let interval: Duration
    private let log: Log
    private var timer: LoopTimer?

    /// `nil` if no function is set.
    init?(
        _ configuration: Configuration, loop: EventLoop, hub: HubShard, client: LogClient, log: Log
    ) {
        guard configuration.sessionCheck != nil, configuration.auth == .required else { return nil }
        self.loop = loop
        self.client = client
        self.hub = hub
        interval = configuration.sessionCheckInterval
        self.log = log
        timer = LoopTimer(loop) { [unowned self] _ in begin() }
        timer?.set(after: interval)
    }

    /// Asks about some; `completion` gets one answer for each, in their order.
    func ask(_ identities: [TokenIdentity], completion: @escaping ([SessionAnswer]) -> Void) {
        client.send(.access(.checkSessions(identities))) { reply in
            if case .access(.checked(let answers)) = reply {
                completion(answers)
            } else {
                completion(identities.map { _ in .unknown })
            }
        }
    }

    private func begin() {
        askNext(Array(hub.identities)[...])
    }

    /// One batch after the other; the next round begins an interval after the last answer.
    private func askNext(_ rest: ArraySlice<TokenIdentity>) {
        let batch = Array(rest.prefix(AccessReader.sessionsPerQuery))
        guard !batch.isEmpty else {
            timer?.set(after: interval)
            return
        }
        ask(batch) { [weak self] answers in
            guard let self else { return }
            let closed = answers.count { $0 == .closed }
            if closed > 0 { log.info("sessions: over", ["count": String(closed)]) }
            let byIdentity = Dictionary(zip(batch, answers)) { first, _ in first }
            hub.sessionsAnswered(byIdentity, now: loop.now)
            askNext(rest.dropFirst(batch.count))
        }
    }
}
