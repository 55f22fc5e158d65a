import Foundation
import TestSupport

/// What the run knows of who may see what: sets of labels and the contract's words, none of the service's
/// code.
struct AccessModel {
    /// What a subscriber holds.
    struct Holder: Sendable {
        var labels: Set<String>
        /// Contexts that begin so.
        var prefixes: [String] = []

        func holds(anyOf audience: Set<String>) -> Bool {
            !labels.isDisjoint(with: audience)
                || audience.contains { label in
                    prefixes.contains { label.hasPrefix("context:" + $0) }
                }
        }
    }

    /// What happened to a row, or was published.
    enum Change {
        case insert(key: String, version: Int, Set<String>)
        case delete(key: String, version: Int, Set<String>)
        case update(key: String, from: Int, to: Int, Set<String>, Set<String>)
        case publish(key: String, Set<String>)

        /// What a holder gets of it, as one line; `nil`: nothing.
        func seen(by holder: Holder) -> String? {
            switch self {
            case .insert(let key, let version, let audience):
                return holder.holds(anyOf: audience) ? "\(key) insert >\(version)" : nil
            case .delete(let key, let version, let audience):
                return holder.holds(anyOf: audience) ? "\(key) delete \(version)>" : nil
            case .publish(let key, let audience):
                return holder.holds(anyOf: audience) ? "\(key) publish >" : nil
            case .update(let key, let from, let to, let old, let new):
                if holder.holds(anyOf: old.intersection(new)) {
                    return "\(key) update \(from)>\(to)"
                }
                if holder.holds(anyOf: new) { return "\(key) enter >\(to)" }
                return holder.holds(anyOf: old) ? "\(key) leave >" : nil
            }
        }

        /// The operations of the events that the log has of it, in their order: a move is up to three.
        var operations: [String] {
            switch self {
            case .insert: return ["insert"]
            case .delete: return ["delete"]
            case .publish: return ["publish"]
            case .update(_, _, _, let old, let new):
                return (old.isSubset(of: new) ? [] : ["leave"])
                    + (old == new || !old.isDisjoint(with: new) ? ["update"] : [])
                    + (new.isSubset(of: old) ? [] : ["enter"])
            }
        }
    }

    private struct Row {
        var version = 1
        var audience: Set<String>
    }

    static let users = 200
    private static let contexts = 400
    private static let groups = 40
    private static let tables = ["docs", "bulk"]

    private var random: SeededGenerator
    private var rows: [String: Row] = [:]
    /// The keys of the rows, in an order that the seed decides.
    private var keys: [String] = []
    private var lastNumber = 0
    let holders: [Holder]
    /// Of every fifth user, a context that a second stream asks for alone.
    let narrowed: [(user: Int, context: String)]
    /// All that was committed, in its order.
    private(set) var changes: [Change] = []

    init(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let holders = (0..<Self.users).map { user in
            let own = (0..<3).map { _ in
                "context:c\(Int.random(in: 0..<Self.contexts, using: &random))"
            }
            return Holder(
                labels: Set(["user:u\(user)", "session:s\(user)", "*"] + own),
                prefixes: ["g\(user % Self.groups):"])
        }
        self.holders = holders
        narrowed = stride(from: 0, to: Self.users, by: 5).map { user in
            (user, holders[user].labels.filter { $0.hasPrefix("context:") }.min() ?? "")
        }
        self.random = random
    }

    /// Two tables, watched by row and by statement.
    static let schema = zip(tables, ["row", "statement"]).map { table, level in
        """
        CREATE TABLE \(table) (id int PRIMARY KEY, version int NOT NULL, secret text, users text[], sessions text[], contexts text[]);
        SELECT event_service.watch('\(table)', topic => '\(table)', columns => '{id,version,secret}', level => '\(level)',
            user_column => 'users', session_column => 'sessions', context_columns => '{contexts}');
        """
    }.joined()

    /// The claims of a user's token.
    func claims(_ user: Int) -> [String: Any] {
        let contexts = holders[user].labels.filter { $0.hasPrefix("context:") }
            .map { String($0.dropFirst("context:".count)) }
        return [
            "sub": "u\(user)", "sid": "s\(user)",
            "contexts": contexts.sorted() + holders[user].prefixes.map { $0 + "*" },
        ]
    }

    /// One transaction of some statements, as SQL; one in twenty is rolled back and changes nothing.
    mutating func transaction(statements: Int) -> String {
        let (rowsBefore, keysBefore, changesBefore) = (rows, keys, changes.count)
        let script = (0..<statements).map { _ in statement() }.joined(separator: ";\n")
        guard Int.random(in: 0..<20, using: &random) == 0 else {
            return "BEGIN;\n\(script);\nCOMMIT"
        }
        rows = rowsBefore
        keys = keysBefore
        changes.removeLast(changes.count - changesBefore)
        return "BEGIN;\n\(script);\nROLLBACK"
    }

    private mutating func audience() -> Set<String> {
        var labels: Set<String> = []
        for _ in 0..<Int.random(in: 0...2, using: &random) {
            labels.insert("user:u\(Int.random(in: 0..<Self.users, using: &random))")
        }
        if Int.random(in: 0..<3, using: &random) == 0 {
            labels.insert("session:s\(Int.random(in: 0..<Self.users, using: &random))")
        }
        for _ in 0..<Int.random(in: 0...2, using: &random) {
            labels.insert("context:c\(Int.random(in: 0..<Self.contexts, using: &random))")
        }
        if Int.random(in: 0..<5, using: &random) == 0 {
            let group = Int.random(in: 0..<Self.groups, using: &random)
            labels.insert("context:g\(group):\(Int.random(in: 0..<9, using: &random))")
        }
        return labels
    }

    private static func columns(_ audience: Set<String>) -> String {
        ["user:", "session:", "context:"].map { kind in
            let names = audience.filter { $0.hasPrefix(kind) }.map { $0.dropFirst(kind.count) }
            return "'{" + names.joined(separator: ",") + "}'"
        }.joined(separator: ", ")
    }

    private mutating func statement() -> String {
        lastNumber += 1
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<6:
            return publish("p\(lastNumber)", audience().union(["user:u0"]))
        case 6..<20 where rows.count < 2000, _ where rows.count < 20:
            let table = Self.tables.randomElement(using: &random) ?? ""
            let (key, audience) = ("\(table) \(lastNumber)", audience())
            rows[key] = Row(audience: audience)
            keys.append(key)
            changes.append(.insert(key: key, version: 1, audience))
            return
                "INSERT INTO \(table) VALUES (\(lastNumber), 1, 'secret of \(key) 1', \(Self.columns(audience)))"
        case 20..<30:
            let (index, key, row) = pick()
            rows[key] = nil
            keys.swapAt(index, keys.count - 1)
            keys.removeLast()
            changes.append(.delete(key: key, version: row.version, row.audience))
            return "DELETE FROM \(Self.place(key))"
        case let dice:
            let (_, key, row) = pick()
            let audience = dice < 65 ? row.audience : move(row.audience)
            let version = row.version + 1
            rows[key] = Row(version: version, audience: audience)
            changes.append(
                .update(key: key, from: row.version, to: version, row.audience, audience))
            let (table, condition) = (Self.table(key), Self.place(key).drop { $0 != " " })
            return
                "UPDATE \(table) SET version = \(version), secret = 'secret of \(key) \(version)',"
                + " (users, sessions, contexts) = (\(Self.columns(audience)))\(condition)"
        }
    }

    /// An event of its own.
    mutating func publish(_ key: String, _ audience: Set<String>) -> String {
        changes.append(.publish(key: "run \(key)", audience))
        let labels = audience.sorted().map { "\"\($0)\"" }.joined(separator: ",")
        return "SELECT event_service.publish('run.said', '{}', '{\(labels)}', '\(key)')"
    }

    /// To a wholly other audience, or by one label more or less.
    private mutating func move(_ audience: Set<String>) -> Set<String> {
        let other = self.audience()
        switch Int.random(in: 0..<3, using: &random) {
        case 0: return other
        case 1: return audience.union(other.sorted().prefix(1))
        default: return audience.subtracting(audience.sorted().prefix(1))
        }
    }

    private mutating func pick() -> (index: Int, key: String, row: Row) {
        let index = Int.random(in: 0..<keys.count, using: &random)
        let key = keys[index]
        return (index, key, rows[key] ?? Row(audience: []))
    }

    private static func table(_ key: String) -> Substring { key.prefix { $0 != " " } }

    private static func place(_ key: String) -> String {
        "\(table(key)) WHERE id = \(key.split(separator: " ")[1])"
    }
}
