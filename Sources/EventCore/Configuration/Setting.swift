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
    let apply: @Sendable (inout Configuration, SettingValue) -> Bool

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

/// What a source gave for a setting.
public enum SettingValue: Sendable, Equatable {
    /// A text, a number or a truth value, as it was written.
    case text(String)
    /// A list; in variables and flags the elements are separated by commas.
    case list([String])
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
        .duration(
            "heartbeat", \.heartbeat, .milliseconds(100)...(.seconds(3600)),
            "comment frame on an idle stream"),
        .duration(
            "stream_lifetime", \.streamLifetime, .zero...(.seconds(30 * 86_400)),
            "planned end of a stream at a random 80–100 % of it; `0` off"),
        .integer(
            "max_connections", \.maxConnections, 1...1_000_000,
            "connections at once; past it 503 with `Retry-After`"),
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
        .choice("log_level", \.logLevel, "the least of what is logged"),
        .choice("log_format", \.logFormat, "one line an entry, to standard error"),
    ]

    private typealias Field<Value> = any WritableKeyPath<Configuration, Value> & Sendable

    private init<Value>(
        _ name: String, _ field: Field<Value>, default defaultText: String, allowed: String,
        _ summary: String, secret: Bool = false, boolean: Bool = false,
        parse: @escaping @Sendable (SettingValue) -> Value?
    ) {
        self.name = name
        self.defaultText = defaultText
        self.allowed = allowed
        self.summary = summary
        isSecret = secret
        isBoolean = boolean
        apply = { configuration, value in
            guard let parsed = parse(value) else { return false }
            configuration[keyPath: field] = parsed
            return true
        }
    }

    private static func text(
        _ name: String, _ field: Field<String>, secret: Bool = false, default text: String,
        _ summary: String
    ) -> Setting {
        Setting(name, field, default: text, allowed: "a text", summary, secret: secret) {
            $0.single
        }
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

extension SettingValue {
    /// The value of a setting that is not a list.
    var single: String? {
        if case .text(let text) = self { text } else { nil }
    }
}

/// Sizes in settings: `64KiB`, `1MiB`, plain bytes.
enum ByteSize {
    private static let units: [(suffix: String, shift: Int)] = [
        ("KiB", 10), ("MiB", 20), ("GiB", 30),
    ]

    static func parse(_ text: String) -> Int? {
        let unit = units.first { text.hasSuffix($0.suffix) }
        let digits = text.dropLast(unit?.suffix.count ?? 0)
        guard digits.allSatisfy(\.isNumber), let number = Int(digits) else { return nil }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: 1 << (unit?.shift ?? 0))
        return overflow ? nil : bytes
    }

    static func text(_ bytes: Int) -> String {
        let unit = units.last { bytes > 0 && bytes % (1 << $0.shift) == 0 }
        return unit.map { "\(bytes >> $0.shift)\($0.suffix)" } ?? "\(bytes)"
    }
}

/// Durations in settings: `250ms`, `15s`, `15m`, `2h`, `7d`, `0`.
public enum DurationText {
    private static let units: [(suffix: String, milliseconds: Int64)] = [
        ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000),
    ]

    /// Reads a duration.
    public static func parse(_ text: String) -> Duration? {
        if text == "0" { return .zero }
        guard let unit = units.first(where: { text.hasSuffix($0.suffix) }) else { return nil }
        let digits = text.dropLast(unit.suffix.count)
        guard !digits.isEmpty, digits.allSatisfy({ $0.isASCII && $0.isNumber }),
            let number = Int64(digits)
        else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: unit.milliseconds)
        return overflow ? nil : .milliseconds(product)
    }

    /// Writes a duration in the largest unit that leaves no rest.
    public static func text(_ duration: Duration) -> String {
        let milliseconds = duration.wholeMilliseconds
        guard milliseconds != 0 else { return "0" }
        let unit = units.last { milliseconds % $0.milliseconds == 0 } ?? units[0]
        return "\(milliseconds / unit.milliseconds)\(unit.suffix)"
    }
}
