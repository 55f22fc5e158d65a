import EventCore

/// The properties that librdkafka is given: defaults of ours, those of the settings, and those on which
/// hangs what is promised.
struct KafkaProperties: Sendable {
    let consumer: [(name: String, value: String)]
    let producer: [(name: String, value: String)]

    /// Reads the files that hold secrets.
    init(_ configuration: Configuration) throws(ConfigurationError) {
        var given: [(name: String, value: String)] = []
        for property in configuration.kafka.properties {
            switch property.value {
            case .text(let text): given.append((property.name, text))
            case .file(let path):
                given.append((property.name, try ConfigurationFile.secret(path)))
            }
        }
        let brokers = (name: "bootstrap.servers", value: configuration.kafkaBrokers)
        consumer =
            [
                ("client.id", "event-service"),
                ("auto.offset.reset", "earliest"),
                // A node that died is missed after ten seconds.
                ("session.timeout.ms", "10000"),
                // A topic that is made later is found.
                ("topic.metadata.refresh.interval.ms", "10000"),
                ("queued.max.messages.kbytes", "16384"),
            ] + given + [
                brokers, ("group.id", configuration.kafka.group),
                ("enable.auto.commit", "false"), ("enable.auto.offset.store", "false"),
                ("enable.partition.eof", "true"),
                ("statistics.interval.ms", Self.statisticsInterval),
            ]
        producer =
            [
                ("client.id", "event-service"), ("linger.ms", "5"),
                // The library tries for ever: given up, a message would be written behind later ones.
                ("message.timeout.ms", "0"),
            ] + given
            + [
                brokers, ("enable.idempotence", "true"),
                ("statistics.interval.ms", Self.statisticsInterval),
            ]
    }

    /// How often it is looked whether a broker is there.
    private static let statisticsInterval = "2000"

    /// Stops the start where a client could not be made of them.
    func check(_ configuration: Configuration, log: Log) throws(ConfigurationError) {
        do throws(KafkaError) {
            try KafkaClient.check(.consumer, consumer, log: log)
            if configuration.kafka.needsProducer {
                try KafkaClient.check(.producer, producer, log: log)
            }
        } catch {
            throw ConfigurationError(error.description)
        }
    }
}

extension BridgeCounters {
    /// A broker is there, or none is; says so where that is news.
    func note(brokersAreUp: Bool, _ log: Log) {
        guard note(isConnected: brokersAreUp) else { return }
        if brokersAreUp {
            log.info("bridge: connected to Kafka", ["bridge": name])
        } else {
            log.warning("bridge: no broker of Kafka is there", ["bridge": name])
        }
    }
}

extension KafkaSettings {
    /// Whether anything is written to Kafka.
    var needsProducer: Bool {
        !sinks.isEmpty || sources.contains { $0.deadLetterTopic != nil }
    }
}
