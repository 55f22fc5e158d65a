import CLinux
import CRDKafka
import EventCore
import Glibc

/// A client could not be made, or would do nothing.
struct KafkaError: Error, CustomStringConvertible {
    let description: String
    /// Whether the message is at fault, and would be again.
    let isPermanent: Bool
    /// Whether the client is of no use any more.
    let isFatal: Bool

    init(_ description: String) {
        self.description = description
        (isPermanent, isFatal) = (false, false)
    }

    init(_ code: rd_kafka_resp_err_t) {
        description = String(cString: rd_kafka_err2str(code))
        isPermanent = Self.permanent.contains { $0 == code }
        isFatal = code == RD_KAFKA_RESP_ERR__FATAL
    }

    private static let permanent = [
        RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, RD_KAFKA_RESP_ERR_INVALID_MSG,
        RD_KAFKA_RESP_ERR_INVALID_RECORD, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION,
        RD_KAFKA_RESP_ERR__INVALID_ARG,
    ]
}

/// One client of librdkafka, whose events come on a loop.
///
/// The library has threads of its own and never blocks this one. It writes to an eventfd when its queue
/// ceases to be empty; the queue is then emptied, some at a time, so that the loop gets its turn.
final class KafkaClient: ReadinessHandler {
    /// What the client is for.
    enum Role {
        case consumer
        case producer
    }

    /// The handle of the library.
    let handle: OpaquePointer
    private let loop: EventLoop
    private let queue: OpaquePointer
    private let wakeUp: FileDescriptor
    private let logging: KafkaLogging
    private var isClosed = false
    /// Whether events are left in the queue until this is set back.
    var isHeld = false {
        didSet { if !isHeld { wake() } }
    }

    /// The most events of a turn.
    private static let turn = 1000

    /// Something is wrong which the library tries to mend by itself.
    var onError: (_ text: String) -> Void = { _ in }
    /// The library has given this client up, as `onError` told before. It may not be closed from within.
    var onFatal: () -> Void = {}
    /// Called when all messages of a partition were read, with the offset that the next one will get.
    var onEnd: (_ topic: String, _ partition: Int32, _ end: Int64) -> Void = { _, _, _ in }
    /// Called with each statistics: whether any broker is there.
    var onBrokers: (_ areUp: Bool) -> Void = { _ in }
    /// Called with each other event, which is valid for the time of the call.
    var onEvent: (_ type: Int32, _ event: OpaquePointer) -> Void = { _, _ in }
    /// Called after the events of a turn.
    var onTurnEnded: () -> Void = {}

    init(
        _ role: Role, _ properties: [(name: String, value: String)], loop: EventLoop, log: Log
    ) throws {
        self.loop = loop
        logging = KafkaLogging(log)
        let number = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        guard number >= 0 else { throw SystemError("eventfd") }
        wakeUp = FileDescriptor(owning: number)
        handle = try Self.make(role, properties, logging)
        switch role {
        case .consumer:
            rd_kafka_poll_set_consumer(handle)
            queue = rd_kafka_queue_get_consumer(handle)
        case .producer:
            queue = rd_kafka_queue_get_main(handle)
        }
        try loop.register(number, for: .readable, handler: self)
        var one: eventfd_t = 1
        rd_kafka_queue_io_event_enable(queue, number, &one, MemoryLayout<eventfd_t>.size)
        wake()
    }

    deinit {
        close()
    }

    /// Whether a client can be made of these properties; the error names the one that is at fault.
    static func check(
        _ role: Role, _ properties: [(name: String, value: String)], log: Log
    ) throws(KafkaError) {
        let logging = KafkaLogging(log)
        let handle = try make(role, properties, logging)
        rd_kafka_destroy_flags(handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE)
        withExtendedLifetime(logging) {}
    }

    /// The topics that the brokers know; blocks for so long at most.
    static func topics(
        _ properties: [(name: String, value: String)], within patience: Duration, log: Log
    ) throws(KafkaError) -> Set<String> {
        let logging = KafkaLogging(log)
        defer { withExtendedLifetime(logging) {} }
        let handle = try make(.consumer, properties, logging)
        defer { rd_kafka_destroy_flags(handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE) }
        var metadata: UnsafePointer<rd_kafka_metadata>?
        let code = rd_kafka_metadata(
            handle, 1, nil, &metadata, Int32(clamping: patience.wholeMilliseconds))
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR, let metadata else { throw KafkaError(code) }
        defer { rd_kafka_metadata_destroy(metadata) }
        return Set(
            (0..<Int(metadata.pointee.topic_cnt)).compactMap { index in
                metadata.pointee.topics[index].topic.map { String(cString: $0) }
            })
    }

    private static func make(
        _ role: Role, _ properties: [(name: String, value: String)], _ logging: KafkaLogging
    ) throws(KafkaError) -> OpaquePointer {
        guard let configuration = rd_kafka_conf_new() else { throw KafkaError("out of memory") }
        var text = [CChar](repeating: 0, count: 512)
        for (name, value) in properties {
            guard
                rd_kafka_conf_set(configuration, name, value, &text, text.count) == RD_KAFKA_CONF_OK
            else {
                rd_kafka_conf_destroy(configuration)
                // The library's own words would repeat the value, which may be a secret.
                throw KafkaError(
                    "kafka.properties.\(name): librdkafka knows no such property or value")
            }
        }
        rd_kafka_conf_set_opaque(configuration, Unmanaged.passUnretained(logging).toOpaque())
        rd_kafka_conf_set_log_cb(configuration, kafkaLogged)
        rd_kafka_conf_set_events(
            configuration,
            RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_DR
                | RD_KAFKA_EVENT_STATS)
        let type = role == .consumer ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER
        guard let handle = rd_kafka_new(type, configuration, &text, text.count) else {
            rd_kafka_conf_destroy(configuration)
            let end = text.firstIndex(of: 0) ?? text.endIndex
            let reason = String(
                decoding: text[..<end].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            throw KafkaError("kafka.properties: \(reason)")
        }
        return handle
    }

    /// Lets the queue be emptied in the next turn.
    func wake() {
        eventfd_write(wakeUp.number, 1)
    }

    func ready(_ readiness: Readiness) {
        var counter: eventfd_t = 0
        // Read before the queue is emptied: what comes in between leaves the descriptor readable.
        eventfd_read(wakeUp.number, &counter)
        var count = 0
        while !isHeld, !isClosed, let event = rd_kafka_queue_poll(queue, 0) {
            take(event)
            rd_kafka_event_destroy(event)
            count += 1
            guard count < Self.turn else {
                wake()
                break
            }
        }
        if !isClosed { onTurnEnded() }
    }

    private func take(_ event: OpaquePointer) {
        switch rd_kafka_event_type(event) {
        case RD_KAFKA_EVENT_ERROR:
            takeError(event)
        case RD_KAFKA_EVENT_STATS:
            // STATISTICS.md of librdkafka: nothing but a broker has such a state.
            if let json = rd_kafka_event_stats(event) {
                onBrokers(strstr(json, "\"state\":\"UP\"") != nil)
            }
        case let type:
            onEvent(type, event)
        }
    }

    private func takeError(_ event: OpaquePointer) {
        switch rd_kafka_event_error(event) {
        case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
            // The statistics tell that too, and also when they no longer are.
            onBrokers(false)
        case RD_KAFKA_RESP_ERR__PARTITION_EOF:
            guard let place = rd_kafka_event_topic_partition(event) else { return }
            defer { rd_kafka_topic_partition_destroy(place) }
            let (topic, partition) = (place.pointee.topic, place.pointee.partition)
            if let topic { onEnd(String(cString: topic), partition, place.pointee.offset) }
        default:
            onError(rd_kafka_event_error_string(event).map { String(cString: $0) } ?? "")
            if rd_kafka_fatal_error(handle, nil, 0) != RD_KAFKA_RESP_ERR_NO_ERROR { onFatal() }
        }
    }

    /// Gives the client up. A consumer that has not left its group is missed there after
    /// `session.timeout.ms`; what a producer has not sent yet is dropped.
    func close() {
        guard !isClosed else { return }
        isClosed = true
        loop.deregister(wakeUp.number)
        rd_kafka_queue_io_event_enable(queue, -1, nil, 0)
        rd_kafka_queue_destroy(queue)
        rd_kafka_destroy_flags(handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE)
    }
}

/// Where the library's own log goes; called from its threads.
final class KafkaLogging: Sendable {
    private let log: Log

    init(_ log: Log) {
        self.log = log
    }

    fileprivate func write(level: Int32, _ text: String) {
        // syslog(3): up to 4 are warnings. What a broker that is away causes is said by the bridge.
        if level <= 2 {
            log.warning("kafka: client", ["text": text])
        } else {
            log.debug("kafka: client", ["text": text])
        }
    }
}

/// A free function, so that it carries no isolation into the library.
private nonisolated func kafkaLogged(
    _ handle: OpaquePointer?, _ level: Int32, _ facility: UnsafePointer<CChar>?,
    _ text: UnsafePointer<CChar>?
) {
    guard let handle, let text, let opaque = rd_kafka_opaque(handle) else { return }
    Unmanaged<KafkaLogging>.fromOpaque(opaque).takeUnretainedValue()
        .write(level: level, String(cString: text))
}
