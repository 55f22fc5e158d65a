/// The setting `redis`: what comes from Redis, and what goes there.
public struct RedisSettings: Sendable, Equatable {
    /// How long a connection, and the reply to a command, may take.
    public var timeout = Duration.seconds(5)
    /// What is read.
    public var sources: [RedisSourceSettings] = []
    /// What is written.
    public var sinks: [RedisSinkSettings] = []

    /// Creates settings by which nothing is done.
    public init() {}
}

/// One element of `redis.sources`.
public struct RedisSourceSettings: Sendable, Equatable {
    /// What it reads.
    public enum Origin: Sendable, Equatable {
        /// Channels, and patterns of channels.
        case channels([String])
        /// A stream, for a consumer group.
        case stream(RedisStreamSettings)
    }

    /// By this it is told from others in logs and metrics.
    public var name: String
    /// What it reads.
    public var origin: Origin
    /// What becomes of the messages.
    public var mapping: SourceMapping
    /// Whether events go through the log; otherwise they are delivered to who is there, and forgotten.
    public var isDurable: Bool

    /// Creates the settings of a source.
    public init(name: String, origin: Origin, mapping: SourceMapping, isDurable: Bool = true) {
        self.name = name
        self.origin = origin
        self.mapping = mapping
        self.isDurable = isDurable
    }

    /// Whether a channel is a pattern for PSUBSCRIBE.
    public static func isPattern(_ channel: String) -> Bool {
        channel.utf8.contains { "*?[\\".utf8.contains($0) }
    }
}

/// A stream that is read.
public struct RedisStreamSettings: Sendable, Equatable {
    /// Its key.
    public var name: String
    /// The consumer group in which it is read.
    public var group: String
    /// The field of each entry that is the message.
    public var field: String
}

/// One element of `redis.sinks`.
public struct RedisSinkSettings: Sendable, Equatable {
    /// What it writes to.
    public enum Target: Sendable, Equatable {
        /// PUBLISH.
        case channel(BridgeTemplate)
        /// XADD to a stream of about so many entries at most.
        case stream(BridgeTemplate, maximumLength: Int)
    }

    /// By this its position is kept.
    public var name: String
    /// What it writes to.
    public var target: Target
    /// Which events.
    public var types: [TypePattern]

    /// Creates the settings of a sink.
    public init(name: String, target: Target, types: [TypePattern]) {
        self.name = name
        self.target = target
        self.types = types
    }
}
