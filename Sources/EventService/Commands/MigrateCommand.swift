import EventCore
import FoundationEssentials

extension Command {
    private static let settings = ConfigurationFile.options(["database_url"])

    /// `event-service migrate`
    static let migrate = Command(
        name: "migrate", summary: "applies pending migrations to the database",
        options: settings + [
            CommandOption("no-example", help: "leaves out the example table tasks"),
            CommandOption(
                "migrations", value: "FOLDER",
                help: "where the migrations lie [beside the executable]"),
        ]
    ) { arguments in
        let configuration = try ConfigurationFile.load(arguments, settings: settings)
        guard let folder = arguments.value(of: "migrations") ?? InstalledFiles.migrations else {
            throw ConfigurationError(
                "the migrations are not beside the executable; name their folder with --migrations")
        }
        var files = try MigrationFile.all(in: folder)
        if arguments.has("no-example") { files.removeAll { $0.isExample } }
        let connection = try BlockingConnection(url: configuration.databaseURL)
        try Migrator(connection: connection).apply(files)
        return 0
    }
}

/// One file of `Migrations/`.
struct MigrationFile: Sendable {
    let name: String
    let sql: String

    /// Whether it installs the example, without which the service is complete.
    var isExample: Bool { name.hasSuffix("_tasks.sql") }

    /// All migrations of a folder, in the order of their names.
    static func all(in folder: String) throws(ConfigurationError) -> [MigrationFile] {
        let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [])
            .filter { $0.hasSuffix(".sql") }.sorted()
        guard !names.isEmpty else {
            throw ConfigurationError("\(folder): there are no migrations here")
        }
        var files: [MigrationFile] = []
        for name in names {
            guard let data = FileManager.default.contents(atPath: folder + "/" + name),
                let sql = String(validating: data, as: UTF8.self)
            else { throw ConfigurationError("\(folder)/\(name): the file cannot be read") }
            files.append(MigrationFile(name: name, sql: sql))
        }
        return files
    }
}

/// Applies migrations, and makes sure that one that was applied is still what it was.
struct Migrator {
    private let connection: BlockingConnection

    init(connection: BlockingConnection) {
        self.connection = connection
    }

    func apply(_ files: [MigrationFile]) throws {
        // Two that migrate at once do it one after the other.
        try connection.run("wait for other migrations", "SELECT pg_advisory_lock(1163284052, 4)")
        let applied = try applied()
        var count = 0
        for file in files {
            let checksum = try checksum(of: file)
            switch applied[file.name] {
            case nil:
                do {
                    try connection.runScript("apply \(file.name)", file.sql)
                } catch {
                    // The file's own transaction is still open.
                    try? connection.runScript("roll back", "ROLLBACK")
                    throw error
                }
                try record(file, checksum)
                Terminal.print("applied \(file.name)")
                count += 1
            case .some(nil):
                // Applied with psql, which knows no checksums.
                try record(file, checksum)
                Terminal.print("taken over \(file.name)")
            case .some(checksum):
                break
            default:
                throw ConfigurationError(
                    "\(file.name) was edited after it was applied: restore the file as it was, and"
                        + " put the change into a new migration")
            }
        }
        if count == 0 { Terminal.print("nothing to apply") }
    }

    /// What stands in `event_service.migrations`, which the first file creates.
    private func applied() throws -> [String: String?] {
        let exists = try connection.run(
            "look for the migrations", "SELECT to_regclass('event_service.migrations')")
        guard exists.first?.first != .some(nil) else { return [:] }
        let rows = try connection.run(
            "look at the migrations", "SELECT name, checksum FROM event_service.migrations")
        return Dictionary(rows.map { ($0[0] ?? "", $0[1]) }) { first, _ in first }
    }

    private func checksum(of file: MigrationFile) throws -> String {
        let rows = try connection.run(
            "take the checksum of \(file.name)",
            "SELECT encode(sha256(convert_to($1, 'UTF8')), 'hex')", [file.sql])
        return rows.first?.first.flatMap { $0 } ?? ""
    }

    private func record(_ file: MigrationFile, _ checksum: String) throws {
        try connection.run(
            "record \(file.name)",
            "UPDATE event_service.migrations SET checksum = $2 WHERE name = $1",
            [file.name, checksum])
    }
}
