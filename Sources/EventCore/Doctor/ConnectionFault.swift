/// Why a connection to PostgreSQL could not be opened, told from what libpq said.
///
/// libpq gives no code for it, only a text, which the server may have translated; so there is a mend for
/// what no pattern fits.
public enum ConnectionFault {
    private static let slots = "raise PostgreSQL's max_connections, or find out who holds so many"
    private static let password =
        "correct user and password in database_url (or PGPASSWORD, or ~/.pgpass)"

    /// What stands in the text, all of it, and the mend.
    private static let known: [(signs: [String], mend: String)] = [
        (["password authentication failed"], password),
        (["no password supplied"], password),
        (["database_url cannot be read"], "correct database_url"),
        (
            ["no pg_hba.conf entry"],
            "add a line for this login and address to pg_hba.conf, and reload"
        ),
        (["role \"", "does not exist"], "create the login, or correct the user in database_url"),
        (
            ["database \"", "does not exist"],
            "create the database, or correct its name in database_url"
        ),
        (["could not translate host name"], "correct the host in database_url"),
        (["too many clients"], slots),
        (["remaining connection slots"], slots),
        (["is starting up"], "wait until PostgreSQL has recovered; its log says how far it is"),
        (
            ["Connection refused"],
            "start PostgreSQL, or correct host and port in database_url; it must listen there"
                + " (listen_addresses)"
        ),
        (
            ["timeout expired"],
            "look for a firewall in between or a server that hangs, or correct host and port in"
                + " database_url"
        ),
    ]

    /// What `doctor` says of it.
    public static func result(_ message: String) -> CheckResult {
        let fitting = known.first { $0.signs.allSatisfy { message.contains($0) } }
        return .fault(
            "connection", message,
            mend: fitting?.mend
                ?? "check host, port, user, password and database in database_url, and pg_hba.conf")
    }
}
