/// The name of a function in the database, as one writes it: `check` or `app.check`.
public struct SQLName: Sendable, Equatable {
    /// The name with its schema, quoted, to stand in a statement.
    public let quoted: String

    /// Reads a name of letters, digits and `_`; PostgreSQL's folding to small letters is done here.
    /// Without a schema it is in `public`.
    public init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        let isName: (Substring) -> Bool = { part in
            let first = part.utf8.first.map { !(0x30...0x39).contains($0) } ?? false
            return first && part.utf8.count <= 63
                && part.utf8.allSatisfy {
                    EventType.isPartByte($0) && $0 != UInt8(ascii: "-")
                }
        }
        guard (1...2).contains(parts.count), parts.allSatisfy(isName) else { return nil }
        let names = (parts.count == 1 ? ["public"] : []) + parts.map { $0.lowercased() }
        quoted = names.map { "\"\($0)\"" }.joined(separator: ".")
    }
}
