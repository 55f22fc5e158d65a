/// Who sees what: the table that the tests of the running service and docs/security.md are made from.
///
/// Written by hand; nothing of it is computed by the code that it is to judge.
public enum AccessMatrix {
    /// A token and what its request asks for.
    public struct Subscriber: Sendable {
        /// The head of its column.
        public let name: String
        /// The claims beside `exp` and `iat`, as JSON members.
        public let claims: String
        /// The query of its streams and pages.
        public let query: String
    }

    /// An event's audience, and its type.
    public struct Audience: Sendable {
        /// The labels; none is an event for nobody.
        public let labels: [String]
        /// The topic: `row` or `note`.
        public let topic: String
        /// A mark for each subscriber, in their order: `x` sees it.
        public let marks: String

        /// Whether a subscriber sees the event.
        public func isSeen(bySubscriber index: Int) -> Bool {
            Array(marks.filter { $0 != " " })[index] == "x"
        }

        /// The head of its row.
        public var name: String {
            (labels.isEmpty ? "no label" : labels.map { "`\($0)`" }.joined(separator: ", "))
                + (topic == "row" ? "" : ", type `\(topic).…`")
        }
    }

    /// What happens: all are to be seen by the same.
    public static let operations = ["publish", "insert", "update", "delete", "enter", "leave"]
    /// The ways on which an event can reach somebody: all show the same.
    public static let ways = ["live", "replay", "history", "single event", "ticket", "cookie"]

    /// The columns.
    public static let subscribers: [Subscriber] = [
        Subscriber(name: "user ann", claims: #""sub":"ann""#, query: ""),
        Subscriber(name: "ann, session s1", claims: #""sub":"ann","sid":"s1""#, query: ""),
        Subscriber(name: "user bob", claims: #""sub":"bob""#, query: ""),
        Subscriber(name: "session s2", claims: #""sid":"s2""#, query: ""),
        Subscriber(name: "context red", claims: #""contexts":["red"]"#, query: ""),
        Subscriber(
            name: "red, blue; asks for red", claims: #""contexts":["red","blue"]"#,
            query: "context=red"),
        Subscriber(name: "contexts team:*", claims: #""contexts":["team:*"]"#, query: ""),
        Subscriber(name: "contexts *", claims: #""contexts":["*"]"#, query: ""),
        Subscriber(
            name: "ann, events note.*", claims: #""sub":"ann","events":["note.*"]"#, query: ""),
        Subscriber(name: "no claims", claims: #""iss":"x""#, query: ""),
        Subscriber(
            name: "empty names", claims: #""sub":"","sid":"","contexts":[""]"#, query: ""),
        Subscriber(name: "events none", claims: #""sub":"ann","events":[]"#, query: ""),
    ]

    /// The rows.
    public static let audiences: [Audience] = [
        //                                                            ann s1 bob s2 red f tm  *  nt  -  ''  0
        Audience(
            labels: ["user:ann"], topic: "row",
            marks: "          x  x  .  .  .  .  .  .  .  .  .  ."),
        Audience(
            labels: ["user:ann"], topic: "note",
            marks: "         x  x  .  .  .  .  .  .  x  .  .  ."),
        Audience(
            labels: ["user:bob"], topic: "row",
            marks: "          .  .  x  .  .  .  .  .  .  .  .  ."),
        Audience(
            labels: ["user:anna"], topic: "row",
            marks: "         .  .  .  .  .  .  .  .  .  .  .  ."),
        Audience(
            labels: ["user:Ann"], topic: "row",
            marks: "          .  .  .  .  .  .  .  .  .  .  .  ."),
        Audience(
            labels: ["user:*"], topic: "row",
            marks: "            .  .  .  .  .  .  .  .  .  .  .  ."),
        Audience(
            labels: ["session:s1"], topic: "row",
            marks: "        .  x  .  .  .  .  .  .  .  .  .  ."),
        Audience(
            labels: ["session:s2"], topic: "row",
            marks: "        .  .  .  x  .  .  .  .  .  .  .  ."),
        Audience(
            labels: ["session:ann"], topic: "row",
            marks: "       .  .  .  .  .  .  .  .  .  .  .  ."),
        Audience(
            labels: ["context:red"], topic: "row",
            marks: "       .  .  .  .  x  x  .  x  .  .  .  ."),
        Audience(
            labels: ["context:blue"], topic: "row",
            marks: "      .  .  .  .  .  .  .  x  .  .  .  ."),
        Audience(
            labels: ["context:team:7"], topic: "row",
            marks: "    .  .  .  .  .  .  x  x  .  .  .  ."),
        Audience(
            labels: ["context:team"], topic: "row",
            marks: "      .  .  .  .  .  .  .  x  .  .  .  ."),
        Audience(
            labels: ["*"], topic: "row",
            marks: "                 x  x  x  x  x  .  x  x  .  x  x  ."),
        Audience(
            labels: ["*"], topic: "note",
            marks: "                x  x  x  x  x  .  x  x  x  x  x  ."),
        Audience(
            labels: ["user:bob", "context:red"], topic: "row",
            marks:
                "                                                   .  .  x  .  x  x  .  x  .  .  .  ."
        ),
        Audience(
            labels: ["user:ann", "session:s2"], topic: "row",
            marks:
                "                                                   x  x  .  x  .  .  .  .  .  .  .  ."
        ),
        Audience(
            labels: [], topic: "row",
            marks: "                    .  .  .  .  .  .  .  .  .  .  .  ."),
    ]

    /// What somebody comes with.
    public struct WayIn: Sendable {
        /// The head of its row.
        public let name: String
        /// The status of each request, in their order.
        public let statuses: [Int]
    }

    /// The requests of the second table.
    public static let requests = ["stream", "history", "single event", "publish", "ticket"]

    /// What each way in opens.
    public static let waysIn: [WayIn] = [
        WayIn(name: "nothing", statuses: [401, 401, 401, 401, 401]),
        WayIn(name: "token", statuses: [200, 200, 200, 403, 200]),
        WayIn(name: "token, scope events:publish", statuses: [403, 403, 403, 202, 403]),
        WayIn(name: "token, both scopes", statuses: [200, 200, 200, 202, 200]),
        WayIn(
            name: "token, both scopes, no publish_audiences", statuses: [200, 200, 200, 403, 200]),
        WayIn(name: "token, scope events:admin", statuses: [403, 403, 403, 403, 403]),
        WayIn(name: "token, scope empty", statuses: [403, 403, 403, 403, 403]),
        WayIn(name: "token that has expired", statuses: [401, 401, 401, 401, 401]),
        WayIn(name: "token that is revoked", statuses: [401, 401, 401, 401, 401]),
        WayIn(name: "token of another issuer", statuses: [401, 401, 401, 401, 401]),
        WayIn(name: "token as ?access_token=", statuses: [401, 401, 401, 401, 401]),
        WayIn(name: "token as ?sse_token=", statuses: [401, 401, 401, 401, 401]),
        WayIn(name: "ticket as ?sse_token=", statuses: [200, 401, 401, 401, 401]),
        WayIn(name: "ticket that was used", statuses: [401, 401, 401, 401, 401]),
        WayIn(name: "ticket as Bearer", statuses: [401, 401, 401, 401, 401]),
        WayIn(name: "token and ticket", statuses: [400, 200, 200, 202, 200]),
        WayIn(name: "two tokens", statuses: [400, 400, 400, 400, 400]),
        WayIn(name: "cookie, Sec-Fetch-Site: same-origin", statuses: [200, 200, 200, 202, 200]),
        WayIn(name: "cookie, Sec-Fetch-Site: same-site", statuses: [401, 401, 401, 401, 401]),
        WayIn(name: "cookie, Sec-Fetch-Site: cross-site", statuses: [401, 401, 401, 401, 401]),
        WayIn(name: "cookie, Origin of this host", statuses: [200, 200, 200, 202, 200]),
        WayIn(name: "cookie, Origin of another host", statuses: [401, 401, 401, 401, 401]),
        WayIn(name: "cookie, Origin null", statuses: [401, 401, 401, 401, 401]),
        WayIn(name: "cookie, neither", statuses: [200, 200, 200, 401, 401]),
        WayIn(name: "cookie of another site beside a token", statuses: [200, 200, 200, 202, 200]),
    ]

    /// Both tables for docs/security.md.
    public static var markdown: String {
        let heads = subscribers.map { $0.name.replacing("*", with: "\\*") }
        var lines = [
            "| audience of the event | " + heads.joined(separator: " | ") + " |",
            "| --- |" + heads.map { _ in " :-: |" }.joined(),
        ]
        for audience in audiences {
            let cells = heads.indices.map { audience.isSeen(bySubscriber: $0) ? "yes" : "–" }
            lines.append("| " + audience.name + " | " + cells.joined(separator: " | ") + " |")
        }
        lines += [
            "", "| comes with | " + requests.joined(separator: " | ") + " |",
            "| --- |" + requests.map { _ in " :-: |" }.joined(),
        ]
        for way in waysIn {
            let cells = way.statuses.map(String.init)
            lines.append("| " + way.name + " | " + cells.joined(separator: " | ") + " |")
        }
        return lines.joined(separator: "\n")
    }
}
