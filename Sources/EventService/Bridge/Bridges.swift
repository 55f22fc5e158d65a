import EventCore

/// All bridges of a node.
final class Bridges: Sendable {
    /// What each counts, for whoever shows it.
    let counters: [BridgeCounters]
    private let threads: [BridgeThread]

    /// Starts a thread for each bridge that the settings name, which calls `onEnd` when it ends.
    init(
        _ configuration: Configuration, inboxes: [WorkerInbox], log: Log,
        onEnd: @escaping @Sendable () -> Void
    ) throws {
        let plans = try Self.plans(configuration, inboxes, log)
        counters = plans.map(\.counters)
        threads = try plans.map { plan throws(SystemError) in
            try BridgeThread(plan, log: log, onEnd: onEnd)
        }
    }

    private static func plans(
        _ configuration: Configuration, _ inboxes: [WorkerInbox], _ log: Log
    ) throws(ConfigurationError) -> [BridgePlan] {
        try kafkaPlans(configuration, log) + redisPlans(configuration, inboxes, log)
    }

    private static func kafkaPlans(
        _ configuration: Configuration, _ log: Log
    ) throws(ConfigurationError) -> [BridgePlan] {
        let kafka = configuration.kafka
        guard !kafka.sources.isEmpty || !kafka.sinks.isEmpty else { return [] }
        guard !configuration.kafkaBrokers.isEmpty else {
            throw ConfigurationError("kafka: sources or sinks are set, but kafka_brokers is not")
        }
        let properties = try KafkaProperties(configuration)
        try properties.check(configuration, log: log)
        var plans: [BridgePlan] = []
        if !kafka.sources.isEmpty {
            let counters = BridgeCounters(name: "kafka:\(kafka.group)")
            plans.append(
                BridgePlan(counters: counters) { loop in
                    try KafkaSource(
                        loop: loop, configuration: configuration, properties: properties,
                        counters: counters, log: log)
                })
        }
        return plans
            + kafka.sinks.map { sink in
                let counters = BridgeCounters(name: "sink:\(sink.name)")
                return BridgePlan(counters: counters) { loop in
                    let target = try KafkaTarget(
                        loop: loop, properties: properties, settings: sink, counters: counters,
                        log: log)
                    return Sink(
                        loop: loop, url: configuration.databaseURL, name: sink.name,
                        types: sink.types, target: target, counters: counters, log: log)
                }
            }
    }

    private static func redisPlans(
        _ configuration: Configuration, _ inboxes: [WorkerInbox], _ log: Log
    ) throws(ConfigurationError) -> [BridgePlan] {
        let redis = configuration.redis
        guard !redis.sources.isEmpty || !redis.sinks.isEmpty else { return [] }
        guard let address = configuration.redisURL else {
            throw ConfigurationError("redis: sources or sinks are set, but redis_url is not")
        }
        let sources = redis.sources.map { source in
            let counters = BridgeCounters(name: source.name)
            return BridgePlan(counters: counters) { loop in
                switch source.origin {
                case .stream(let stream):
                    RedisStreamSource(
                        loop: loop, configuration: configuration, address: address, stream: stream,
                        mapping: source.mapping, counters: counters, log: log)
                case .channels(let channels):
                    RedisChannelSource(
                        loop: loop, configuration: configuration, address: address, source: source,
                        channels: channels, inboxes: inboxes, counters: counters, log: log)
                }
            }
        }
        let sinks = redis.sinks.map { sink in
            let counters = BridgeCounters(name: "sink:\(sink.name)")
            return BridgePlan(counters: counters) { loop in
                Sink(
                    loop: loop, url: configuration.databaseURL, name: sink.name, types: sink.types,
                    target: RedisTarget(
                        loop: loop, address: address, timeout: redis.timeout, settings: sink,
                        counters: counters, log: log), counters: counters, log: log)
            }
        }
        return sources + sinks
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
