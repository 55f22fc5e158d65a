import EventCore

/// Examines the other side of each bridge, without taking anything from it or giving it anything.
///
/// That the mappings are sound is known: settings that say otherwise are refused before.
struct BridgeExamination {
    let configuration: Configuration
    /// What the libraries have to say stands in the line.
    private let log = Log(level: .error, format: .text)

    /// One line for each bridge.
    func results() -> [CheckResult] {
        kafka() + redis()
    }

    // MARK: Redis

    private func redis() -> [CheckResult] {
        let settings = configuration.redis
        let sources = settings.sources.map { source in
            switch source.origin {
            case .stream(let stream): (source.name, ["XINFO", "STREAM", stream.name])
            case .channels: (source.name, ["PING"])
            }
        }
        let passesOn = configuration.fanout == .redis && configuration.redisURL != nil
        let fanout = passesOn ? [("fanout", ["PING"])] : []
        let bridges = sources + settings.sinks.map { ("sink:\($0.name)", ["PING"]) } + fanout
        guard let address = configuration.redisURL else {
            return bridges.map {
                .fault($0.0, "redis_url is not set", mend: "set redis_url to where Redis is")
            }
        }
        return bridges.map { name, command in
            guard let fault = Self.ask(address, command, within: settings.timeout) else {
                return .ok(name, "\(address.description) answers, the mapping is sound")
            }
            return .fault(name, "\(address.description): \(fault)", mend: Self.mend(fault))
        }
    }

    /// Why Redis does not do what the bridge would ask of it; `nil`: it does.
    private static func ask(
        _ address: RedisAddress, _ command: [String], within timeout: Duration
    ) -> String? {
        do {
            let loop = try EventLoop()
            let connection = RedisConnection(loop: loop, address: address, timeout: timeout)
            var fault: String? = "the connection broke"
            connection.onLoss = { [unowned loop] reason in
                fault = reason
                loop.stop()
            }
            connection.connect { [unowned loop, unowned connection] reason in
                if let reason {
                    fault = reason
                    return loop.stop()
                }
                connection.send(command) { [unowned loop] reply in
                    guard let reply else { return }
                    fault = reply.errorMessage.flatMap { Self.isFault($0, command) ? $0 : nil }
                    loop.stop()
                }
            }
            loop.run()
            connection.close()
            return fault
        } catch {
            return "\(error)"
        }
    }

    /// A stream that is not there yet will be made; and PING is no right that a bridge needs.
    private static func isFault(_ message: String, _ command: [String]) -> Bool {
        !message.hasPrefix("ERR no such key")
            && !(command == ["PING"] && message.hasPrefix("NOPERM"))
    }

    private static func mend(_ fault: String) -> String {
        if fault.hasPrefix("AUTH") || fault.hasPrefix("NOAUTH") {
            return "set user and password in redis_url, or redis_url_file"
        }
        if fault.hasPrefix("NOPERM") { return "give the user the rights of docs/bridges.md" }
        if fault.hasPrefix("WRONGTYPE") { return "name a key that is a stream, or none yet" }
        return "start Redis there, or set redis_url to where it is"
    }

    // MARK: Kafka

    private func kafka() -> [CheckResult] {
        let settings = configuration.kafka
        guard !settings.sources.isEmpty || !settings.sinks.isEmpty else { return [] }
        var wanted: [(name: String, topics: [String])] = []
        if !settings.sources.isEmpty {
            wanted.append(("kafka:\(settings.group)", settings.sources.flatMap(\.topics)))
        }
        wanted += settings.sinks.map {
            ("sink:\($0.name)", [$0.topic.constant].compactMap { $0 })
        }
        do {
            let properties = try KafkaProperties(configuration)
            let topics = try KafkaClient.topics(properties.consumer, within: .seconds(10), log: log)
            return wanted.map { name, wanted in
                let missing = wanted.filter { !topics.contains($0) }.sorted()
                guard missing.isEmpty else {
                    return .fault(
                        name, "no topic \(missing.joined(separator: ", "))",
                        mend: "make it; or, where brokers make topics by themselves, send the first"
                            + " message")
                }
                return .ok(
                    name, "\(configuration.kafkaBrokers) answers, the mapping is sound")
            }
        } catch {
            return wanted.map { name, _ in
                .fault(
                    name, "\(configuration.kafkaBrokers): \(error)",
                    mend: "start a broker there, or set kafka_brokers, or kafka.properties")
            }
        }
    }
}
