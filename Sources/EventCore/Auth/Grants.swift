/// What a token lets its bearer see and do.
public struct Grants: Sendable {
    /// With `auth=none`: every label is held, and events without one are seen too.
    public var everything: Bool
    /// The labels that are held; everyone's `*` goes without saying.
    public var labels: Set<AudienceLabel>
    /// Of contexts granted by a pattern with a trailing `*`, what stands before it.
    public var contextPrefixes: [String]
    /// The types that may be seen; empty means all.
    public var types: [TypePattern]
    /// Whether events may be read.
    public var mayRead: Bool
    /// Whether events may be published.
    public var mayPublish: Bool

    /// Creates grants; without arguments they show what is for everyone.
    public init(
        everything: Bool = false, labels: Set<AudienceLabel> = [], contextPrefixes: [String] = [],
        types: [TypePattern] = [], mayRead: Bool = true, mayPublish: Bool = false
    ) {
        self.everything = everything
        self.labels = labels
        self.contextPrefixes = contextPrefixes
        self.types = types
        self.mayRead = mayRead
        self.mayPublish = mayPublish
    }

    /// All there is: what every request has with `auth=none`.
    public static let all = Grants(everything: true, mayPublish: true)

    /// Whether events of `context:NAME` may be seen.
    public func grantsContext(_ name: String) -> Bool {
        everything || contextPrefixes.contains { name.hasPrefix($0) }
            || AudienceLabel(.context, name).map(labels.contains) ?? false
    }
}
