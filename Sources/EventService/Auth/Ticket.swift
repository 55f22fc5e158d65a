import CJose
import CLinux
import EventCore
import Glibc

/// A single-use ticket: what a client that cannot send headers puts into the URL of its stream.
struct Ticket {
    /// 64 hexadecimal digits: 256 random bits.
    let text: String
    /// What the database keeps of it.
    let hash: String

    /// Makes a new one; `nil` if the system gives no random bytes.
    static func new() -> Ticket? {
        var bytes = [UInt8](repeating: 0, count: 32)
        guard getrandom(&bytes, bytes.count, 0) == bytes.count else { return nil }
        var digits: [UInt8] = []
        for byte in bytes {
            digits.append([UInt8].hexadecimal(byte >> 4))
            digits.append([UInt8].hexadecimal(byte & 15))
        }
        return Ticket(String(decoding: digits, as: UTF8.self))
    }

    /// Reads one that a client sent; `nil` for anything else, a token first of all.
    init?(_ text: String) {
        let isDigit: (UInt8) -> Bool = {
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
        }
        guard text.utf8.count == 64, text.utf8.allSatisfy(isDigit),
            let hash = Self.hash(of: text)
        else { return nil }
        self.text = text
        self.hash = hash
    }

    /// How the client gets it.
    var response: HTTPResponse {
        .json(Array("{\"token\":\"\(text)\",\"expires_in\":60}".utf8))
    }

    /// SHA-256, taken by libjose: the thumbprint (RFC 7638) of a key that is the ticket.
    private static func hash(of text: String) -> String? {
        let key = JoseJSON(["kty": "oct", "k": Base64URL.encode(text.utf8)])
        let thumbprint = JoseJSON(owning: jose_jwk_thp(nil, key?.pointer, "S256"))
        return thumbprint.flatMap { json_string_value($0.pointer) }.map { String(cString: $0) }
    }
}
