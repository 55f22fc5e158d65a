import EventCore

/// What workers ask the database of tickets and sessions.
enum AccessRequest: Sendable {
    /// Keep a ticket, by its hash, with the claims that it stands for.
    case issueTicket(hash: String, claims: String)
    /// Take a ticket.
    case redeemTicket(hash: String)
    /// Ask `session_check`.
    case checkSessions([TokenIdentity])
}

/// The outcome of an `AccessRequest`.
enum AccessReply: Sendable {
    /// Whether the ticket is kept; not if there are too many of the token's bearer.
    case issued(Bool)
    /// The claims, as JSON; `nil` if there is no such ticket.
    case redeemed([UInt8]?)
    /// One answer for each, in their order.
    case checked([SessionAnswer])
}

/// Answers what workers ask of tickets and sessions; on the database thread.
///
/// Sessions are asked about in one query for all who wait: while a query is under way others gather for
/// the next, so that ten thousand streams that come back together are ten queries.
final class AccessReader {
    /// How many sessions one query asks about.
    static let sessionsPerQuery = 1000

    private let pool: ConnectionPool
    private let checker: SQLName?
    private let log: Log
    private var waiting: [(identities: [TokenIdentity], reply: (LogReply) -> Void)] = []
    private var isAsking = false

    init(pool: ConnectionPool, checker: SQLName?, log: Log) {
        self.pool = pool
        self.checker = checker
        self.log = log
    }

    /// Does what a worker asked for.
    func received(_ request: AccessRequest, _ reply: @escaping (LogReply) -> Void) {
        switch request {
        case .issueTicket(let hash, let claims):
            run(
                "keep a ticket", "SELECT event_service.issue_ticket($1, $2)", [hash, claims], reply
            ) {
                .issued($0.bool(0, 0))
            }
        case .redeemTicket(let hash):
            // Not repeatable: it may have been taken when the connection broke, and then it is void.
            run("take a ticket", "SELECT event_service.redeem_ticket($1)", [hash], reply) {
                .redeemed($0.isNull(0, 0) ? nil : $0.bytes(0, 0))
            }
        case .checkSessions(let identities):
            waiting.append((identities, reply))
            askSessions()
        }
    }

    private func run(
        _ operation: String, _ sql: String, _ parameters: [String?],
        _ reply: @escaping (LogReply) -> Void, then body: @escaping (borrowing Rows) -> AccessReply
    ) {
        pool.run(Query(operation, sql, parameters), isRepeatable: false) { [log] outcome in
            switch consume outcome {
            case .rows(let rows):
                reply(.access(body(rows)))
            case .failed(let error):
                log.warning("access: not answered", ["error": error.description])
                reply(.unavailable)
            }
        }
    }

    private func askSessions() {
        guard let checker, !isAsking, !waiting.isEmpty else { return }
        isAsking = true
        var count = 0
        let batch = Array(
            waiting.prefix { entry in
                defer { count += entry.identities.count }
                return count == 0 || count + entry.identities.count <= Self.sessionsPerQuery
            })
        waiting.removeFirst(batch.count)
        let identities = batch.flatMap(\.identities)
        let query = Query(
            "ask session_check",
            "SELECT * FROM event_service.check_sessions($1, $2, $3, $4)",
            [
                checker.quoted, Query.array(identities.map(\.user)),
                Query.array(identities.map(\.session)), Query.array(identities.map(\.tokenID)),
            ])
        pool.run(query) { [weak self] outcome in
            guard let self else { return }
            var answers = [SessionAnswer](repeating: .unknown, count: identities.count)
            switch consume outcome {
            case .rows(let rows):
                for row in 0..<min(rows.count, answers.count) where !rows.isNull(row, 0) {
                    answers[row] = rows.bool(row, 0) ? .open : .closed
                }
            case .failed(let error):
                log.warning("access: session_check not asked", ["error": error.description])
            }
            isAsking = false
            var rest = answers[...]
            for entry in batch {
                entry.reply(.access(.checked(Array(rest.prefix(entry.identities.count)))))
                rest = rest.dropFirst(entry.identities.count)
            }
            askSessions()
        }
    }
}
