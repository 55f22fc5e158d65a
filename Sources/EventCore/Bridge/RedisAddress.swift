/// Where a Redis server is, and how to log in: the setting `redis_url`.
public struct RedisAddress: Sendable, Equatable {
    /// How it is reached.
    public enum Location: Sendable, Equatable {
        /// By TCP.
        case host(String, port: UInt16)
        /// By a socket of the file system.
        case path(String)
    }

    /// How it is reached.
    public var location: Location
    /// The user of an ACL; `nil`: the default one.
    public var user: String?
    /// The password; `nil`: none is asked for.
    public var password: String?
    /// The number of the database.
    public var database: Int

    /// Reads `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]` or
    /// `unix://[[USER]:PASSWORD@]PATH[?db=DATABASE]`; `nil` if the text is neither.
    ///
    /// User and password are percent-encoded, as everywhere in URLs. `rediss://` is not read: the
    /// library speaks no TLS.
    public init?(_ text: String) {
        guard let scheme = ["redis://", "unix://"].first(where: text.hasPrefix) else { return nil }
        var rest = text.dropFirst(scheme.count)
        (user, password) = (nil, nil)
        if let at = rest.lastIndex(of: "@") {
            let credentials = rest[..<at]
            let colon = credentials.firstIndex(of: ":")
            guard let name = Self.decode(credentials[..<(colon ?? credentials.endIndex)]),
                let secret = Self.decode(colon.map { credentials[$0...].dropFirst() } ?? "")
            else { return nil }
            user = name.isEmpty ? nil : name
            password = secret.isEmpty ? nil : secret
            // A user without a password cannot log in.
            guard user == nil || password != nil else { return nil }
            rest = rest[at...].dropFirst()
        }
        if scheme == "unix://" {
            let parts = rest.split(separator: "?", maxSplits: 1)
            guard let path = parts.first, path.hasPrefix("/") else { return nil }
            location = .path(String(path))
            guard parts.count == 1 || parts[1].hasPrefix("db="),
                let number = Self.number(parts.count == 1 ? "" : parts[1].dropFirst(3))
            else { return nil }
            database = number
        } else {
            let slash = rest.firstIndex(of: "/") ?? rest.endIndex
            let authority = rest[..<slash]
            let hasPort = authority.last != "]" && authority.contains(":")
            guard let address = ListenAddress(hasPort ? String(authority) : authority + ":6379"),
                !authority.isEmpty, authority.first != ":", address.port > 0,
                let number = Self.number(rest[slash...].dropFirst())
            else { return nil }
            location = .host(address.host, port: address.port)
            database = number
        }
    }

    private static func number(_ text: Substring) -> Int? {
        if text.isEmpty { return 0 }
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return Int(text).flatMap { $0 <= 65_535 ? $0 : nil }
    }

    private static func decode(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = rest.prefix(2)
            guard digits.count == 2,
                digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
                let value = UInt8(String(Substring(digits)), radix: 16), value != 0
            else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}

extension RedisAddress: CustomStringConvertible {
    /// Without user and password.
    public var description: String {
        switch location {
        case .host(let host, let port):
            "redis://\(ListenAddress(host: host, port: port))/\(database)"
        case .path(let path): "unix://\(path)?db=\(database)"
        }
    }
}
