/// Where a text is no JSON5, and what is wrong there. It shows nothing of the text, which may be a secret.
public struct JSON5Fault: Error, Sendable, Equatable, CustomStringConvertible {
    /// The line, from 1.
    public let line: Int
    /// The character of the line, from 1.
    public let column: Int
    /// What is wrong.
    public let problem: String

    /// `line 3, column 7: …`
    public var description: String { "line \(line), column \(column): \(problem)" }
}

/// Reads an object in JSON5 (json5.org), in which settings are written.
///
/// Values come out as settings take them: numbers and truth values are texts. Stricter than JSON5 where
/// something would be lost without a word: a name that stands twice, `null`, `NaN` and `Infinity` are
/// faults. Foundation decodes JSON5, too, but on Linux says of a mistake only that there is one, and keeps
/// one of two members of a name.
public struct JSON5Reader {
    /// How many arrays and objects may lie within each other.
    public static let deepestNesting = 64

    private let text: [Unicode.Scalar]
    private var index = 0
    private var depth = 0

    private init(_ text: String) {
        self.text = Array(text.unicodeScalars)
    }

    /// Reads a text that is one object.
    public static func object(
        _ text: String
    ) throws(JSON5Fault) -> [String: SettingValue] {
        var reader = JSON5Reader(text)
        try reader.skipBlanks()
        guard reader.next == "{" else { throw reader.fault("an object begins with {") }
        let object = try reader.members()
        try reader.skipBlanks()
        guard reader.next == nil else { throw reader.fault("nothing may follow the object") }
        return object
    }

    // MARK: Values

    private mutating func value() throws(JSON5Fault) -> SettingValue {
        switch next {
        case "{": return .object(try members())
        case "[": return .list(try elements())
        case "\"", "'": return .text(try string())
        case "+", "-", ".": return .text(try number())
        case let scalar where Self.isDigit(scalar): return .text(try number())
        default: break
        }
        let start = index
        switch try name() {
        case "true": return .text("true")
        case "false": return .text("false")
        case "null": throw fault("null is no value of a setting: leave the line out", at: start)
        default: throw fault("a value is missing here; texts stand in quotes", at: start)
        }
    }

    private mutating func members() throws(JSON5Fault) -> [String: SettingValue] {
        var members: [String: SettingValue] = [:]
        try each(upTo: "}") { reader throws(JSON5Fault) in
            let start = reader.index
            let isQuoted = reader.next == "\"" || reader.next == "'"
            let name = isQuoted ? try reader.string() : try reader.name()
            guard isQuoted || !name.isEmpty else { throw reader.fault("a name is missing here") }
            guard members[name] == nil else {
                throw reader.fault("this name stands in the object already", at: start)
            }
            try reader.skipBlanks()
            guard reader.skip(":") else { throw reader.fault("a colon is missing before this") }
            try reader.skipBlanks()
            members[name] = try reader.value()
        }
        return members
    }

    private mutating func elements() throws(JSON5Fault) -> [SettingValue] {
        var elements: [SettingValue] = []
        try each(upTo: "]") { reader throws(JSON5Fault) in elements.append(try reader.value()) }
        return elements
    }

    /// Reads what stands with commas between, one behind the last allowed, up to the closing bracket.
    private mutating func each(
        upTo closing: Unicode.Scalar,
        _ body: (inout JSON5Reader) throws(JSON5Fault) -> Void
    ) throws(JSON5Fault) {
        let opening = index
        index += 1
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.deepestNesting else { throw fault("this lies too deep", at: opening) }
        try skipBlanks()
        while !skip(closing) {
            guard next != nil else { throw fault("this is never closed", at: opening) }
            try body(&self)
            try skipBlanks()
            guard skip(",") || next == closing || next == nil else {
                throw fault("a comma or \(closing) is missing before this")
            }
            try skipBlanks()
        }
    }

    // MARK: Texts, names and numbers

    private mutating func string() throws(JSON5Fault) -> String {
        let opening = index
        let quote = text[index]
        index += 1
        var string = String.UnicodeScalarView()
        while let scalar = next {
            index += 1
            switch scalar {
            case quote: return String(string)
            case "\n", "\r": throw fault("this text is not closed on its line", at: opening)
            case "\\": if let escaped = try escape() { string.append(escaped) }
            default: string.append(scalar)
            }
        }
        throw fault("this text is never closed", at: opening)
    }

    /// What stands for an escape whose backslash was read; `nil` for a line that goes on in the next.
    private mutating func escape() throws(JSON5Fault) -> Unicode.Scalar? {
        let start = index - 1
        guard let scalar = next else { return nil }
        index += 1
        switch scalar {
        case "b": return "\u{8}"
        case "f": return "\u{C}"
        case "n": return "\n"
        case "r": return "\r"
        case "t": return "\t"
        case "v": return "\u{B}"
        case "0"..."9":
            if scalar == "0", !Self.isDigit(next) { return "\0" }
            throw fault("no digit is escaped", at: start)
        case "x": return Unicode.Scalar(try hexadecimal(2, from: start))
        case "u": return try unicodeEscape(from: start)
        case "\r":
            _ = skip("\n")
            return nil
        case "\n", "\u{2028}", "\u{2029}": return nil
        default: return scalar
        }
    }

    private mutating func unicodeEscape(from start: Int) throws(JSON5Fault) -> Unicode.Scalar {
        let unit = try hexadecimal(4, from: start)
        if let scalar = Unicode.Scalar(unit) { return scalar }
        guard unit < 0xDC00, skip("\\"), skip("u") else {
            throw fault("half a character is escaped", at: start)
        }
        let second = try hexadecimal(4, from: start)
        guard (0xDC00...0xDFFF).contains(second),
            let scalar = Unicode.Scalar(0x10000 + (unit - 0xD800) << 10 + (second - 0xDC00))
        else { throw fault("half a character is escaped", at: start) }
        return scalar
    }

    private mutating func hexadecimal(
        _ count: Int, from start: Int
    ) throws(JSON5Fault) -> UInt32 {
        let digits = text[index...].prefix(count)
        guard digits.count == count, digits.allSatisfy(\.properties.isASCIIHexDigit),
            let value = UInt32(String(String.UnicodeScalarView(digits)), radix: 16)
        else { throw fault("\(count) hexadecimal digits are missing", at: start) }
        index += count
        return value
    }

    /// A name without quotes; empty if none begins here.
    private mutating func name() throws(JSON5Fault) -> String {
        var name = String.UnicodeScalarView()
        while let scalar = next {
            let isPart =
                scalar == "$" || scalar == "_" || scalar.properties.isXIDStart
                || (!name.isEmpty && scalar.properties.isXIDContinue)
            guard isPart else { break }
            index += 1
            name.append(scalar)
        }
        return String(name)
    }

    /// A number as settings take it: in decimal, whole ones without a point.
    private mutating func number() throws(JSON5Fault) -> String {
        let start = index
        let sign = skip("-") ? "-" : ""
        if sign.isEmpty { _ = skip("+") }
        let begin = index
        // Of an exponent, which a hexadecimal number has none of.
        while let scalar = next, isNumeric(scalar) || isSign(scalar, since: begin) { index += 1 }
        let word = String(String.UnicodeScalarView(text[begin..<index]))
        guard let value = Self.decimal(word) else {
            throw fault("this is no number; texts stand in quotes", at: start)
        }
        return sign + value
    }

    private static func decimal(_ word: String) -> String? {
        if word.lowercased().hasPrefix("0x") {
            return UInt32(word.dropFirst(2), radix: 16).map { String($0) }
        }
        let digits = word.unicodeScalars
        // 007 would be octal to some.
        guard digits.count < 2 || digits.first != "0" || !isDigit(digits.dropFirst().first) else {
            return nil
        }
        if let value = Int(word) { return String(value) }
        guard word != ".", let value = Double(word.hasSuffix(".") ? word + "0" : word),
            value.isFinite
        else { return nil }
        return Int(exactly: value).map { String($0) } ?? String(value)
    }

    private func isNumeric(_ scalar: Unicode.Scalar) -> Bool {
        scalar == "." || scalar.properties.isXIDContinue
    }

    private func isSign(_ scalar: Unicode.Scalar, since begin: Int) -> Bool {
        guard scalar == "+" || scalar == "-", index > begin else { return false }
        return text[index - 1] == "e" || text[index - 1] == "E"
    }

    private static func isDigit(_ scalar: Unicode.Scalar?) -> Bool {
        scalar.map { ("0"..."9").contains($0) } ?? false
    }

    // MARK: Characters

    private var next: Unicode.Scalar? { index < text.count ? text[index] : nil }

    private mutating func skip(_ scalar: Unicode.Scalar) -> Bool {
        guard next == scalar else { return false }
        index += 1
        return true
    }

    /// Skips blanks, line ends and comments.
    private mutating func skipBlanks() throws(JSON5Fault) {
        while let scalar = next {
            if scalar.properties.isWhitespace || scalar == "\u{FEFF}" {
                index += 1
            } else if scalar == "/" {
                try skipComment()
            } else {
                return
            }
        }
    }

    private mutating func skipComment() throws(JSON5Fault) {
        let start = index
        index += 1
        if skip("/") {
            while let scalar = next, scalar != "\n", scalar != "\r" { index += 1 }
        } else if skip("*") {
            while !(next == "*" && index + 1 < text.count && text[index + 1] == "/") {
                guard next != nil else { throw fault("this comment is never closed", at: start) }
                index += 1
            }
            index += 2
        } else {
            throw fault("a comment begins with // or /*", at: start)
        }
    }

    private func fault(_ problem: String, at place: Int? = nil) -> JSON5Fault {
        let before = text[..<(place ?? index)]
        let line = before.count { $0 == "\n" }
        let column = before.count - (before.lastIndex(of: "\n").map { $0 + 1 } ?? 0)
        return JSON5Fault(line: line + 1, column: column + 1, problem: problem)
    }
}
