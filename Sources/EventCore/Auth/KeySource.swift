/// Where keys of tokens are read from: the setting `jwt_jwks`.
public enum KeySource: Sendable, Equatable {
    /// A file on this machine; it may hold secrets.
    case file(String)
    /// A URL, which anybody can read.
    case url(String)

    /// Reads the setting; throws for a URL that does not protect what comes from it.
    public init(_ text: String) throws(ConfigurationError) {
        if text.begins(with: "https://") {
            self = .url(text)
        } else if text.begins(with: "http://") {
            // Whoever can change the answer on its way signs tokens of his own.
            let authority = text.dropFirst("http://".count).prefix { $0 != "/" && $0 != "?" }
            guard !authority.contains("@"),
                ListenAddress.isLoopback(host: HostName.withoutPort(String(authority)))
            else {
                throw ConfigurationError(
                    "jwt_jwks: http is for this machine only; use https, or a file that you fetch"
                        + " yourself")
            }
            self = .url(text)
        } else if text.contains("://") {
            throw ConfigurationError("jwt_jwks: allowed is an https URL or the name of a file")
        } else {
            self = .file(text)
        }
    }

    /// Whether secrets (keys for HS256) may stand in it.
    public var mayHoldSecrets: Bool {
        switch self {
        case .file: true
        case .url: false
        }
    }
}
