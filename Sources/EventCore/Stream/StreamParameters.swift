/// What a client asks of the stream or of history: the query, and `Last-Event-ID`.
public struct StreamParameters: Sendable, Equatable {
    /// What it wants to see.
    public var filter = EventFilter()
    /// Where it wants to begin.
    public var start = StartRequest.now
    /// That place in the client's own words, for `stream.reset`.
    public var requested = ""
    /// Where it goes on when that place cannot be served.
    public var gap = GapPolicy.head

    /// Reads the parameters of a request; throws a 400 that names the one that is wrong.
    public init(_ request: HTTPRequest, query: QueryString) throws(Problem) {
        filter = try Self.filter(query)
        if let text = try query.single("gap") {
            guard let policy = GapPolicy(rawValue: text) else {
                throw .badRequest("gap is head or earliest, not \"\(text.prefix(64))\".")
            }
            gap = policy
        }
        if let since = try query.single("since") {
            guard let start = StartRequest(since: since) else {
                throw .badRequest(
                    "since is now, earliest, an event's id or an RFC 3339 time, not"
                        + " \"\(since.prefix(64))\".")
            }
            self.start = start
            requested = since
        }
        let lastEventID = try query.single("last_event_id")
        // An empty Last-Event-ID is what a client sends that has none (HTML, section 9.2.2).
        let header = request.value(of: "last-event-id").flatMap { $0.isEmpty ? nil : $0 }
        if let id = header ?? lastEventID.flatMap({ $0.isEmpty ? nil : $0 }) {
            start = StartRequest(lastEventID: id)
            requested = id
        }
    }

    /// The parameters `context`, `type` and `key`.
    static func filter(_ query: QueryString) throws(Problem) -> EventFilter {
        var types: [TypePattern] = []
        for text in query.list(of: "type") {
            guard let pattern = TypePattern(text) else {
                throw .badRequest(
                    "type is an event type, or the beginning of one and *, not"
                        + " \"\(text.prefix(64))\".")
            }
            types.append(pattern)
        }
        // A key may contain commas, as a JSON array of several columns does: it is taken as a whole
        // and in parts.
        let whole = query.values(of: "key").filter { !$0.isEmpty }
        let known = Set(whole.map(ExactText.init))
        let parts = query.list(of: "key").filter { !known.contains(ExactText($0)) }
        let filter = EventFilter(
            contexts: query.list(of: "context"), types: types, keys: whole + parts)
        guard !(filter.contexts + filter.keys).contains(where: { $0.utf8.contains(0) }) else {
            throw .badRequest("No context and no key holds the character U+0000.")
        }
        return filter
    }
}

extension QueryString {
    /// The value of a parameter that may be given once; `nil` if it is not given.
    public func single(_ name: String) throws(Problem) -> String? {
        let values = values(of: name)
        guard values.count <= 1 else { throw .badRequest("\(name) is given more than once.") }
        return values.first
    }
}
