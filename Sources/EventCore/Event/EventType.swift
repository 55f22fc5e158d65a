/// The rules for event types: `TOPIC.WHAT`, two or more parts of `[A-Za-z0-9_-]` joined by dots.
public enum EventType {
    /// The longest type, in bytes.
    public static let maximumBytes = 128

    /// First parts that are ours: frames about the stream itself, and the canary of `doctor`.
    public static let reservedFirstParts: Set<String> = ["stream", "event_service"]

    /// Whether `text` may be the type of a published event.
    public static func isPublishable(_ text: String) -> Bool {
        let parts = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        return parts.count >= 2 && text.utf8.count <= maximumBytes
            && parts.allSatisfy { !$0.isEmpty && $0.allSatisfy(isPartByte) }
            && !reservedFirstParts.contains(String(Substring(parts[0])))
    }

    /// The topic of a type: all before its last dot.
    public static func topic(of type: String) -> Substring.UTF8View {
        type.utf8[..<(type.utf8.lastIndex(of: UInt8(ascii: ".")) ?? type.utf8.endIndex)]
    }

    static func isPartByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}

/// A type, or the beginning of one with a trailing `*`: `task.created`, `task.*`, `*`.
public struct TypePattern: Hashable, Sendable {
    /// The pattern as it was given.
    public let text: String
    fileprivate let isPrefix: Bool
    fileprivate let literal: [UInt8]

    /// Reads a pattern; `nil` if it could match no type.
    public init?(_ text: String) {
        isPrefix = text.utf8.last == UInt8(ascii: "*")
        literal = Array(isPrefix ? Substring(text).utf8.dropLast() : Substring(text).utf8)
        let dot = UInt8(ascii: ".")
        guard literal.count <= EventType.maximumBytes, isPrefix || !literal.isEmpty,
            literal.allSatisfy({ EventType.isPartByte($0) || $0 == dot }), literal.first != dot
        else { return nil }
        self.text = text
    }

    /// Whether the pattern matches a type.
    public func matches(_ type: String) -> Bool {
        isPrefix ? type.utf8.starts(with: literal) : type.utf8.elementsEqual(literal)
    }

    /// The same as a pattern of SQL's `LIKE`, where `_` and `%` stand for others.
    public var likePattern: String {
        var pattern = ""
        for byte in literal {
            if byte == UInt8(ascii: "_") { pattern += "\\" }
            pattern.unicodeScalars.append(Unicode.Scalar(byte))
        }
        return isPrefix ? pattern + "%" : pattern
    }
}

/// Patterns of types, of which a type matches one or none; thousands of them cost an event hardly more than
/// one does.
public struct TypePatternSet: Sendable {
    /// In the order of their bytes, without those that another covers. So of two neighbours none begins as
    /// the other, and what matches a type is the last that is not behind it.
    private var patterns: [TypePattern] = []

    /// The most patterns with which the database is asked: it compares each with every event.
    private static let longestList = 100

    /// Creates a set; an empty one matches nothing.
    public init(_ patterns: [TypePattern]) {
        let sorted = patterns.sorted {
            $0.literal == $1.literal
                ? $0.isPrefix && !$1.isPrefix : $0.literal.lexicographicallyPrecedes($1.literal)
        }
        for pattern in sorted {
            if let last = self.patterns.last, last == pattern || last.covers(pattern) { continue }
            self.patterns.append(pattern)
        }
    }

    /// Whether one of the patterns matches a type.
    public func matches(_ type: String) -> Bool {
        var (lower, upper) = (0, patterns.count)
        while upper - lower > 1 {
            let middle = (lower + upper) / 2
            if type.utf8.lexicographicallyPrecedes(patterns[middle].literal) {
                upper = middle
            } else {
                lower = middle
            }
        }
        return lower < upper && patterns[lower].matches(type)
    }

    /// The same as patterns of SQL's `LIKE`; `nil` if there are too many to ask with.
    public var likePatterns: [String]? {
        patterns.count <= Self.longestList ? patterns.map(\.likePattern) : nil
    }
}

extension TypePattern {
    fileprivate func covers(_ other: TypePattern) -> Bool {
        isPrefix && other.literal.starts(with: literal)
    }
}
