import EventCore

/// All bridges of a node.
final class Bridges: Sendable {
    /// What each counts, for whoever shows it.
    let counters: [BridgeCounters]
    private let threads: [BridgeThread]

    /// Starts a thread for each bridge that the settings name.
    init(_ configuration: Configuration, log: Log) throws {
        let plans = try Self.plans(configuration, log)
        counters = plans.map(\.counters)
        threads = try plans.map { plan throws(SystemError) in try BridgeThread(plan, log: log) }
    }

    private static func plans(
        _ configuration: Configuration, _ log: Log
    ) throws(ConfigurationError) -> [BridgePlan] {
        try kafkaPlans(configuration, log) + redisPlans(configuration, log)
    }

    private static func kafkaPlans(
        _ configuration: Configuration, _ log: Log
    ) throws(ConfigurationError) -> [BridgePlan] {
        guard !configuration.kafka.sources.isEmpty else { return [] }
        guard !configuration.kafkaBrokers.isEmpty else {
            throw ConfigurationError("kafka: sources are set, but kafka_brokers is not")
        }
        let properties = try KafkaProperties(configuration)
        try properties.check(configuration, log: log)
        let counters = BridgeCounters(name: "kafka:\(configuration.kafka.group)")
        return [
            BridgePlan(counters: counters) { loop in
                try KafkaSource(
                    loop: loop, configuration: configuration, properties: properties,
                    counters: counters, log: log)
            }
        ]
    }

    private static func redisPlans(
        _ configuration: Configuration, _ log: Log
    ) throws(ConfigurationError) -> [BridgePlan] {
        guard !configuration.redis.sources.isEmpty else { return [] }
        guard let address = configuration.redisURL else {
            throw ConfigurationError("redis: sources are set, but redis_url is not")
        }
        return configuration.redis.sources.map { source in
            let counters = BridgeCounters(name: source.name)
            return BridgePlan(counters: counters) { loop in
                RedisStreamSource(
                    loop: loop, configuration: configuration, address: address, source: source,
                    counters: counters, log: log)
            }
        }
    }

    /// Lets all bridges take up nothing more, and end within this time.
    func finish(within duration: Duration) {
        for thread in threads { thread.finish(within: duration) }
    }

    /// Waits until all bridges have ended, which they were told to do; `now`: without what is under way.
    func join(now: Bool) {
        for thread in threads { thread.join(now: now) }
    }
}
