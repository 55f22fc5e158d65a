/// One open stream, as `GET /admin/connections` shows it.
public struct OpenStream: Sendable {
    /// The connection's id, as `stream.open` and the log have it.
    public var id: String
    /// Whom the token names; `nil` with `auth=none`.
    public var identity: TokenIdentity?
    /// The client's address.
    public var address: String
    /// When the stream began.
    public var since: Timestamp
    /// Up to where the client has everything that is for it.
    public var cursor: Cursor
    /// Bytes that wait to be sent to it.
    public var unsentBytes: Int

    /// Creates the description of a stream.
    public init(
        id: String, identity: TokenIdentity?, address: String, since: Timestamp, cursor: Cursor,
        unsentBytes: Int
    ) {
        self.id = id
        self.identity = identity
        self.address = address
        self.since = since
        self.cursor = cursor
        self.unsentBytes = unsentBytes
    }

    /// `{"connections":[…]}`, the oldest first; what a token does not say is null.
    public static func json(of streams: [OpenStream]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append("{\"connections\":[")
        let sorted = streams.sorted { ($0.since, $0.id) < ($1.since, $1.id) }
        for (index, stream) in sorted.enumerated() {
            if index > 0 { bytes.append(",") }
            stream.appendJSON(to: &bytes)
        }
        bytes.append("]}")
        return bytes
    }

    private func appendJSON(to bytes: inout [UInt8]) {
        bytes.append("{\"id\":")
        bytes.appendJSONString(id)
        bytes.append(",\"user\":")
        bytes.appendJSON(identity?.user)
        bytes.append(",\"session\":")
        bytes.appendJSON(identity?.session)
        bytes.append(",\"address\":")
        bytes.appendJSONString(address)
        bytes.append(",\"since\":\"")
        since.append(to: &bytes)
        bytes.append("\",\"cursor\":\"")
        bytes.append(contentsOf: cursor.description.utf8)
        bytes.append("\",\"unsent_bytes\":")
        bytes.appendDecimal(Int64(unsentBytes))
        bytes.append("}")
    }
}

/// Which streams an operator means: those that meet all that is said.
public struct StreamSelection: Sendable, Equatable {
    private let id: String?
    private let user: String?
    private let session: String?

    /// Reads the query; throws a 400 if it says nothing, or something that is not known, since a
    /// misspelt name must not end all streams.
    public init(query: QueryString) throws(Problem) {
        id = try query.single("id")
        user = try query.single("user")
        session = try query.single("session")
        guard id != nil || user != nil || session != nil else {
            throw .badRequest("Say which: id, user or session.")
        }
    }

    /// Whether a stream is meant. Names are compared byte for byte.
    public func contains(id: String, identity: TokenIdentity?) -> Bool {
        func isMet(_ wanted: String?, _ actual: String?) -> Bool {
            guard let wanted else { return true }
            return actual.map { ExactText($0) == ExactText(wanted) } ?? false
        }
        return isMet(self.id, id) && isMet(user, identity?.user)
            && isMet(session, identity?.session)
    }
}

extension [UInt8] {
    fileprivate mutating func appendJSON(_ text: String?) {
        if let text { appendJSONString(text) } else { append("null") }
    }
}
