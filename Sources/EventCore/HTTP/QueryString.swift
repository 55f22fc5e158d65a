/// Percent-encoding (RFC 3986, section 2.1).
enum PercentEncoding {
    /// Decodes `text`; `nil` where a `%` is not followed by two digits, or the result is not UTF-8.
    static func decode(_ text: Substring, plusIsBlank: Bool = false) -> String? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count)
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "%"):
                guard let high = rest.popFirst().flatMap(digit),
                    let low = rest.popFirst().flatMap(digit)
                else { return nil }
                bytes.append(high << 4 | low)
            case UInt8(ascii: "+") where plusIsBlank:
                bytes.append(0x20)
            default:
                bytes.append(byte)
            }
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

/// The parameters of a query, decoded as HTML forms are.
public struct QueryString: Sendable {
    private let parameters: [(name: String, value: String)]

    /// Reads a query; `nil` if it is not percent-encoded UTF-8.
    public init?(_ query: String) {
        var parameters: [(name: String, value: String)] = []
        for part in query.split(separator: "&") {
            let equals = part.firstIndex(of: "=") ?? part.endIndex
            guard let name = PercentEncoding.decode(part[..<equals], plusIsBlank: true),
                let value = PercentEncoding.decode(part[equals...].dropFirst(), plusIsBlank: true)
            else { return nil }
            parameters.append((name, value))
        }
        self.parameters = parameters
    }

    /// Every value that was given for a name.
    public func values(of name: String) -> [String] {
        parameters.filter { $0.name == name }.map(\.value)
    }

    /// The elements of a repeatable, comma-separated parameter, empty ones left out.
    public func list(of name: String) -> [String] {
        values(of: name).flatMap { $0.split(separator: ",") }.map(String.init)
    }
}

extension QueryString {
    /// Percent-encodes a value for a query (RFC 3986, section 2.3).
    public static func encode(_ text: String) -> String {
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            if EventType.isPartByte(byte) || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "~")
            {
                bytes.append(byte)
            } else {
                bytes.append(UInt8(ascii: "%"))
                bytes.append([UInt8].hexadecimal(byte >> 4))
                bytes.append([UInt8].hexadecimal(byte & 15))
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
