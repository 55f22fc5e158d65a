import EventCore

extension Command {
    private static let settings = ConfigurationFile.options(["jwt_secret"])

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
        let now = MonotonicClock.date().microseconds / 1_000_000
        let claims = TokenClaims.json(
            arguments, issuedAt: now, expiresAt: now + duration.components.seconds)
        Terminal.print(
            try TokenSigner.sign(
                claims: String(decoding: claims, as: UTF8.self), secret: configuration.jwtSecret))
        return 0
    }
}

/// The claims that the options of `token` ask for.
private enum TokenClaims {
    static func json(_ arguments: CommandArguments, issuedAt: Int64, expiresAt: Int64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append("{\"iat\":")
        bytes.appendDecimal(issuedAt)
        bytes.append(",\"exp\":")
        bytes.appendDecimal(expiresAt)
        for (claim, option) in [("sub", "user"), ("sid", "session")] {
            guard let value = arguments.value(of: option) else { continue }
            appendName(claim, to: &bytes)
            bytes.appendJSONString(value)
        }
        for (claim, option) in [
            ("contexts", "context"), ("events", "events"),
            ("publish_audiences", "publish-audience"),
        ] where arguments.has(option) {
            appendName(claim, to: &bytes)
            appendList(arguments.list(of: option), to: &bytes)
        }
        if arguments.has("scope") {
            appendName("scope", to: &bytes)
            bytes.appendJSONString(arguments.list(of: "scope").joined(separator: " "))
        }
        bytes.append("}")
        return bytes
    }

    private static func appendName(_ name: String, to bytes: inout [UInt8]) {
        bytes.append(",")
        bytes.appendJSONString(name)
        bytes.append(":")
    }

    private static func appendList(_ values: [String], to bytes: inout [UInt8]) {
        for (index, value) in values.enumerated() {
            bytes.append(index == 0 ? "[" : ",")
            bytes.appendJSONString(value)
        }
        bytes.append("]")
    }
}
