/// All settings of the service, checked; the defaults are those of an empty file.
public struct Configuration: Sendable {
    /// A libpq connection string or URI; empty: libpq's own defaults.
    public var databaseURL = ""
    /// Where the public listener listens.
    public var listen = ListenAddress(host: "127.0.0.1", port: 8080)
    /// Where the ops listener listens.
    public var opsListen = ListenAddress(host: "127.0.0.1", port: 8081)
    /// Whether tokens are asked for.
    public var auth = AuthMode.required
    /// Whether `auth=none` may listen on, and answer for, more than this machine.
    public var allowInsecure = false
    /// The secret of HS256 tokens; empty: none.
    public var jwtSecret = ""
    /// A file or URL with keys of tokens; empty: none.
    public var jwtJWKS = ""
    /// What `iss` must be; empty: anything.
    public var jwtIssuer = ""
    /// What `aud` must name; empty: there must be none.
    public var jwtAudience = ""
    /// How far the clocks of issuer and service may differ.
    public var jwtLeeway = Duration.seconds(30)
    /// For how long a token may be good.
    public var maxTokenLifetime = Duration.seconds(30 * 86_400)
    /// The function that knows whether a session is open; `nil`: none is asked.
    public var sessionCheck: SQLName?
    /// How often it is asked about open streams.
    public var sessionCheckInterval = Duration.seconds(60)
    /// Origins whose pages may read answers.
    public var allowedOrigins: [String] = []
    /// How long nothing is sent to a stream before a comment is.
    public var heartbeat = Duration.seconds(15)
    /// When a stream ends as planned; zero: never.
    public var streamLifetime = Duration.seconds(15 * 60)
    /// How many connections are accepted.
    public var maxConnections = 10_000
    /// How many streams a user may have; zero: any number.
    public var maxConnectionsPerUser = 20
    /// How many streams an address may have; zero: any number.
    public var maxConnectionsPerAddress = 0
    /// How fast an address may open streams.
    public var connectRate = Rate.unlimited
    /// How fast a user may publish events.
    public var publishRate = Rate.unlimited
    /// How fast an address may fail to authenticate.
    public var authFailureRate = Rate(count: 100, period: .seconds(60))
    /// Networks of proxies that are believed.
    public var trustedProxies: [IPNetwork] = []
    /// How long the head of a request may take.
    public var headerTimeout = Duration.seconds(10)
    /// How long a connection may stay open between requests.
    public var idleTimeout = Duration.seconds(75)
    /// How long the head of a request may be, in bytes.
    public var maxHeadBytes = 16 << 10
    /// How long the body of a request may be, in bytes.
    public var maxBodyBytes = 1 << 20
    /// How much of the log's end is kept in memory, in bytes.
    public var ringBytes = 64 << 20
    /// The folder of the browser modules; empty: found by itself.
    public var webRoot = ""
    /// Whether the page at `/` is served; `nil`: with `auth=none`.
    public var demo: Bool?
    /// How much may wait unsent for one stream, in bytes.
    public var maxBacklogBytes = 1 << 20
    /// How long the socket of a stream may take nothing.
    public var slowGrace = Duration.seconds(30)
    /// How many events are sequenced at once.
    public var batchMaxEvents = 1000
    /// How long an event may wait for others to be sequenced with.
    public var batchMaxDelay = Duration.milliseconds(5)
    /// What an event may take on the wire, in bytes.
    public var maxEventBytes = 64 << 10
    /// How long the log keeps events.
    public var retention = Duration.seconds(7 * 86_400)
    /// How long the end of the streams is spread over when the service stops.
    public var drain = Duration.seconds(10)
    /// How many loops serve connections; zero: one for each core.
    public var workers = 0
    /// How many connections to PostgreSQL there are beside the listening one.
    public var databasePoolSize = 4
    /// The Redis server of bridges; `nil`: none.
    public var redisURL: RedisAddress?
    /// What comes from Redis.
    public var redis = RedisSettings()
    /// Kafka's brokers, `HOST:PORT,…`; empty: none.
    public var kafkaBrokers = ""
    /// What comes from Kafka.
    public var kafka = KafkaSettings()
    /// How nodes that do not sequence get new events.
    public var fanout = FanoutMode.postgres
    /// The least of what is logged.
    public var logLevel = LogLevel.info
    /// How it is logged.
    public var logFormat = LogFormat.text

    /// Creates the defaults.
    public init() {}
}

/// Whether tokens are asked for: the setting `auth`.
public enum AuthMode: String, Sendable, CaseIterable {
    /// Every request needs a token.
    case required
    /// Tokens are neither asked for nor read; only for one's own machine.
    case none
}

/// How nodes that do not sequence get new events: the setting `fanout`.
public enum FanoutMode: String, Sendable, CaseIterable {
    /// Each reads them from the log.
    case postgres
    /// From the node that sequences, over a stream of Redis; what does not come that way from the log.
    case redis
}

/// How important a line of the log is: the setting `log_level`.
public enum LogLevel: String, Sendable, CaseIterable, Comparable {
    /// All there is.
    case trace
    /// Every request.
    case debug
    /// What the service does.
    case info
    /// What it could live with.
    case warning
    /// What it could not do.
    case error

    /// Less important than.
    public static func < (left: Self, right: Self) -> Bool {
        allCases.firstIndex(of: left).map { allCases[$0...].dropFirst().contains(right) } ?? false
    }
}

/// How lines of the log look: the setting `log_format`.
public enum LogFormat: String, Sendable, CaseIterable {
    /// For people.
    case text
    /// One JSON object a line.
    case json
}

/// A host and a port to listen on.
public struct ListenAddress: Sendable, Equatable, CustomStringConvertible {
    /// A name or a numeric address, without brackets.
    public let host: String
    /// 0 asks the system for a free one.
    public let port: UInt16

    /// Creates an address.
    public init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Reads `HOST:PORT`, `[IPv6]:PORT` or `:PORT`, which is every address of this machine's loopback.
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[colon...].dropFirst()),
            text[colon...].dropFirst().first != "+"
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        let allowed: (Character) -> Bool = {
            $0.isASCII && ($0.isLetter || $0.isNumber || ".-:_".contains($0))
        }
        guard host.allSatisfy(allowed) else { return nil }
        self.init(host: host.isEmpty ? "127.0.0.1" : String(host), port: port)
    }

    /// Whether only this machine can reach it.
    public var isLoopback: Bool { Self.isLoopback(host: host) }

    /// Whether a host is this machine: `localhost`, 127.0.0.0/8, `::1`.
    public static func isLoopback(host: String) -> Bool {
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return host.lowercased() == "localhost" || host == "::1"
            || parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }

    /// `HOST:PORT`.
    public var description: String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}
