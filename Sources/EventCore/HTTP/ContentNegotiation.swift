/// Whether what there is may be sent: the `Accept` field (RFC 9110, section 12.5.1).
public enum ContentNegotiation {
    /// Whether a request accepts a media type; without the field it accepts all.
    ///
    /// The most specific range that matches decides; a weight of zero excludes.
    public static func accepts(_ mediaType: String, _ request: HTTPRequest) -> Bool {
        let ranges = request.list(of: "accept")
        guard !ranges.isEmpty else { return true }
        let wildcard = mediaType.prefix { $0 != "/" } + "/*"
        for wanted in [mediaType[...], wildcard, "*/*"] {
            for range in ranges {
                let parts = range.split(separator: ";").map { $0.trimmingBlanks().lowercased() }
                guard let name = parts.first, name == wanted else { continue }
                return !parts.dropFirst().contains { weight($0) == 0 }
            }
        }
        return false
    }

    private static func weight(_ parameter: String) -> Double? {
        parameter.hasPrefix("q=") ? Double(parameter.dropFirst(2)) : nil
    }
}
