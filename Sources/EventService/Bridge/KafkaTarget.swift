import EventCore

/// Writes events to topics of Kafka.
final class KafkaTarget: SinkTarget {
    private let make: () throws -> KafkaProducer
    private var producer: KafkaProducer?
    private let settings: KafkaSinkSettings
    private let counters: BridgeCounters
    private let log: Log
    private var underWay: Batch?
    var onUp: () -> Void = {}

    private struct Batch {
        let events: [SinkEvent]
        var unanswered = 0
        var letters: [DeadLetter] = []
        var failure: KafkaError?
        let completion: ([DeadLetter]?) -> Void
    }

    init(
        loop: EventLoop, properties: KafkaProperties, settings: KafkaSinkSettings,
        counters: BridgeCounters, log: Log
    ) throws {
        self.settings = settings
        self.counters = counters
        self.log = log
        make = { try KafkaProducer(properties.producer, loop: loop, log: log) }
        try renew()
    }

    private func renew() throws {
        let producer = try make()
        self.producer?.close()
        producer.onDelivered = { [unowned self] in delivered($0, $1) }
        producer.onTurnEnded = { [unowned self] in completeIfDone() }
        producer.onBrokers = { [counters, log] in counters.note(brokersAreUp: $0, log) }
        producer.onError = { [counters, log] in
            log.warning("bridge: Kafka", ["bridge": counters.name, "error": $0])
        }
        self.producer = producer
    }

    /// The library connects by itself, and keeps what it cannot write yet.
    var isUp: Bool { underWay == nil }

    func start() {}

    func stop() { producer?.close() }

    func send(_ events: [SinkEvent], completion: @escaping ([DeadLetter]?) -> Void) {
        var batch = Batch(events: events, completion: completion)
        for (number, event) in events.enumerated() {
            do throws(SinkFault) {
                let message = try settings.message(for: event, number: number)
                do throws(KafkaError) {
                    try producer?.send(message)
                    batch.unanswered += 1
                } catch {
                    if error.isPermanent { throw SinkFault(error.description) }
                    // No room: all that is sent is awaited, and then all is sent again.
                    batch.failure = error
                }
            } catch {
                batch.letters.append(event.deadLetter(sink: settings.name, reason: error.reason))
            }
            if batch.failure != nil { break }
        }
        underWay = batch
        completeIfDone()
    }

    private func delivered(_ number: Int, _ error: KafkaError?) {
        underWay?.unanswered -= 1
        guard let error else { return }
        guard let batch = underWay else { return }
        if error.isPermanent {
            underWay?.letters.append(
                batch.events[number].deadLetter(
                    sink: settings.name, reason: error.description))
        } else {
            underWay?.failure = error
        }
    }

    private func completeIfDone() {
        guard let batch = underWay, batch.unanswered == 0 else { return }
        underWay = nil
        // An idempotent producer that cannot tell any more what it has written gives itself up.
        if batch.failure?.isFatal == true { try? renew() }
        if let failure = batch.failure {
            log.warning(
                "bridge: Kafka refuses, trying again",
                ["bridge": settings.name, "error": failure.description])
        }
        batch.completion(batch.failure == nil ? batch.letters : nil)
    }
}

extension KafkaSinkSettings {
    /// The message that an event becomes, or throws why there can be none.
    func message(
        for event: SinkEvent, number: Int
    ) throws(SinkFault) -> KafkaProducer.Message {
        let record = try record(for: event)
        return KafkaProducer.Message(
            topic: record.topic, key: record.key, value: record.value, headers: record.headers,
            number: number)
    }
}
