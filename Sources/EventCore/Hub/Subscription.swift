/// What a request wants to see of what it may see: the query parameters `context`, `type` and `key`.
public struct EventFilter: Sendable, Equatable {
    /// Names of contexts; empty means that the audience is not narrowed.
    public var contexts: [String]
    /// Type patterns; empty means all.
    public var types: [TypePattern]
    /// Keys; empty means all.
    public var keys: [String]

    /// Creates a filter; without arguments it narrows nothing.
    public init(contexts: [String] = [], types: [TypePattern] = [], keys: [String] = []) {
        self.contexts = contexts
        self.types = types
        self.keys = keys
    }
}

/// What one subscriber sees: grants and filter, made one.
///
/// This is the only place that decides whether an event reaches somebody – on the stream, on replay, in
/// history and for a single event alike. SQL and the hub's index narrow what is looked at, never what
/// is let through.
///
/// An object, so that a stream keeps one word of it among what is touched for every event.
public final class Subscription: Sendable {
    /// The labels under which events reach the subscriber.
    public enum Reach: Sendable {
        /// Every label, and events without one.
        case everything
        /// These labels, and contexts that begin with one of the prefixes.
        case labels(Set<AudienceLabel>, contextPrefixes: [String])
    }

    /// The labels under which events reach the subscriber.
    public let reach: Reach
    /// `nil`: all.
    private let grantedTypes: TypePatternSet?
    private let types: TypePatternSet?
    private let keys: Set<ExactText>
    /// Whether all types and keys are let through.
    let isOpen: Bool

    /// Joins grants and filter, or throws the first context that is not granted.
    ///
    /// With contexts in the filter they alone are the reach, so that a row which moves from one context
    /// to another leaves the stream of the first, though its user may see both.
    public init(grants: Grants, filter: EventFilter) throws(ContextNotGranted) {
        for name in filter.contexts where !grants.grantsContext(name) {
            throw ContextNotGranted(name: name)
        }
        keys = Set(filter.keys.map(ExactText.init))
        types = filter.types.isEmpty ? nil : TypePatternSet(filter.types)
        grantedTypes = grants.types.map(TypePatternSet.init)
        isOpen = grants.types == nil && filter.types.isEmpty && filter.keys.isEmpty
        if !filter.contexts.isEmpty {
            reach = .labels(
                Set(filter.contexts.compactMap { AudienceLabel(.context, $0) }),
                contextPrefixes: [])
        } else if grants.everything {
            reach = .everything
        } else {
            reach = .labels(
                grants.labels.union([.everyone]), contextPrefixes: grants.contextPrefixes)
        }
    }

    /// Whether the subscriber sees an event.
    public func admits(
        type: String, key: String?, audience: [AudienceLabel], hiddenFrom: [AudienceLabel]
    ) -> Bool {
        if case .labels = reach, !holds(anyOf: audience) { return false }
        return admitsReached(type: type, key: key, hiddenFrom: hiddenFrom)
    }

    /// Whether the subscriber sees an event of whose audience it holds a label, as who is found through
    /// the hub's index does.
    func admitsReached(type: String, key: String?, hiddenFrom: [AudienceLabel]) -> Bool {
        if !hiddenFrom.isEmpty {
            guard case .labels = reach, !holds(anyOf: hiddenFrom) else { return false }
        }
        return isOpen
            || (grantedTypes?.matches(type) ?? true) && (types?.matches(type) ?? true)
                && (keys.isEmpty || key.map { keys.contains(ExactText($0)) } ?? false)
    }

    private func holds(anyOf wanted: [AudienceLabel]) -> Bool {
        guard case .labels(let held, let prefixes) = reach else { return !wanted.isEmpty }
        return wanted.contains { label in
            held.contains(label)
                || !prefixes.isEmpty
                    && label.contextName.map { name in prefixes.contains { name.begins(with: $0) } }
                        ?? false
        }
    }

    /// What a query of the log can leave out beforehand; `nil` where it cannot narrow.
    public var narrowing: Narrowing {
        var labels: [String]?
        if case .labels(let held, let prefixes) = reach, prefixes.isEmpty {
            labels = held.map(\.text).sorted()
        }
        return Narrowing(
            labels: labels,
            likePatterns: (types ?? grantedTypes)?.likePatterns,
            keys: keys.isEmpty ? nil : keys.map(\.text).sorted())
    }
}

/// A condition for a query of the log that holds for every event a subscription admits, and perhaps for
/// some that it does not.
public struct Narrowing: Sendable, Hashable {
    /// Labels of which the event has one; `nil` for any.
    public var labels: [String]?
    /// Patterns of SQL's `LIKE` of which one matches the type; `nil` for any.
    public var likePatterns: [String]?
    /// Keys; `nil` for any.
    public var keys: [String]?

    /// Creates a condition; without arguments every event meets it.
    public init(labels: [String]? = nil, likePatterns: [String]? = nil, keys: [String]? = nil) {
        self.labels = labels
        self.likePatterns = likePatterns
        self.keys = keys
    }

    /// Every event.
    public static let none = Narrowing()
}

/// A context was asked for that the token does not grant.
public struct ContextNotGranted: Error, Equatable {
    /// The context's name.
    public let name: String

    /// Creates the error.
    public init(name: String) {
        self.name = name
    }
}
