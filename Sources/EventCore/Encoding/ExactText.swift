/// A text that equals another only byte for byte.
///
/// Swift's `String` compares by canonical equivalence (é as one scalar and as two are equal), PostgreSQL
/// and RFC 7519 compare code points. Where a text names somebody, two that differ for the database must
/// not be one here: whoever can register the other spelling would see what is not theirs.
public struct ExactText: Hashable, Sendable {
    /// The text.
    public let text: String

    /// Wraps a text.
    public init(_ text: String) {
        self.text = text
    }

    /// The same bytes.
    public static func == (left: Self, right: Self) -> Bool {
        left.text.isIdentical(to: right.text)
    }
}

extension String {
    /// Whether two texts have the same bytes.
    public func isIdentical(to other: String) -> Bool {
        // Same bytes are equal and hash alike; the other way round has to be looked at.
        self == other && utf8.elementsEqual(other.utf8)
    }

    /// The text without its last byte, which is one of ASCII. `dropLast()` would take a whole character,
    /// and with the `*` of a pattern what binds to it.
    var withoutLastByte: String {
        String(decoding: utf8.dropLast(), as: UTF8.self)
    }
}

extension StringProtocol {
    /// Whether the text's bytes begin with those of another.
    public func begins(with start: some StringProtocol) -> Bool {
        utf8.starts(with: start.utf8)
    }
}
