/// One name of an audience: `user:ID`, `session:ID`, `context:NAME`, or `*` for everyone.
///
/// An event carries the labels of those who may see it, a subscriber those that its token grants; the
/// event reaches the subscriber where the two sets meet.
public struct AudienceLabel: Hashable, Sendable {
    /// The label as it stands in the log, at most 1024 bytes of UTF-8.
    public let text: String

    /// Byte for byte, as the database compares: see `ExactText`.
    public static func == (left: Self, right: Self) -> Bool {
        left.text.isIdentical(to: right.text)
    }

    /// Everyone.
    public static let everyone = AudienceLabel(unchecked: "*")

    /// What a label may begin with.
    public enum Kind: String, CaseIterable, Sendable {
        /// A token's `sub`.
        case user = "user:"
        /// A token's `sid`.
        case session = "session:"
        /// One of a token's `contexts`.
        case context = "context:"
    }

    /// Reads a label; `nil` if it is of no kind, names nothing, or is longer than 1024 bytes.
    public init?(_ text: String) {
        let named = Kind.allCases.contains {
            text.begins(with: $0.rawValue) && text.utf8.count > $0.rawValue.utf8.count
        }
        guard text == "*" || (named && text.utf8.count <= 1024) else { return nil }
        self.text = text
    }

    /// The label of one user, session or context; `nil` for an empty name, which grants nothing.
    public init?(_ kind: Kind, _ name: String) {
        self.init(kind.rawValue + name)
    }

    /// A label that the log has already checked.
    public init(unchecked text: String) {
        self.text = text
    }

    /// NAME of `context:NAME`; `nil` for a label of another kind.
    public var contextName: Substring? {
        text.begins(with: Kind.context.rawValue)
            ? Substring(text.utf8.dropFirst(Kind.context.rawValue.utf8.count)) : nil
    }
}
