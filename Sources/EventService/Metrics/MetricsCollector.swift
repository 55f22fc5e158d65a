import EventCore

/// What one thread reports for a page of metrics.
enum MetricsPart: Sendable {
    case worker(Int, WorkerReport)
    case database(DatabaseReport)
    /// What the database itself said, if it did.
    case log(LogReport?)
}

/// Whom a page of metrics is asked of.
final class MetricsSources: Sendable {
    private let inboxes: [WorkerInbox]
    private let database: Mailbox<DatabaseControl>
    private let connectionCount: ConnectionCount
    private let access: AccessState
    private let bridges: [BridgeCounters]
    private let started = MonotonicClock.date()
    private let known = Guarded(Known())

    /// The last that each thread has said, for when one does not answer.
    private struct Known {
        var workers: [Int: WorkerReport] = [:]
        var database: DatabaseReport?
    }

    init(
        inboxes: [WorkerInbox], database: Mailbox<DatabaseControl>,
        connectionCount: ConnectionCount, access: AccessState,
        bridges: [BridgeCounters]
    ) {
        self.inboxes = inboxes
        self.database = database
        self.connectionCount = connectionCount
        self.access = access
        self.bridges = bridges
    }

    /// How many parts make a whole: one of each worker, two of the database thread.
    var count: Int { inboxes.count + 2 }

    func ask(_ round: ReportRound<MetricsPart>) {
        for inbox in inboxes { inbox.mailbox.post(.report(round)) }
        database.post(.report(round))
    }

    /// Joins the parts that have come with what is known of those who did not answer.
    func report(_ parts: [MetricsPart]) -> ServiceReport {
        var answered: Set<String> = []
        var log: LogReport?
        let known = known.withLock { known in
            for part in parts {
                switch part {
                case .worker(let index, let report):
                    known.workers[index] = report
                    answered.insert(report.loop.name)
                case .database(let report):
                    known.database = report
                    answered.insert(report.loop.name)
                case .log(let report):
                    log = report
                }
            }
            return known
        }
        var database = known.database
        database?.log = log
        let workers = known.workers.sorted { $0.key < $1.key }.map(\.value)
        let names = workers.map(\.loop.name) + (database.map { [$0.loop.name] } ?? [])
        return ServiceReport(
            workers: workers, database: database, silent: Set(names).subtracting(answered),
            connections: connectionCount.report, refusals: access.refusalCounts,
            bridges: bridges.map(\.report),
            process: ProcessFiles.report(started: started),
            version: Version.current)
    }
}

/// Answers `GET /metrics` on a worker.
final class MetricsCollector {
    private let sources: MetricsSources
    private let rounds: ReportRounds

    init(sources: MetricsSources, rounds: ReportRounds) {
        self.sources = sources
        self.rounds = rounds
    }

    func answer(_ exchange: HTTPExchange) {
        rounds.begin(expecting: sources.count, ask: sources.ask) { [sources] parts in
            exchange.respond(
                HTTPResponse(
                    200,
                    fields: [
                        HTTPField(name: "Content-Type", value: MetricsPage.contentType),
                        HTTPField(name: "Cache-Control", value: "no-store"),
                    ], body: sources.report(parts).page.bytes))
        }
    }
}
