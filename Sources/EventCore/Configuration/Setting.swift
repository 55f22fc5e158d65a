/// One setting: its name, what it may be, and what it does.
///
/// `listen` is `listen` in the file, `EVENT_SERVICE_LISTEN` in the environment, `--listen` as a flag.
public struct Setting: Sendable {
    /// The name, as in the file.
    public let name: String
    /// The default, as one would write it; empty: none.
    public let defaultText: String
    /// What is allowed, for error messages and the reference.
    public let allowed: String
    /// What it does.
    public let summary: String
    /// Whether its value must not be shown, and may stand in a file of its own.
    public let isSecret: Bool
    /// Whether the flag may stand without a value.
    public let isBoolean: Bool
    /// Whether it is an object: in a variable or flag it is written as JSON5.
    public let isObject: Bool
    let apply: @Sendable (inout Configuration, SettingValue) throws(SettingFault) -> Bool

    /// The variable of the environment.
    public var variable: String { Self.variablePrefix + name.uppercased() }
    /// The flag.
    public var flag: String { "--" + name.split(separator: "_").joined(separator: "-") }

    /// What all our variables begin with.
    public static let variablePrefix = "EVENT_SERVICE_"

    /// Finds a setting by its name.
    public static func named(_ name: String) -> Setting? {
        all.first { $0.name == name }
    }
}

extension Setting {
    /// All settings, in the order of the reference.
    public static let all: [Setting] = [
        .text(
            "database_url", \.databaseURL, secret: true, default: "DATABASE_URL, else libpq's own",
            "libpq connection string or URI; a direct connection, not a transaction-mode pooler"),
        .address("listen", \.listen, "public HTTP; port 0 picks a free one and logs it"),
        .address("ops_listen", \.opsListen, "health and, for operators, metrics and admin"),
        .choice(
            "auth", \.auth,
            "whether tokens are asked for; `none` is for one's own machine: every request sees all"),
        .boolean(
            "allow_insecure", \.allowInsecure,
            "lets `auth=none` listen on, and answer for, more than loopback"),
        .text("jwt_secret", \.jwtSecret, secret: true, default: "", "secret of HS256 tokens"),
        .text(
            "jwt_jwks", \.jwtJWKS, default: "", "JWK set with the keys of tokens: a file or a URL"),
        .text("jwt_issuer", \.jwtIssuer, default: "", "what `iss` of a token must be"),
        .text("jwt_audience", \.jwtAudience, default: "", "what `aud` of a token must name"),
        .duration(
            "jwt_leeway", \.jwtLeeway, .zero...(.seconds(300)), "how far clocks may differ"),
        .duration(
            "max_token_lifetime", \.maxTokenLifetime, .seconds(1)...(.seconds(3650 * 86_400)),
            "a token that is good for longer is refused; revocations are kept as long"),
        .parsed(
            "session_check", \.sessionCheck, default: "",
            allowed: "the name of a function, such as app.session_is_open",
            "SQL function (user, session, token id) asked at connect and at intervals"
        ) { value in
            guard let text = value.single else { return nil }
            return text.isEmpty ? .some(nil) : SQLName(text).map { .some($0) }
        },
        .duration(
            "session_check_interval", \.sessionCheckInterval, .seconds(1)...(.seconds(86_400)),
            "how often `session_check` is asked about open streams"),
        .parsed(
            "allowed_origins", \.allowedOrigins, default: "",
            allowed: "origins such as https://app.example, without a path or a standard port, or *",
            "pages of these origins may read what is answered (CORS)"
        ) { value in
            let origins = value.elements
            return origins.allSatisfy { $0 == "*" || Origin($0) != nil } ? origins : nil
        },
        .duration(
            "heartbeat", \.heartbeat, .milliseconds(100)...(.seconds(3600)),
            "comment frame on an idle stream"),
        .duration(
            "stream_lifetime", \.streamLifetime, .zero...(.seconds(30 * 86_400)),
            "planned end of a stream at a random 80–100 % of it; `0` off"),
        .integer(
            "max_connections", \.maxConnections, 1...1_000_000,
            "connections at once; past it 503 with `Retry-After`"),
        .integer(
            "max_connections_per_user", \.maxConnectionsPerUser, 0...1_000_000,
            "streams of one user at once; past it 429; `0` off"),
        .integer(
            "max_connections_per_address", \.maxConnectionsPerAddress, 0...1_000_000,
            "streams of one address at once; past it 429; `0` off"),
        .rate("connect_rate", \.connectRate, "streams that one address may open; `0` off"),
        .rate("publish_rate", \.publishRate, "events that one user may publish; `0` off"),
        .rate(
            "auth_failure_rate", \.authFailureRate,
            "failures of one address that get 401; further ones get 429; `0` off"),
        .parsed(
            "trusted_proxies", \.trustedProxies, default: "",
            allowed: "networks such as 10.0.0.0/8 or ::1",
            "networks whose `Forwarded` and `X-Forwarded-For` are believed"
        ) { value in
            let networks = value.elements.map { IPNetwork($0) }
            return networks.contains(nil) ? nil : networks.compactMap(\.self)
        },
        .duration(
            "header_timeout", \.headerTimeout, .milliseconds(100)...(.seconds(600)),
            "for the head of a request; past it 408"),
        .duration(
            "idle_timeout", \.idleTimeout, .milliseconds(100)...(.seconds(86_400)),
            "between the requests of a connection; past it the connection is closed"),
        .size("max_head_bytes", \.maxHeadBytes, 256...(1 << 20), "head of a request; past it 431"),
        .size("max_body_bytes", \.maxBodyBytes, 0...(64 << 20), "body of a request; past it 413"),
        .size(
            "ring_bytes", \.ringBytes, 0...(64 << 30), "newest encoded frames kept in memory"),
        .text(
            "web_root", \.webRoot, default: "beside the executable, else the checkout's web/dist",
            "folder of the browser modules and of the page"),
        .optionalBoolean(
            "demo", \.demo, default: "with `auth=none`", "the page at `/`"),
        .size(
            "max_backlog_bytes", \.maxBacklogBytes, (16 << 10)...(1 << 30),
            "unsent bytes for one stream before it is moved to catch-up from the log"),
        .duration(
            "slow_grace", \.slowGrace, .milliseconds(100)...(.seconds(3600)),
            "a stream whose socket takes no byte for so long ends with `slow`"),
        .integer(
            "batch_max_events", \.batchMaxEvents, 1...20_000, "events sequenced at once"),
        .duration(
            "batch_max_delay", \.batchMaxDelay, .milliseconds(1)...(.seconds(1)),
            "how long an event may wait for others to be sequenced with"),
        .size(
            "max_event_bytes", \.maxEventBytes, 1024...(64 << 20),
            "of a larger event `new`, `old` or `data` give way to `oversize`"),
        .duration(
            "retention", \.retention, .seconds(1)...(.seconds(3650 * 86_400)),
            "how long the log keeps events"),
        .duration(
            "drain", \.drain, .zero...(.seconds(3600)),
            "time over which SIGTERM spreads the end of the streams"),
        .integer(
            "workers", \.workers, 0...256, default: "number of cores",
            "I/O loops; `0` is one for each core"),
        .integer(
            "database_pool_size", \.databasePoolSize, 1...64,
            "connections to PostgreSQL for replay, history and publishing, beside the listening one"
        ),
        .parsed(
            "redis_url", \.redisURL, secret: true, default: "",
            allowed: "redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], or unix://PATH",
            "the Redis server of bridges; no TLS: see docs/bridges.md"
        ) { $0.single.flatMap { RedisAddress($0) } },
        .object("redis", \.redis, "what comes from Redis, and what goes there: docs/bridges.md") {
            value throws(SettingFault) in try RedisSettings(value)
        },
        .text(
            "kafka_brokers", \.kafkaBrokers, default: "",
            "Kafka's brokers, HOST:PORT with commas between"),
        .object("kafka", \.kafka, "what comes from Kafka, and what goes there: docs/bridges.md") {
            value throws(SettingFault) in try KafkaSettings(value)
        },
        .choice(
            "fanout", \.fanout,
            "how nodes that do not sequence get new events: from the log, or over `redis_url`"),
        .choice("log_level", \.logLevel, "the least of what is logged"),
        .choice("log_format", \.logFormat, "one line an entry, to standard error"),
    ]

    private typealias Field<Value> = any WritableKeyPath<Configuration, Value> & Sendable

    private init<Value>(
        _ name: String, _ field: Field<Value>, default defaultText: String, allowed: String,
        _ summary: String, secret: Bool = false, boolean: Bool = false, object: Bool = false,
        parse: @escaping @Sendable (SettingValue) throws(SettingFault) -> Value?
    ) {
        self.name = name
        self.defaultText = defaultText
        self.allowed = allowed
        self.summary = summary
        isSecret = secret
        isBoolean = boolean
        isObject = object
        apply = { configuration, value throws(SettingFault) in
            guard let parsed = try parse(value) else { return false }
            configuration[keyPath: field] = parsed
            return true
        }
    }

    /// A setting whose value is read as a whole; `nil` in the configuration: it is not set.
    private static func parsed<Value>(
        _ name: String, _ field: Field<Value?>, secret: Bool = false, default text: String,
        allowed: String, _ summary: String, parse: @escaping @Sendable (SettingValue) -> Value?
    ) -> Setting {
        Setting(name, field, default: text, allowed: allowed, summary, secret: secret) {
            parse($0).map { .some($0) }
        }
    }

    private static func object<Value>(
        _ name: String, _ field: Field<Value>, _ summary: String,
        parse: @escaping @Sendable (SettingValue) throws(SettingFault) -> Value
    ) -> Setting {
        Setting(
            name, field, default: "", allowed: "a JSON5 object", summary, object: true,
            parse: { value throws(SettingFault) in try parse(value) })
    }

    private static func text(
        _ name: String, _ field: Field<String>, secret: Bool = false, default text: String,
        _ summary: String
    ) -> Setting {
        Setting(name, field, default: text, allowed: "a text", summary, secret: secret) {
            $0.single
        }
    }

    /// A setting whose value is read as a whole.
    private static func parsed<Value>(
        _ name: String, _ field: Field<Value>, default text: String, allowed: String,
        _ summary: String, parse: @escaping @Sendable (SettingValue) -> Value?
    ) -> Setting {
        Setting(name, field, default: text, allowed: allowed, summary, parse: parse)
    }

    private static func rate(_ name: String, _ field: Field<Rate>, _ summary: String) -> Setting {
        Setting(
            name, field, default: Configuration()[keyPath: field].text,
            allowed: "a rate such as 20/s, 100/m or 500/h, or 0", summary
        ) { $0.single.flatMap { Rate($0) } }
    }

    private static func address(
        _ name: String, _ field: Field<ListenAddress>, _ summary: String
    ) -> Setting {
        Setting(
            name, field, default: Configuration()[keyPath: field].description,
            allowed: "HOST:PORT, for example 127.0.0.1:8080 or [::1]:0", summary
        ) { $0.single.flatMap { ListenAddress($0) } }
    }

    private static func choice<Value: RawRepresentable & CaseIterable & Sendable>(
        _ name: String, _ field: Field<Value>, _ summary: String
    ) -> Setting where Value.RawValue == String {
        Setting(
            name, field, default: Configuration()[keyPath: field].rawValue,
            allowed: Value.allCases.map(\.rawValue).joined(separator: ", "), summary
        ) { $0.single.flatMap { Value(rawValue: $0) } }
    }

    private static func boolean(
        _ name: String, _ field: Field<Bool>, _ summary: String
    ) -> Setting {
        Setting(
            name, field, default: String(Configuration()[keyPath: field]),
            allowed: "true or false", summary, boolean: true
        ) { $0.single.flatMap { Bool($0) } }
    }

    private static func optionalBoolean(
        _ name: String, _ field: Field<Bool?>, default text: String, _ summary: String
    ) -> Setting {
        Setting(name, field, default: text, allowed: "true or false", summary, boolean: true) {
            guard let value = $0.single.flatMap({ Bool($0) }) else { return nil }
            return .some(value)
        }
    }

    private static func integer(
        _ name: String, _ field: Field<Int>, _ range: ClosedRange<Int>, default text: String? = nil,
        _ summary: String
    ) -> Setting {
        Setting(
            name, field, default: text ?? String(Configuration()[keyPath: field]),
            allowed: "a number from \(range.lowerBound) to \(range.upperBound)", summary
        ) { $0.single.flatMap { Int($0) }.flatMap { range.contains($0) ? $0 : nil } }
    }

    private static func size(
        _ name: String, _ field: Field<Int>, _ range: ClosedRange<Int>, _ summary: String
    ) -> Setting {
        let (low, high) = (ByteSize.text(range.lowerBound), ByteSize.text(range.upperBound))
        return Setting(
            name, field, default: ByteSize.text(Configuration()[keyPath: field]),
            allowed: "a size from \(low) to \(high), such as 64KiB, 1MiB or plain bytes", summary
        ) { $0.single.flatMap(ByteSize.parse).flatMap { range.contains($0) ? $0 : nil } }
    }

    private static func duration(
        _ name: String, _ field: Field<Duration>, _ range: ClosedRange<Duration>,
        _ summary: String
    ) -> Setting {
        let (low, high) = (
            DurationText.text(range.lowerBound), DurationText.text(range.upperBound)
        )
        return Setting(
            name, field, default: DurationText.text(Configuration()[keyPath: field]),
            allowed: "a duration from \(low) to \(high), such as 250ms, 15s, 15m, 2h or 7d", summary
        ) { $0.single.flatMap(DurationText.parse).flatMap { range.contains($0) ? $0 : nil } }
    }
}
