import EventCore

/// Answers `/admin/connections` on the ops listener: what streams there are, and ending some.
final class AdminHandler {
    private let inboxes: [WorkerInbox]
    private let rounds: ReportRounds
    private let log: Log

    init(inboxes: [WorkerInbox], rounds: ReportRounds, log: Log) {
        self.inboxes = inboxes
        self.rounds = rounds
        self.log = log
    }

    /// Shows all streams.
    func list(_ exchange: HTTPExchange) {
        rounds.begin(
            expecting: inboxes.count,
            ask: { (round: ReportRound<[OpenStream]>) in
                for inbox in inboxes { inbox.mailbox.post(.listStreams(round)) }
            },
            completion: { [count = inboxes.count] parts in
                guard parts.count == count else { return exchange.refuse(Self.isSilent) }
                exchange.respond(.json(OpenStream.json(of: Array(parts.joined()))))
            })
    }

    /// Ends streams, and says how many. They end as they do when the service stops: whoever still has a
    /// good token may come back.
    func end(_ selection: StreamSelection, _ exchange: HTTPExchange) {
        rounds.begin(
            expecting: inboxes.count,
            ask: { (round: ReportRound<Int>) in
                for inbox in inboxes { inbox.mailbox.post(.endStreams(selection, round)) }
            },
            completion: { [count = inboxes.count, log] parts in
                guard parts.count == count else { return exchange.refuse(Self.isSilent) }
                let ended = parts.reduce(0, +)
                log.info(
                    "admin: ended streams",
                    ["count": String(ended), "request": exchange.requestID])
                exchange.respond(.json(Array("{\"ended\":\(ended)}".utf8)))
            })
    }

    private static let isSilent = Problem.unavailable(
        "silent", "A thread of the service did not answer in time.", retryAfter: 1)
}
