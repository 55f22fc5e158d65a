/// An origin as browsers write it: scheme, host, and a port that is not the scheme's own (RFC 6454).
public struct Origin: Sendable, Hashable {
    /// As it stands in the field `Origin`.
    public let text: String
    private let authority: Substring
    private let standardPort: String

    /// Reads an origin; `nil` for `null`, and for anything that no browser would write.
    public init?(_ text: String) {
        let scheme = ["https://": ":443", "http://": ":80"].first { text.begins(with: $0.key) }
        guard let (start, port) = scheme else { return nil }
        let authority = text.dropFirst(start.count)
        let isWellFormed = authority.utf8.allSatisfy { byte in
            EventType.isPartByte(byte) && !(UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
                || [UInt8(ascii: "."), UInt8(ascii: ":"), UInt8(ascii: "["), UInt8(ascii: "]")]
                    .contains(byte)
        }
        guard !authority.isEmpty, isWellFormed, !authority.hasSuffix(port),
            !authority.hasSuffix(":"), !authority.hasPrefix(":")
        else { return nil }
        self.text = text
        self.authority = authority
        standardPort = port
    }

    /// Whether the host and port are those of a field `Host`.
    public func isAt(host: String) -> Bool {
        var host = host.lowercased()[...]
        if host.hasSuffix(standardPort) { host = host.dropLast(standardPort.count) }
        return String(host).isIdentical(to: String(authority))
    }
}

/// Which pages of other origins may read what is answered: the setting `allowed_origins`.
///
/// The CORS protocol (Fetch, section 3.3). No answer ever allows credentials, so that a browser never
/// sends the cookie along.
public struct CrossOriginRules: Sendable {
    private let allowed: Set<String>
    private let allowsAll: Bool

    /// How long a browser may keep the answer to a preflight, in seconds.
    public static let maximumAge = 7200

    /// Creates the rules of some origins; `*` is every one.
    public init(_ origins: [String]) {
        allowed = Set(origins)
        allowsAll = origins.contains("*")
    }

    /// The fields that go with every answer to a request from this origin; `nil`: it names none.
    public func fields(for origin: String?) -> [HTTPField] {
        guard !allowed.isEmpty else { return [] }
        // A cache must not give one origin's answer to another.
        var fields = allowsAll ? [] : [HTTPField(name: "Vary", value: "Origin")]
        guard let origin, admits(origin) else { return fields }
        fields += [
            HTTPField(name: "Access-Control-Allow-Origin", value: allowsAll ? "*" : origin),
            HTTPField(name: "Access-Control-Expose-Headers", value: "Retry-After, X-Request-Id"),
        ]
        return fields
    }

    /// What the answer to a preflight has beside these; nothing if it is none, or of no allowed origin.
    public func preflightFields(_ request: HTTPRequest, methods: [String]) -> [HTTPField] {
        guard request.method == "OPTIONS",
            request.value(of: "access-control-request-method") != nil,
            let origin = request.value(of: "origin"), admits(origin)
        else { return [] }
        return [
            HTTPField(
                name: "Access-Control-Allow-Methods", value: methods.joined(separator: ", ")),
            HTTPField(
                name: "Access-Control-Allow-Headers",
                value: "authorization, last-event-id, content-type, traceparent"),
            HTTPField(name: "Access-Control-Max-Age", value: String(Self.maximumAge)),
        ]
    }

    /// `null` is what any sandboxed page sends: never.
    private func admits(_ origin: String) -> Bool {
        guard let origin = Origin(origin) else { return false }
        return allowsAll || allowed.contains(origin.text)
    }
}
