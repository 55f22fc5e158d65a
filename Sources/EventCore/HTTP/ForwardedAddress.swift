/// Finds whom a request comes from when it came through proxies: the setting `trusted_proxies`.
public struct ForwardedAddress: Sendable {
    private let trusted: [IPNetwork]

    /// How many hops are looked at.
    private static let mostHops = 32

    /// Creates the rule that believes proxies in these networks.
    public init(trusted: [IPNetwork]) {
        self.trusted = trusted
    }

    /// The address of the client, as text; the peer's own unless the peer is a trusted proxy.
    ///
    /// The lists are read from their end, where the nearest proxy wrote, as long as who wrote is
    /// trusted: what a client puts in front is never reached. A client can send the one field that the
    /// proxy does not write; where both fields are there and differ, neither is believed.
    public func client(of request: HTTPRequest, peer: String) -> String {
        guard !trusted.isEmpty, let nearest = IPAddress(peer), isTrusted(nearest) else {
            return peer
        }
        let plain = request.list(of: "x-forwarded-for").map { Self.address($0) }
        let standard = Self.elements(request).map { Self.address($0) }
        let found = [plain, standard].filter { !$0.isEmpty }.map { walk($0, from: nearest) }
        guard let first = found.first, found.allSatisfy({ $0 == first }) else { return peer }
        return first == nearest ? peer : first.description
    }

    private func walk(_ hops: [IPAddress?], from nearest: IPAddress) -> IPAddress {
        var address = nearest
        for hop in hops.reversed().prefix(Self.mostHops) {
            guard isTrusted(address), let hop else { break }
            address = hop
        }
        return address
    }

    private func isTrusted(_ address: IPAddress) -> Bool {
        trusted.contains { $0.contains(address) }
    }

    /// The `for` of each element of `Forwarded` (RFC 7239, section 4); empty where an element has none.
    private static func elements(_ request: HTTPRequest) -> [String] {
        request.list(of: "forwarded").map { element in
            let pairs = element.split(separator: ";").map { $0.trimmingBlanks() }
            let pair = pairs.first { $0.lowercased().hasPrefix("for=") }
            return pair.map { String($0.dropFirst(4)) } ?? ""
        }
    }

    /// An address with or without port, brackets and quotes; `nil` for `unknown` and other names.
    private static func address(_ text: String) -> IPAddress? {
        var text = text[...]
        if text.count >= 2, text.hasPrefix("\""), text.hasSuffix("\"") {
            text = text.dropFirst().dropLast()
        }
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            return IPAddress(text[..<end].dropFirst())
        }
        if text.contains("."), let colon = text.lastIndex(of: ":"),
            text.firstIndex(of: ":") == colon
        {
            text = text[..<colon]
        }
        return IPAddress(text)
    }
}
