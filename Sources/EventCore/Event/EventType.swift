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
    private let isPrefix: Bool
    private let literal: [UInt8]

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
