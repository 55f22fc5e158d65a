/// The migrations that this version needs; `Migrations/` holds them.
enum Migration {
    /// What `/readyz` waits for; the example is not among them.
    static let required = [
        "0001_event_log.sql", "0002_capture.sql", "0003_access.sql", "0004_retention.sql",
        "0005_tokens.sql", "0006_bridges.sql", "0007_metrics.sql",
    ]
}
