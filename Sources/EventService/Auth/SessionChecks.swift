import EventCore

/// Asks `session_check` for one worker: about requests when they come, and at intervals about all open
/// streams.
final class SessionChecks {
    /// How long a round waits for an answer: longer than a query may take, whatever waits before it.
    static let patience = Duration.seconds(15)

    private let loop: EventLoop
    private let client: LogClient
    private let hub: HubShard
    private let interval: Duration
    private let patience: Duration
    private let log: Log
    private var timer: LoopTimer?
    private var limit: LoopTimer?

    /// `nil` if no function is set.
    init?(
        _ configuration: Configuration, loop: EventLoop, hub: HubShard, client: LogClient, log: Log,
        patience: Duration = SessionChecks.patience
    ) {
        guard configuration.sessionCheck != nil, configuration.auth == .required else { return nil }
        self.loop = loop
        self.client = client
        self.hub = hub
        interval = configuration.sessionCheckInterval
        self.patience = patience
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

    /// One batch after the other; the next round begins an interval after the last answer. What is not
    /// answered in time is no answer: else a database that is too busy would keep open what is not.
    private func askNext(_ rest: ArraySlice<TokenIdentity>) {
        let batch = Array(rest.prefix(AccessReader.sessionsPerQuery))
        guard !batch.isEmpty else {
            timer?.set(after: interval)
            return
        }
        let others = rest.dropFirst(batch.count)
        var isLate = false
        limit = LoopTimer(loop) { [unowned self] _ in
            isLate = true
            note(batch.map { ($0, .unknown) })
            askNext(others)
        }
        limit?.set(after: patience)
        ask(batch) { [weak self] answers in
            guard let self else { return }
            // Late as it is, an answer is one; that there is none has been noted.
            note(zip(batch, answers).filter { !isLate || $0.1 != .unknown })
            guard !isLate else { return }
            limit?.cancel()
            askNext(others)
        }
    }

    private func note(_ answers: [(TokenIdentity, SessionAnswer)]) {
        let closed = answers.count { $0.1 == .closed }
        if closed > 0 { log.info("sessions: over", ["count": String(closed)]) }
        hub.sessionsAnswered(Dictionary(answers) { first, _ in first }, now: loop.now)
    }
}
