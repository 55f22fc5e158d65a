/// A request, its body read to the end.
public struct HTTPRequest: Sendable, Equatable {
    /// The method, as it was sent.
    public var method: String
    /// The path, percent-decoded; `*` for `OPTIONS *`.
    public var path: String
    /// What follows the first `?` of the target, still encoded.
    public var query: String
    /// The minor version of HTTP/1.
    public var minorVersion: Int
    /// The header fields in their order, names in lower case.
    public var fields: [HTTPField]
    /// The body.
    public var body: [UInt8]
    /// Whether the connection stays open for another request.
    public var keepsAlive: Bool

    /// The value of a field that may occur once; of several the first.
    public func value(of name: String) -> String? {
        fields.first { $0.name == name }?.value
    }

    /// The client's own name for the request, `X-Request-Id`, if it is short and harmless to repeat.
    public var requestID: String? {
        guard let given = value(of: "x-request-id"), (1...64).contains(given.utf8.count),
            given.utf8.allSatisfy({ EventType.isPartByte($0) || $0 == UInt8(ascii: ".") })
        else { return nil }
        return given
    }

    /// The values of a field whose lines make one list (RFC 9110, section 5.3).
    public func list(of name: String) -> [String] {
        fields.filter { $0.name == name }.flatMap { $0.value.split(separator: ",") }
            .map { $0.trimmingBlanks() }.filter { !$0.isEmpty }
    }
}

/// One line of a head.
public struct HTTPField: Sendable, Equatable {
    /// The name, in lower case.
    public var name: String
    /// The value without the blanks around it. Bytes that are not UTF-8 are replaced.
    public var value: String

    /// Creates a field.
    public init(name: String, value: String) {
        self.name = name
        self.value = value
    }
}

/// Why a request cannot be read; the connection is closed after the answer.
public struct HTTPParseError: Error, Sendable, Equatable {
    /// What to answer: 400, 413, 431, 501 or 505.
    public let status: Int
    /// What is wrong, for the one who wrote the client.
    public let detail: String

    init(_ status: Int, _ detail: String) {
        self.status = status
        self.detail = detail
    }
}

extension StringProtocol {
    /// The text without blanks and tabs at its ends.
    public func trimmingBlanks() -> String {
        let isBlank: (Character) -> Bool = { $0 == " " || $0 == "\t" }
        guard let start = firstIndex(where: { !isBlank($0) }),
            let end = lastIndex(where: { !isBlank($0) })
        else { return "" }
        return String(self[start...end])
    }
}

/// The character classes of RFC 9110 and RFC 9112.
enum HTTPBytes {
    /// `tchar` (RFC 9110, section 5.6.2): what names of methods and fields are made of.
    static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"),
            UInt8(ascii: "&"), UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"),
            UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "^"), UInt8(ascii: "_"),
            UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
            true
        default: false
        }
    }

    /// What a host with its port is made of (RFC 3986, section 3.2.2).
    static func isHost(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "#"), UInt8(ascii: "^"), UInt8(ascii: "`"), UInt8(ascii: "|"): false
        case UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: ","), UInt8(ascii: ":"),
            UInt8(ascii: ";"), UInt8(ascii: "="), UInt8(ascii: "["), UInt8(ascii: "]"):
            true
        default: isToken(byte)
        }
    }

    /// What may stand in the value of a field: visible characters, blanks, tabs, and bytes from 0x80.
    static func isValue(_ byte: UInt8) -> Bool {
        byte >= 0x20 && byte != 0x7F || byte == 0x09
    }
}
