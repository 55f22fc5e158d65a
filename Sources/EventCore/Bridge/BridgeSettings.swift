/// The setting `redis`: what comes from Redis.
public struct RedisSettings: Sendable, Equatable {
    /// How long a connection, and the reply to a command, may take.
    public var timeout = Duration.seconds(5)
    /// What is read.
    public var sources: [RedisSourceSettings] = []

    /// Creates settings by which nothing is done.
    public init() {}
}

/// One element of `redis.sources`.
public struct RedisSourceSettings: Sendable, Equatable {
    /// By this it is told from others in logs and metrics.
    public var name: String
    /// The stream that it reads.
    public var stream: String
    /// The consumer group in which it does.
    public var group: String
    /// The field of each entry that is the message.
    public var field: String
    /// What becomes of the messages.
    public var mapping: SourceMapping

    /// Creates the settings of a source.
    public init(
        name: String, stream: String, group: String, field: String, mapping: SourceMapping
    ) {
        self.name = name
        self.stream = stream
        self.group = group
        self.field = field
        self.mapping = mapping
    }
}
