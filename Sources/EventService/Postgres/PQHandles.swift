import CLibPQ
import Glibc

/// Why PostgreSQL could not do what was asked. Parameters of the query are never part of it.
struct DatabaseError: Error, CustomStringConvertible, Sendable {
    /// What was tried.
    let operation: String
    /// The SQLSTATE; `nil` where the failure is not the server's answer: the connection broke.
    let sqlState: String?
    /// What the server or libpq said, on one line.
    let message: String
    /// The server's hint, where it gave one.
    var hint: String?

    init(_ operation: String, sqlState: String? = nil, message: String, hint: String? = nil) {
        self.operation = operation
        self.sqlState = sqlState
        self.message = message.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        self.hint = hint
    }

    /// What the server said of a query.
    init(_ operation: String, _ result: OpaquePointer) {
        func field(_ code: UInt8) -> String? {
            PQresultErrorField(result, Int32(code)).map { String(cString: $0) }
        }
        self.init(
            operation, sqlState: field(UInt8(ascii: "C")),
            message: field(UInt8(ascii: "M")) ?? "unknown error", hint: field(UInt8(ascii: "H")))
    }

    var description: String {
        "\(operation): \(message)" + (sqlState.map { " (SQLSTATE \($0))" } ?? "")
    }

    /// Whether the connection is of no more use.
    var isConnectionLoss: Bool {
        // Class 57P: the server is stopping, or an operator ended the session.
        sqlState.map { $0.hasPrefix("57P") || $0.hasPrefix("08") } ?? true
    }

    /// Whether the connection is sound, and the same statement may succeed on it later: the disk is
    /// full, a lock was not to be had, time ran out, two made one partition.
    var mayPass: Bool {
        guard let sqlState else { return false }
        // Classes: 23 and 42P07 a duplicate, 40 rolled back, 53 no resources, 58 the system failed.
        return ["23", "40", "53", "58"].contains { sqlState.hasPrefix($0) }
            || ["42P07", "55P03", "57014"].contains(sqlState)
    }
}

/// A libpq connection that is finished exactly once.
struct PQConnection: ~Copyable {
    let handle: OpaquePointer

    init(owning handle: OpaquePointer) {
        self.handle = handle
    }

    deinit {
        PQfinish(handle)
    }

    /// What is passed to libpq to open a connection.
    typealias Open = (
        UnsafePointer<UnsafePointer<CChar>?>, UnsafePointer<UnsafePointer<CChar>?>, Int32
    ) -> OpaquePointer?

    /// Opens a connection to a direct, writable server that notices within 25 s that the other side is
    /// gone. What the URL says wins over that, and `overrides` over the URL.
    static func open(
        url: String, overrides: [(String, String)] = [], _ open: Open
    ) throws(DatabaseError) -> OpaquePointer {
        if let fault = fault(in: url) { throw DatabaseError("connect", message: fault) }
        // What stands before `dbname` is a default.
        let defaults = [
            ("fallback_application_name", "event-service"), ("target_session_attrs", "read-write"),
            ("connect_timeout", "5"), ("keepalives_idle", "10"), ("keepalives_interval", "5"),
            ("keepalives_count", "3"), ("tcp_user_timeout", "20000"), ("client_encoding", "UTF8"),
        ]
        let named = defaults + (url.isEmpty ? [] : [("dbname", url)]) + overrides
        var keywords: [UnsafePointer<CChar>?] = named.map { UnsafePointer(strdup($0.0)) } + [nil]
        var values: [UnsafePointer<CChar>?] = named.map { UnsafePointer(strdup($0.1)) } + [nil]
        defer { for text in keywords + values { free(UnsafeMutablePointer(mutating: text)) } }
        guard let handle = open(&keywords, &values, 1) else {
            throw DatabaseError("connect", message: "out of memory")
        }
        return handle
    }

    /// Why libpq will not understand a URL, without a part of it; `nil`: it will.
    static func fault(in url: String) -> String? {
        guard !isReadable(url) else { return nil }
        return "database_url cannot be read; it is host=… user=… dbname=…, or"
            + " postgresql://user:password@host/database with %40 for an @ in the password"
    }

    /// Whether libpq will understand a URL. Asked beforehand, because what it says of one that it does
    /// not understand shows a part of it, and that may be the password.
    private static func isReadable(_ url: String) -> Bool {
        guard url.contains("=") || url.contains("://") else { return true }
        guard let options = PQconninfoParse(url, nil) else { return false }
        defer { PQconninfoFree(options) }
        var option = options
        while let keyword = option.pointee.keyword {
            // What stands behind an @ in a password is taken for the host.
            if String(cString: keyword) == "host", let host = option.pointee.val,
                String(cString: host).contains("@")
            {
                return false
            }
            option += 1
        }
        return true
    }

    var errorMessage: String { String(cString: PQerrorMessage(handle)) }

    var serverProcess: Int32 { PQbackendPID(handle) }

    /// A server as libpq calls it.
    typealias Server = (host: String, port: String)

    /// The server that serves the connection, or is being tried.
    var server: Server {
        (
            PQhost(handle).map { String(cString: $0) } ?? "",
            PQport(handle).map { String(cString: $0) } ?? ""
        )
    }
}

/// The rows of a query, in PostgreSQL's binary format.
struct Rows: ~Copyable {
    private let handle: OpaquePointer

    init(owning handle: OpaquePointer) {
        self.handle = handle
    }

    deinit {
        PQclear(handle)
    }

    /// How many rows there are.
    var count: Int { Int(PQntuples(handle)) }

    func isNull(_ row: Int, _ column: Int) -> Bool {
        PQgetisnull(handle, Int32(row), Int32(column)) == 1
    }

    /// The bytes of a value, valid during `body`; a NULL has none.
    func withBytes<Result>(
        _ row: Int, _ column: Int, _ body: (UnsafeRawBufferPointer) -> Result
    ) -> Result {
        let length = length(row, column)
        let start = PQgetvalue(handle, Int32(row), Int32(column))
        return body(UnsafeRawBufferPointer(start: start, count: length))
    }

    /// How many bytes a value has; a NULL has none.
    func length(_ row: Int, _ column: Int) -> Int {
        Int(PQgetlength(handle, Int32(row), Int32(column)))
    }

    /// A copy of the bytes of a value.
    func bytes(_ row: Int, _ column: Int) -> [UInt8] {
        withBytes(row, column) { [UInt8]($0) }
    }

    /// A value of type `text`, `name` or `json`.
    func text(_ row: Int, _ column: Int) -> String {
        withBytes(row, column) { String(decoding: $0, as: UTF8.self) }
    }

    /// A value of type `bool`.
    func bool(_ row: Int, _ column: Int) -> Bool {
        withBytes(row, column) { $0.first == 1 }
    }

    /// A value of type `"char"`.
    func byte(_ row: Int, _ column: Int) -> UInt8 {
        withBytes(row, column) { $0.first ?? 0 }
    }

    /// A value of type `bigint` or `timestamptz`.
    func int64(_ row: Int, _ column: Int) -> Int64 {
        withBytes(row, column) { $0.count == 8 ? Self.int64($0, at: 0) : 0 }
    }

    /// A value of type `int`.
    func int32(_ row: Int, _ column: Int) -> Int32 {
        withBytes(row, column) { $0.count == 4 ? Self.int32($0, at: 0) : 0 }
    }

    /// The bytes of a value of type `text[]`, of one dimension; NULL elements are left out.
    static func textArray(_ bytes: UnsafeRawBufferPointer) -> [String] {
        // dimensions, has-nulls, element type; for the one dimension: length, lower bound.
        guard bytes.count >= 20, int32(bytes, at: 0) == 1 else { return [] }
        var elements: [String] = []
        var offset = 20
        for _ in 0..<max(int32(bytes, at: 12), 0) {
            guard offset + 4 <= bytes.count else { break }
            let length = Int(int32(bytes, at: offset))
            offset += 4
            guard length >= 0, offset + length <= bytes.count else { continue }
            let element = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length])
            elements.append(String(decoding: element, as: UTF8.self))
            offset += length
        }
        return elements
    }

    private static func int32(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> Int32 {
        Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self))
    }

    private static func int64(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> Int64 {
        Int64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int64.self))
    }
}

/// What became of a query.
enum QueryOutcome: ~Copyable {
    case rows(Rows)
    case failed(DatabaseError)
}

/// One statement with its parameters.
struct Query: Sendable {
    /// What it is for, in errors.
    let operation: String
    let sql: String
    /// In PostgreSQL's text format; `nil` is NULL.
    let parameters: [String?]
    /// The name under which the session has prepared `sql`; `nil`: it is parsed anew.
    let preparedName: String?
    /// How long the answer may take.
    let timeout: Duration

    init(
        _ operation: String, _ sql: String, _ parameters: [String?] = [],
        preparedName: String? = nil, timeout: Duration = .seconds(10)
    ) {
        self.operation = operation
        self.sql = sql
        self.parameters = parameters
        self.preparedName = preparedName
        self.timeout = timeout
    }

    /// An array as PostgreSQL reads it from text: `{"a","b",NULL}`.
    static func array(_ elements: [String?]) -> String {
        let quoted = elements.map { element in
            guard let element else { return "NULL" }
            var text = "\""
            for character in element.unicodeScalars {
                if character == "\"" || character == "\\" { text.unicodeScalars.append("\\") }
                text.unicodeScalars.append(character)
            }
            return text + "\""
        }
        return "{" + quoted.joined(separator: ",") + "}"
    }
}
