/// A text with places for what a message holds: `user:{/user_id}`, `events.{topic}`.
///
/// In braces stands a JSON pointer into the message, or the name of something that came with it, such as
/// `{topic}`. A brace that is meant as such is written twice.
public struct BridgeTemplate: Sendable, Equatable {
    enum Piece: Sendable, Equatable {
        case literal(String)
        case pointer(JSONPointer)
        case name(String)
    }

    /// The template as it was written.
    public let text: String
    let pieces: [Piece]

    /// Reads a template.
    ///
    /// - Parameter names: what may stand in braces beside pointers.
    public init(_ text: String, names: [String]) throws(TemplateFault) {
        var pieces: [Piece] = []
        var literal = ""
        var rest = text.unicodeScalars[...]
        while let scalar = rest.popFirst() {
            if scalar == "{" || scalar == "}", rest.first == scalar {
                rest.removeFirst()
                literal.unicodeScalars.append(scalar)
            } else if scalar == "}" {
                throw TemplateFault(text, "a } that closes nothing; write }} for the character")
            } else if scalar == "{" {
                guard let end = rest.firstIndex(of: "}") else {
                    throw TemplateFault(text, "a { that is not closed; write {{ for the character")
                }
                if !literal.isEmpty { pieces.append(.literal(literal)) }
                literal = ""
                pieces.append(try Self.place(String(rest[..<end]), names, in: text))
                rest = rest[end...].dropFirst()
            } else {
                literal.unicodeScalars.append(scalar)
            }
        }
        if !literal.isEmpty { pieces.append(.literal(literal)) }
        self.text = text
        self.pieces = pieces
    }

    private static func place(
        _ inner: String, _ names: [String], in text: String
    ) throws(TemplateFault) -> Piece {
        if names.contains(inner) { return .name(inner) }
        guard !inner.isEmpty, let pointer = JSONPointer(inner) else {
            let allowed = ["a JSON pointer such as /user_id"] + names
            throw TemplateFault(
                text, "{\(inner)} stands for nothing; allowed is " + allowed.joined(separator: ", ")
            )
        }
        return .pointer(pointer)
    }

    /// The text, if it is the same for every message.
    public var constant: String? {
        switch pieces.count {
        case 0: ""
        case 1: if case .literal(let literal) = pieces[0] { literal } else { nil }
        default: nil
        }
    }

    /// The pointer, if the template is nothing else.
    var soloPointer: JSONPointer? {
        guard pieces.count == 1, case .pointer(let pointer) = pieces[0] else { return nil }
        return pointer
    }
}

/// A template that cannot be read.
public struct TemplateFault: Error, Equatable, CustomStringConvertible {
    /// For people.
    public let description: String

    init(_ template: String, _ problem: String) {
        description = "\"\(template)\": \(problem)"
    }
}

/// What a field of a message is worth in a template.
enum FieldText: Equatable {
    case text(String)
    /// Absent, or null.
    case absent
    /// For the dead letter.
    case unusable(String)
}

extension BridgeTemplate {
    /// Fills the places; the first that is absent, or of no use, decides.
    func fill(from message: BridgeMessage) -> FieldText {
        var filled = ""
        for piece in pieces {
            let field: FieldText =
                switch piece {
                case .literal(let literal): .text(literal)
                case .pointer(let pointer): message.text(at: pointer)
                case .name(let name): message.names[name].map { .text($0) } ?? .absent
                }
            guard case .text(let text) = field else { return field }
            filled += text
        }
        return .text(filled)
    }
}
