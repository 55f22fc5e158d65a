import EventCore
import Glibc

extension Command {
    /// `event-service doctor`
    static let doctor = Command(
        name: "doctor", summary: "proves the set-up from commit to log, and says what mends it",
        options: ConfigurationFile.options() + [MappingSamples.option]
    ) { arguments in
        let configuration = try ConfigurationFile.load(
            arguments, settings: ConfigurationFile.options())
        if let code = try MappingSamples.show(arguments, configuration) { return code }
        let doctor = Doctor(configuration) { Terminal.print($0.line) }
        return doctor.examine() ? 0 : 1
    }
}

/// Examines the set-up, one check after the other.
///
/// It needs no running service, and of its login no more than the service does. Until it is known that
/// there is no pooler in transaction mode it sets nothing on its connection: there the next client would
/// get what it set.
private final class Doctor {
    private let configuration: Configuration
    private let report: (CheckResult) -> Void
    private var isWell = true
    /// Whether the connection has broken, or an answer did not come.
    private var isLost = false

    /// How long each answer of the database may take.
    private static let patience = Duration.seconds(10)

    init(_ configuration: Configuration, report: @escaping (CheckResult) -> Void) {
        self.configuration = configuration
        self.report = report
    }

    /// Whether every check found all well. One that makes no sense after another's finding is left out.
    func examine() -> Bool {
        if let connection = connect() { examine(DatabaseExamination(connection)) }
        for result in BridgeExamination(configuration: configuration).results() { tell(result) }
        tell(settings)
        tell(
            DescriptorNeed(
                maxConnections: configuration.maxConnections, reserve: DescriptorLimit.reserve,
                hardLimit: DescriptorLimit.hard
            ).result)
        return isWell
    }

    /// Whether `serve` would start.
    private var settings: CheckResult {
        do {
            try Command.check(configuration)
        } catch {
            return .fault(
                "settings", error.description, mend: "change it: serve would not start")
        }
        let hasKeys = !configuration.jwtSecret.isEmpty || !configuration.jwtJWKS.isEmpty
        return .ok(
            "settings",
            configuration.auth == .none || hasKeys
                ? "serve starts with them"
                : "serve starts with them, and refuses every request: neither jwt_secret nor"
                    + " jwt_jwks is set")
    }

    private func tell(_ result: CheckResult) {
        isWell = isWell && result.isOK
        report(result)
    }

    private func open(writable: Bool = true) throws(DatabaseError) -> BlockingConnection {
        try BlockingConnection(
            url: configuration.databaseURL, patience: Self.patience, writable: writable)
    }

    /// As the service connects; if that fails, perhaps because the server takes no writes, to any.
    private func connect() -> BlockingConnection? {
        do {
            return try open()
        } catch {
            if let connection = try? open(writable: false) { return connection }
            tell(ConnectionFault.result(error.message))
            return nil
        }
    }

    private func examine(_ database: DatabaseExamination) {
        check("connection", database.server)
        let isWritable = check("primary", database.writing)
        let commits = check("standbys", database.standbys) && isWritable
        if commits {
            check("listen") { () throws(DatabaseError) in
                try ListenCheck(database.connection, other: open()).result()
            }
        }
        if check("migrations", database.migrations), check("rights", database.rights) {
            check("tables", database.tables)
            if commits {
                check("canary") { () throws(DatabaseError) in
                    var canary = try Canary(database.connection)
                    return try canary.result()
                }
            }
        }
        check("clock", database.clock)
        check("queue", database.notificationQueue)
        check("two-phase", database.preparedTransactions)
    }

    /// Tells what a check found, and whether all was well; nothing more once the connection is lost.
    @discardableResult
    private func check(
        _ name: String, _ body: () throws(DatabaseError) -> CheckResult
    ) -> Bool {
        guard !isLost else { return false }
        do {
            let result = try body()
            tell(result)
            return result.isOK
        } catch {
            isLost = error.isConnectionLoss
            tell(
                .fault(
                    name, error.description,
                    mend: isLost
                        ? "look in pg_stat_activity for what the session waits for, and at"
                            + " PostgreSQL's log"
                        : "look at PostgreSQL's log"))
            return false
        }
    }
}
