/// A message as a mapping sees it: JSON, and what came with it.
public struct BridgeMessage: Sendable {
    /// The message itself.
    public let document: JSONDocument
    /// By the names that templates use, such as `topic`; what is not there has none.
    public let names: [String: String]

    /// Reads a message, or throws why it is none.
    public init(_ bytes: [UInt8], names: [String: String]) throws(JSONFault) {
        document = try JSONDocument(bytes)
        self.names = names
    }

    /// A string as it is, a number or truth value as it is written.
    func text(at pointer: JSONPointer) -> FieldText {
        switch found(at: pointer) {
        case .success(nil): .absent
        case .success(let value?): text(of: value, pointer)
        case .failure(let error): .unusable(Self.ambiguous(error, pointer))
        }
    }

    /// The same for each element of an array.
    func texts(at pointer: JSONPointer) -> [FieldText] {
        guard case .success(let value?) = found(at: pointer), value.kind == .array else {
            return [text(at: pointer)]
        }
        return document.elements(of: value).map { text(of: $0, pointer) }
    }

    /// The bytes of a value, null too; `nil` if it is absent.
    func bytes(at pointer: JSONPointer) throws(AmbiguousMember) -> ArraySlice<UInt8>? {
        try document.value(at: pointer).map { document.bytes[$0.range] }
    }

    private func found(
        at pointer: JSONPointer
    ) -> Result<JSONDocument.Value?, AmbiguousMember> {
        Result { () throws(AmbiguousMember) in try document.value(at: pointer) }
    }

    private func text(of value: JSONDocument.Value, _ pointer: JSONPointer) -> FieldText {
        switch value.kind {
        case .null:
            return .absent
        case .number, .bool:
            return .text(String(decoding: document.bytes[value.range], as: UTF8.self))
        case .string:
            return document.text(of: value).map { .text($0) }
                ?? .unusable("\(pointer.text) holds U+0000 or half a surrogate pair")
        case .object:
            return .unusable(
                "\(pointer.text) is an object; a text, number or truth value is wanted")
        case .array:
            return .unusable("\(pointer.text) is an array; a text, number or truth value is wanted")
        }
    }

    static func ambiguous(_ error: AmbiguousMember, _ pointer: JSONPointer) -> String {
        "\(pointer.text): the name \"\(error.name)\" stands twice in one object"
    }
}
