import EventCore

extension Command {
    private static let settings = ConfigurationFile.options([
        "jwt_secret", "jwt_issuer", "jwt_audience",
    ])

    /// `event-service token`
    static let token = Command(
        name: "token", summary: "mints a signed token, for development",
        options: settings + [
            CommandOption("user", value: "ID", help: "sub: grants user:ID"),
            CommandOption("session", value: "ID", help: "sid: grants session:ID"),
            CommandOption(
                "context", value: "NAME", isRepeatable: true,
                help: "contexts: grants context:NAME; a trailing * is allowed"),
            CommandOption(
                "events", value: "TYPE", isRepeatable: true,
                help: "events: the types that may be seen [all]"),
            CommandOption(
                "publish-audience", value: "LABEL", isRepeatable: true,
                help: "publish_audiences: what may be published to"),
            CommandOption(
                "scope", value: "SCOPE", isRepeatable: true,
                help: "events:read, events:publish, events:admin [events:read]"),
            CommandOption("ttl", value: "DURATION", help: "how long it is good [1h]"),
        ]
    ) { arguments in
        let configuration = try ConfigurationFile.load(arguments, settings: settings)
        guard !configuration.jwtSecret.isEmpty else {
            throw ConfigurationError(
                "jwt_secret is not set; allowed is a text of at least 32 bytes", isUsage: true)
        }
        let ttl = arguments.value(of: "ttl") ?? "1h"
        guard let duration = DurationText.parse(ttl), duration >= .seconds(1) else {
            throw ConfigurationError(
                "--ttl: \"\(ttl)\" is not allowed; allowed is a duration such as 15m or 1h",
                isUsage: true)
        }
        let claims = try claims(arguments, configuration, ttl: duration.components.seconds)
        Terminal.print(
            try TokenSigner.sign(
                claims: String(decoding: claims.json, as: UTF8.self),
                secret: configuration.jwtSecret))
        return 0
    }
}

/// The claims that the options of `token` ask for.
private func claims(
    _ arguments: CommandArguments, _ configuration: Configuration, ttl: Int64
) throws(ConfigurationError) -> TokenClaims {
    let now = MonotonicClock.unixSecond()
    let text: (String) -> String? = { $0.isEmpty ? nil : $0 }
    var claims = TokenClaims(expiresAt: now + ttl)
    claims.issuedAt = now
    claims.issuer = text(configuration.jwtIssuer)
    claims.audience = text(configuration.jwtAudience).map { [$0] }
    claims.subject = arguments.value(of: "user")
    claims.session = arguments.value(of: "session")
    // So that the very token can be revoked.
    claims.tokenID = String(UInt64.random(in: .min ... .max), radix: 36)
    claims.contexts = arguments.list(of: "context")
    claims.publishAudiences = arguments.list(of: "publish-audience")
    if arguments.has("events") {
        claims.types = []
        for given in arguments.list(of: "events") {
            guard let pattern = TypePattern(given) else {
                throw ConfigurationError(
                    "--events: \"\(given)\" is not allowed; allowed is a type, or the beginning of one"
                        + " and *", isUsage: true)
            }
            claims.types?.append(pattern)
        }
    }
    if arguments.has("scope") {
        claims.scopes = []
        for given in arguments.list(of: "scope").flatMap({ $0.split(separator: " ") }) {
            guard let scope = Scope(rawValue: String(given)) else {
                throw ConfigurationError(
                    "--scope: \"\(given)\" is not allowed; allowed is "
                        + Scope.allCases.map(\.rawValue).joined(separator: ", "), isUsage: true)
            }
            claims.scopes.insert(scope)
        }
    }
    return claims
}
