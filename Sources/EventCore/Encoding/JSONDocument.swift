/// A JSON text that was checked as a whole (RFC 8259), and where its values stand in it.
///
/// For what comes from outside and is passed on: nothing is decoded but what is asked for, and a value
/// keeps its bytes, the digits of numbers and the order of members. What PostgreSQL's type `json` takes
/// is taken here, and nothing else.
///
/// Values lie in one array in the order of the text; each knows where the next one behind it begins, so
/// that a whole object is skipped in one step.
public struct JSONDocument: Sendable {
    /// What a value is.
    public enum Kind: Sendable, Equatable {
        case object
        case array
        case string
        case number
        case bool
        case null
    }

    /// One value, or the name of a member, which stands before its value.
    struct Node {
        let kind: Kind
        /// Where the value stands in the text.
        var range: Range<Int>
        /// The index of what follows this value and all that it holds.
        var next: Int
    }

    /// A value of the document.
    public struct Value: Sendable {
        let index: Int
        /// What it is.
        public let kind: Kind
        /// Where it stands in the text.
        public let range: Range<Int>
    }

    /// How many arrays and objects may lie within each other.
    public static let deepestNesting = 128

    /// The text.
    public let bytes: [UInt8]
    private let nodes: [Node]

    /// Reads a text, or throws what is wrong with it.
    public init(_ bytes: [UInt8]) throws(JSONFault) {
        guard String(validating: bytes, as: UTF8.self) != nil else {
            throw JSONFault(offset: nil, wanted: "UTF-8")
        }
        var scanner = JSONScanner(bytes)
        try scanner.document()
        nodes = scanner.nodes
        self.bytes = bytes
    }

    /// The outermost value.
    public var root: Value { value(at: 0) }

    private func value(at index: Int) -> Value {
        Value(index: index, kind: nodes[index].kind, range: nodes[index].range)
    }

    /// The members of an object; none of another value.
    ///
    /// A name is a string's bytes, quotes left out and escapes left in.
    public func forEachMember(
        of object: Value, _ body: (_ name: Range<Int>, _ value: Value) -> Void
    ) {
        guard object.kind == .object else { return }
        var index = object.index + 1
        let end = nodes[object.index].next
        while index < end {
            let name = nodes[index].range
            body(name.lowerBound + 1..<name.upperBound - 1, value(at: index + 1))
            index = nodes[index + 1].next
        }
    }

    /// The elements of an array; none of another value.
    public func elements(of array: Value) -> [Value] {
        guard array.kind == .array else { return [] }
        var elements: [Value] = []
        var index = array.index + 1
        let end = nodes[array.index].next
        while index < end {
            elements.append(value(at: index))
            index = nodes[index].next
        }
        return elements
    }

    /// The text that a string stands for; `nil` if it holds U+0000 or half a surrogate pair, which
    /// PostgreSQL's `text` does not take, or if the value is no string.
    public func text(of value: Value) -> String? {
        guard value.kind == .string else { return nil }
        return text(ofString: value.range.lowerBound + 1..<value.range.upperBound - 1)
    }

    /// The same by where it stands between its quotes.
    func text(ofString range: Range<Int>) -> String? {
        let raw = bytes[range]
        guard raw.contains(UInt8(ascii: "\\")) else { return String(decoding: raw, as: UTF8.self) }
        var decoded: [UInt8] = []
        var rest = raw
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\"), let escape = rest.popFirst() else {
                decoded.append(byte)
                continue
            }
            switch escape {
            case UInt8(ascii: "b"): decoded.append(0x08)
            case UInt8(ascii: "f"): decoded.append(0x0C)
            case UInt8(ascii: "n"): decoded.append(0x0A)
            case UInt8(ascii: "r"): decoded.append(0x0D)
            case UInt8(ascii: "t"): decoded.append(0x09)
            case UInt8(ascii: "u"):
                guard let scalar = Self.scalar(&rest), scalar != "\0" else { return nil }
                decoded.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
            default: decoded.append(escape)
            }
        }
        return String(decoding: decoded, as: UTF8.self)
    }

    /// What follows `\u`: one unit of UTF-16, or two that belong together.
    private static func scalar(_ rest: inout ArraySlice<UInt8>) -> Unicode.Scalar? {
        guard let first = unit(&rest) else { return nil }
        guard UTF16.isLeadSurrogate(first) else { return Unicode.Scalar(first) }
        guard rest.popFirst() == UInt8(ascii: "\\"), rest.popFirst() == UInt8(ascii: "u"),
            let second = unit(&rest), UTF16.isTrailSurrogate(second)
        else { return nil }
        return Unicode.Scalar(0x10000 + (UInt32(first & 0x3FF) << 10 | UInt32(second & 0x3FF)))
    }

    private static func unit(_ rest: inout ArraySlice<UInt8>) -> UInt16? {
        let digits = rest.prefix(4)
        rest = rest.dropFirst(4)
        return UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
    }
}

/// Why a text is not JSON.
public struct JSONFault: Error, Equatable, CustomStringConvertible {
    /// The byte at which it is not; `nil` if it is the text as a whole.
    public let offset: Int?
    /// What should stand there.
    public let wanted: String

    /// For people.
    public var description: String {
        "not JSON: no \(wanted)" + (offset.map { " at byte \($0)" } ?? "")
    }
}

/// Follows the grammar of RFC 8259, with a stack of its own: what comes from outside must not decide how
/// deep the program's own goes.
private struct JSONScanner {
    private let bytes: [UInt8]
    private var index = 0
    private(set) var nodes: [JSONDocument.Node] = []
    /// The objects and arrays that are open, innermost last.
    private var open: [Int] = []

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    private var byte: UInt8? { index < bytes.count ? bytes[index] : nil }

    private func fault(_ wanted: String) -> JSONFault { JSONFault(offset: index, wanted: wanted) }

    private mutating func skipBlanks() {
        while let byte, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { index += 1 }
    }

    private mutating func take(_ wanted: UInt8) -> Bool {
        guard byte == wanted else { return false }
        index += 1
        return true
    }

    mutating func document() throws(JSONFault) {
        repeat {
            skipBlanks()
            try value()
            // What was the last value of something ends that as well.
            while let container = open.last {
                skipBlanks()
                if take(UInt8(ascii: ",")) {
                    skipBlanks()
                    if nodes[container].kind == .object { try memberName() }
                    break
                }
                try close(container)
            }
        } while !open.isEmpty
        skipBlanks()
        guard index == bytes.count else { throw fault("end") }
    }

    private mutating func close(_ container: Int) throws(JSONFault) {
        let isObject = nodes[container].kind == .object
        guard take(UInt8(ascii: isObject ? "}" : "]")) else {
            throw fault(isObject ? "comma or }" : "comma or ]")
        }
        nodes[container].range = nodes[container].range.lowerBound..<index
        nodes[container].next = nodes.count
        open.removeLast()
    }

    /// A value that holds no others, and the beginnings of those around it.
    private mutating func value() throws(JSONFault) {
        while byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[") {
            guard open.count < JSONDocument.deepestNesting else {
                throw fault("end of nesting after \(JSONDocument.deepestNesting) levels")
            }
            let isObject = byte == UInt8(ascii: "{")
            open.append(nodes.count)
            index += 1
            append(isObject ? .object : .array, from: index - 1)
            skipBlanks()
            // An empty one: its end is what follows.
            if byte == UInt8(ascii: isObject ? "}" : "]") { return }
            if isObject { try memberName() }
            skipBlanks()
        }
        switch byte {
        case UInt8(ascii: "\""): try string()
        case UInt8(ascii: "t"): try word("true", .bool)
        case UInt8(ascii: "f"): try word("false", .bool)
        case UInt8(ascii: "n"): try word("null", .null)
        default: try number()
        }
    }

    private mutating func append(_ kind: JSONDocument.Kind, from start: Int) {
        nodes.append(JSONDocument.Node(kind: kind, range: start..<index, next: nodes.count + 1))
    }

    private mutating func memberName() throws(JSONFault) {
        guard byte == UInt8(ascii: "\"") else { throw fault("member name") }
        try string()
        skipBlanks()
        guard take(UInt8(ascii: ":")) else { throw fault("colon") }
    }

    private mutating func word(_ word: StaticString, _ kind: JSONDocument.Kind) throws(JSONFault) {
        let start = index
        for expected in word.description.utf8 {
            guard take(expected) else { throw fault("value") }
        }
        append(kind, from: start)
    }

    private mutating func string() throws(JSONFault) {
        let start = index
        index += 1
        while let byte {
            index += 1
            switch byte {
            case UInt8(ascii: "\""):
                return append(.string, from: start)
            case UInt8(ascii: "\\"):
                try escape()
            case 0..<0x20:
                index -= 1
                throw fault("character of a string")
            default:
                break
            }
        }
        throw fault("end of a string")
    }

    private mutating func escape() throws(JSONFault) {
        guard let byte, "\"\\/bfnrtu".utf8.contains(byte) else { throw fault("escape") }
        index += 1
        guard byte == UInt8(ascii: "u") else { return }
        for _ in 0..<4 {
            guard let digit = self.byte, Character(Unicode.Scalar(digit)).isHexDigit else {
                throw fault("hexadecimal digit")
            }
            index += 1
        }
    }

    private mutating func number() throws(JSONFault) {
        let start = index
        _ = take(UInt8(ascii: "-"))
        if !take(UInt8(ascii: "0")) { try digits(else: "value") }
        if take(UInt8(ascii: ".")) { try digits(else: "digit") }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            _ = take(UInt8(ascii: "+")) || take(UInt8(ascii: "-"))
            try digits(else: "digit")
        }
        append(.number, from: start)
    }

    private mutating func digits(else wanted: String) throws(JSONFault) {
        let start = index
        while let byte, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { index += 1 }
        guard index > start else { throw fault(wanted) }
    }
}

extension Sequence<UInt8> {
    /// Whether a JSON text has the escape `\u0000` in it: PostgreSQL's `text` and `jsonb` have no U+0000.
    public var holdsEscapedNUL: Bool {
        var bytes = makeIterator()
        while let byte = bytes.next() {
            // What follows a backslash is skipped with it: it may be one, too.
            guard byte == UInt8(ascii: "\\"), bytes.next() == UInt8(ascii: "u") else { continue }
            var zeros = 0
            while zeros < 4, bytes.next() == UInt8(ascii: "0") { zeros += 1 }
            if zeros == 4 { return true }
        }
        return false
    }
}
