/// An address of version 4 or 6; one of version 4 in version 6's clothes (`::ffff:…`) is version 4.
public struct IPAddress: Sendable, Hashable {
    /// 4 or 16 bytes.
    public let bytes: [UInt8]

    /// Reads an address, without port or brackets; a zone behind `%` is left out.
    public init?(_ text: some StringProtocol) {
        let text = text.prefix { $0 != "%" }
        if text.contains(":") {
            guard let bytes = Self.version6(Substring(text)) else { return nil }
            let mapped = bytes[..<10].allSatisfy { $0 == 0 } && bytes[10...11] == [0xFF, 0xFF]
            self.bytes = mapped ? Array(bytes[12...]) : bytes
        } else {
            guard let bytes = Self.version4(Substring(text)) else { return nil }
            self.bytes = bytes
        }
    }

    /// `1.2.3.4`; without leading zeros, which some read as octal.
    private static func version4(_ text: Substring) -> [UInt8]? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bytes: [UInt8] = []
        for part in parts {
            guard part.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                (1...3).contains(part.count),
                part.count == 1 || part.first != "0", let byte = UInt8(part)
            else { return nil }
            bytes.append(byte)
        }
        return bytes
    }

    /// RFC 4291, section 2.2.
    private static func version6(_ text: Substring) -> [UInt8]? {
        guard let gap = text.firstRange(of: "::") else {
            guard let bytes = groups(text), bytes.count == 16 else { return nil }
            return bytes
        }
        let (before, after) = (text[..<gap.lowerBound], text[gap.upperBound...])
        guard let head = before.isEmpty ? [] : groups(before),
            let tail = after.isEmpty ? [] : groups(after), head.count + tail.count <= 14,
            // The dotted form stands at the end only.
            !before.contains(".")
        else { return nil }
        return head + [UInt8](repeating: 0, count: 16 - head.count - tail.count) + tail
    }

    private static func groups(_ text: Substring) -> [UInt8]? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        var bytes: [UInt8] = []
        for (index, part) in parts.enumerated() {
            if part.contains("."), index == parts.count - 1 {
                guard let last = version4(part) else { return nil }
                bytes += last
            } else {
                guard (1...4).contains(part.utf8.count), part.utf8.allSatisfy(isHexadecimal),
                    let group = UInt16(part, radix: 16)
                else { return nil }
                bytes += [UInt8(group >> 8), UInt8(group & 0xFF)]
            }
        }
        return bytes.count <= 16 ? bytes : nil
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
            UInt8(ascii: "A")...UInt8(ascii: "F"):
            true
        default: false
        }
    }

    /// What limits count by: the address, of version 6 its network of 64 bits, which one subscriber has
    /// for himself.
    public var limitKey: [UInt8] {
        bytes.count == 4 ? bytes : Array(bytes[..<8])
    }
}

extension IPAddress: CustomStringConvertible {
    /// The address as text; of version 6 without the short form.
    public var description: String {
        if bytes.count == 4 { return bytes.map { String($0) }.joined(separator: ".") }
        return stride(from: 0, to: 16, by: 2).map {
            String(UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]), radix: 16)
        }.joined(separator: ":")
    }
}

/// A network: `10.0.0.0/8`, `fd00::/8`, or one address.
public struct IPNetwork: Sendable, Hashable {
    private let address: IPAddress
    private let bits: Int

    /// Reads a network; `nil` also if bits behind the prefix are set, which is a slip of the pen.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = IPAddress(parts[0]), !parts[0].contains("%") else { return nil }
        let all = address.bytes.count * 8
        var bits = all
        if parts.count == 2 {
            guard let given = Int(parts[1]), (0...all).contains(given),
                parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) })
            else { return nil }
            bits = given
        }
        self.address = address
        self.bits = bits
        guard (bits..<all).allSatisfy({ !Self.bit($0, of: address) }) else { return nil }
    }

    private static func bit(_ index: Int, of address: IPAddress) -> Bool {
        address.bytes[index / 8] & 0x80 >> UInt8(index % 8) != 0
    }

    /// Whether an address lies in the network.
    public func contains(_ other: IPAddress) -> Bool {
        other.bytes.count == address.bytes.count
            && (0..<bits).allSatisfy { Self.bit($0, of: address) == Self.bit($0, of: other) }
    }
}
