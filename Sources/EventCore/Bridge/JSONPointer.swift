/// Names a value in a JSON document (RFC 6901): `/task/id`, `/items/0`; empty: the whole document.
public struct JSONPointer: Sendable, Hashable {
    /// The pointer as it was written.
    public let text: String
    /// The names on the way, unescaped.
    let tokens: [String]

    /// Reads a pointer; `nil` if it does not begin with `/`, or a `~` stands before neither 0 nor 1.
    public init?(_ text: String) {
        guard text.isEmpty || text.hasPrefix("/") else { return nil }
        var tokens: [String] = []
        for part in text.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        where !text.isEmpty {
            guard let token = Self.unescape(part) else { return nil }
            tokens.append(token)
        }
        self.text = text
        self.tokens = tokens
    }

    private static func unescape(_ part: Substring) -> String? {
        var token = ""
        var rest = part[...]
        while let character = rest.unicodeScalars.popFirst() {
            guard character == "~" else {
                token.unicodeScalars.append(character)
                continue
            }
            switch rest.unicodeScalars.popFirst() {
            case "0": token += "~"
            case "1": token += "/"
            default: return nil
            }
        }
        return token
    }
}

/// A name stands twice in an object: two readers may take two different values for it, and one of them
/// may have decided who sees what.
struct AmbiguousMember: Error {
    let name: String
}

extension JSONDocument {
    /// The value that a pointer names; `nil` if there is none.
    func value(at pointer: JSONPointer) throws(AmbiguousMember) -> Value? {
        var value = root
        for token in pointer.tokens {
            let next: Value?
            switch value.kind {
            case .object: next = try member(token, of: value)
            case .array: next = element(token, of: value)
            case .string, .number, .bool, .null: next = nil
            }
            guard let next else { return nil }
            value = next
        }
        return value
    }

    private func member(_ name: String, of object: Value) throws(AmbiguousMember) -> Value? {
        var found: Value?
        var isAmbiguous = false
        forEachMember(of: object) { range, value in
            // The same bytes, where an equal text could be spelled in another way.
            guard bytes[range].elementsEqual(name.utf8) || isEscaped(range, name) else { return }
            isAmbiguous = found != nil
            found = value
        }
        if isAmbiguous { throw AmbiguousMember(name: name) }
        return found
    }

    private func isEscaped(_ range: Range<Int>, _ name: String) -> Bool {
        bytes[range].contains(UInt8(ascii: "\\"))
            && text(ofString: range)?.utf8.elementsEqual(name.utf8) ?? false
    }

    /// The index is decimal without leading zeros (RFC 6901, section 4).
    private func element(_ token: String, of array: Value) -> Value? {
        let elements = elements(of: array)
        guard let index = Int(token), String(index) == token, elements.indices.contains(index)
        else { return nil }
        return elements[index]
    }
}
