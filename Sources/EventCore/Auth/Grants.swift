/// What a token lets its bearer see and do.
public struct Grants: Sendable {
    /// With `auth=none`: every label is held, and events without one are seen too.
    public var everything: Bool
    /// The labels that are held; everyone's `*` goes without saying.
    public var labels: Set<AudienceLabel>
    /// Of contexts granted by a pattern with a trailing `*`, what stands before it.
    public var contextPrefixes: [String]
    /// The types that may be seen; `nil`: all.
    public var types: [TypePattern]?
    /// What may be done.
    public var scopes: Set<Scope>
    /// The labels that may be published to.
    public var publishAudiences: [LabelPattern]

    /// Creates grants; without arguments they show what is for everyone.
    public init(
        everything: Bool = false, labels: Set<AudienceLabel> = [], contextPrefixes: [String] = [],
        types: [TypePattern]? = nil, scopes: Set<Scope> = [.read],
        publishAudiences: [LabelPattern] = []
    ) {
        self.everything = everything
        self.labels = labels
        self.contextPrefixes = contextPrefixes
        self.types = types
        self.scopes = scopes
        self.publishAudiences = publishAudiences
    }

    /// All there is: what every request has with `auth=none`.
    public static let all = Grants(everything: true, scopes: Set(Scope.allCases))

    /// What the claims of a token grant. An empty or overlong name grants nothing.
    public init(_ claims: TokenClaims) {
        self.init(types: claims.types, scopes: claims.scopes)
        if let label = claims.subject.flatMap({ AudienceLabel(.user, $0) }) {
            labels.insert(label)
        }
        if let label = claims.session.flatMap({ AudienceLabel(.session, $0) }) {
            labels.insert(label)
        }
        for name in claims.contexts {
            if name.utf8.last == UInt8(ascii: "*") {
                contextPrefixes.append(name.withoutLastByte)
            } else if let label = AudienceLabel(.context, name) {
                labels.insert(label)
            }
        }
        publishAudiences = claims.publishAudiences.map(LabelPattern.init)
    }

    /// Whether events of `context:NAME` may be seen.
    public func grantsContext(_ name: String) -> Bool {
        everything || contextPrefixes.contains { name.begins(with: $0) }
            || AudienceLabel(.context, name).map(labels.contains) ?? false
    }

    /// Whether a label may be published to.
    public func grantsPublishing(to label: AudienceLabel) -> Bool {
        everything || publishAudiences.contains { $0.matches(label) }
    }
}

/// What may be done: the claim `scope`.
public enum Scope: String, Sendable, CaseIterable {
    /// To see events; what a token without the claim may.
    case read = "events:read"
    /// To publish events.
    case publish = "events:publish"
    /// To look at and end others' streams.
    case admin = "events:admin"
}

/// A label, or the beginning of one with a trailing `*`; `*` alone matches every label.
public struct LabelPattern: Hashable, Sendable {
    private let literal: ExactText
    private let isPrefix: Bool

    /// Reads a pattern; an empty one matches nothing.
    public init(_ text: String) {
        isPrefix = text.utf8.last == UInt8(ascii: "*")
        literal = ExactText(isPrefix ? text.withoutLastByte : text)
    }

    /// Whether the pattern matches a label.
    public func matches(_ label: AudienceLabel) -> Bool {
        isPrefix
            ? label.text.begins(with: literal.text) : label.text.isIdentical(to: literal.text)
    }
}
