/// JSON as a value, for small documents whose members decide something: tokens and sets of keys.
public enum JSONValue: Sendable, Equatable {
    /// `null`
    case null
    /// `true`, `false`
    case bool(Bool)
    /// A number without a fraction or exponent.
    case integer(Int64)
    /// Any other number.
    case number(Double)
    /// A string.
    case string(String)
    /// An array.
    case array([JSONValue])
    /// An object; of two members of one name its reader has refused it already.
    case object([String: JSONValue])

    /// The text, if it is a string.
    public var text: String? {
        if case .string(let text) = self { text } else { nil }
    }

    /// The texts, if it is an array of nothing but strings.
    public var texts: [String]? {
        guard case .array(let elements) = self else { return nil }
        let texts = elements.compactMap(\.text)
        return texts.count == elements.count ? texts : nil
    }

    /// The members, if it is an object.
    public var members: [String: JSONValue]? {
        if case .object(let members) = self { members } else { nil }
    }
}
