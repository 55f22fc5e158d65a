import CRDKafka
import EventCore

/// Reads topics as one of a consumer group.
final class KafkaConsumer {
    /// A message, copied out of the library's memory.
    struct Message {
        let partition: PartitionName
        let offset: Int64
        /// Milliseconds since 1970 by the producer's or the broker's clock; -1: there is none.
        let stamp: Int64
        let key: [UInt8]?
        /// `nil`: a tombstone.
        let value: [UInt8]?
    }

    private let client: KafkaClient

    /// Called with each message.
    var onMessage: (Message) -> Void = { _ in }
    /// Called when all messages of a partition were read, with the offset that the next one will get.
    var onEnd: (PartitionName, _ end: Int64) -> Void = { _, _ in }
    /// Called when several messages may have come, and no more are there at the moment.
    var onTurnEnded: () -> Void = {}
    /// These partitions are to be read here: answer with `assign`.
    var onAssigned: ([PartitionName]) -> Void = { _ in }
    /// These partitions are read elsewhere from now on.
    var onRevoked: ([PartitionName]) -> Void = { _ in }
    /// Something is wrong which the library tries to mend by itself.
    var onError: (_ text: String) -> Void = { _ in }
    /// Nothing more will come: another is needed. It may not be closed from within.
    var onFatal: () -> Void = {}
    /// Called now and then: whether any broker is there.
    var onBrokers: (_ areUp: Bool) -> Void = { _ in }

    init(
        _ properties: [(name: String, value: String)], loop: EventLoop, log: Log
    ) throws {
        client = try KafkaClient(.consumer, properties, loop: loop, log: log)
        client.onEvent = { [unowned self] in received($0, $1) }
        client.onTurnEnded = { [unowned self] in onTurnEnded() }
        client.onError = { [unowned self] in onError($0) }
        client.onFatal = { [unowned self] in onFatal() }
        client.onEnd = { [unowned self] in onEnd(PartitionName(topic: $0, partition: $1), $2) }
        client.onBrokers = { [unowned self] in onBrokers($0) }
    }

    /// Joins the group.
    func subscribe(_ topics: [String]) throws(KafkaError) {
        let list = PartitionList(topics.map { (PartitionName(topic: $0, partition: -1), 0) })
        let code = rd_kafka_subscribe(client.handle, list.list)
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else { throw KafkaError(code) }
    }

    /// Leaves messages in the library's queue, which is bounded, until this is called with `false`.
    func hold(_ isHeld: Bool) {
        client.isHeld = isHeld
    }

    /// Looks for events also if none was announced: a consumer that does not is taken for dead.
    func wake() {
        client.wake()
    }

    // MARK: Partitions

    private var isCooperative: Bool {
        rd_kafka_rebalance_protocol(client.handle).map { String(cString: $0) } == "COOPERATIVE"
    }

    /// Begins to read.
    func assign(_ starts: [(PartitionName, PartitionReading.Start)]) {
        let list = PartitionList(
            starts.map { partition, start in
                switch start {
                case .group: (partition, Int64(RD_KAFKA_OFFSET_STORED))
                case .offset(let offset): (partition, offset)
                }
            })
        if isCooperative {
            Self.release(rd_kafka_incremental_assign(client.handle, list.list))
        } else {
            rd_kafka_assign(client.handle, list.list)
        }
    }

    private func unassign(_ partitions: [PartitionName]) {
        if isCooperative {
            let list = PartitionList(partitions.map { ($0, 0) })
            Self.release(rd_kafka_incremental_unassign(client.handle, list.list))
        } else {
            rd_kafka_assign(client.handle, nil)
        }
    }

    /// Reads a partition from another offset; `nil`: from its beginning.
    func seek(_ partition: PartitionName, to offset: Int64?) {
        let list = PartitionList([(partition, offset ?? Int64(RD_KAFKA_OFFSET_BEGINNING))])
        Self.release(rd_kafka_seek_partitions(client.handle, list.list, 0))
    }

    /// Fetches no more.
    func pause(_ partitions: [PartitionName]) {
        let list = PartitionList(partitions.map { ($0, 0) })
        rd_kafka_pause_partitions(client.handle, list.list)
    }

    /// Fetches again.
    func resume(_ partitions: [PartitionName]) {
        let list = PartitionList(partitions.map { ($0, 0) })
        rd_kafka_resume_partitions(client.handle, list.list)
    }

    /// Tells the group how far it has come. Nothing hangs on it but what others show: where reading goes
    /// on stands in PostgreSQL.
    func commit(_ offsets: [(PartitionName, Int64)]) {
        guard !offsets.isEmpty else { return }
        let list = PartitionList(offsets)
        rd_kafka_commit(client.handle, list.list, 1)
    }

    /// The offset that the next message of a partition will get, as far as was ever heard, be it in an
    /// earlier assignment; -1001: never.
    func end(of partition: PartitionName) -> Int64 {
        var (low, high) = (Int64(-1001), Int64(-1001))
        rd_kafka_get_watermark_offsets(
            client.handle, partition.topic, partition.partition, &low, &high)
        return high
    }

    // MARK: Ending

    /// Leaves the group; `isClosed` is true once that is done, which `onTurnEnded` tells.
    func leave() {
        client.isHeld = false
        guard let queue = rd_kafka_queue_get_consumer(client.handle) else { return }
        Self.release(rd_kafka_consumer_close_queue(client.handle, queue))
        rd_kafka_queue_destroy(queue)
    }

    var isClosed: Bool { rd_kafka_consumer_closed(client.handle) == 1 }

    /// Gives the client up.
    func close() {
        client.close()
    }

    // MARK: Events

    private func received(_ type: Int32, _ event: OpaquePointer) {
        switch type {
        case RD_KAFKA_EVENT_FETCH:
            while let message = rd_kafka_event_message_next(event) { received(message) }
        case RD_KAFKA_EVENT_REBALANCE:
            rebalanced(event)
        default:
            break
        }
    }

    private func received(_ message: UnsafePointer<rd_kafka_message_t>) {
        let content = message.pointee
        guard content.err == RD_KAFKA_RESP_ERR_NO_ERROR else {
            return onError(KafkaError(content.err).description)
        }
        guard let topic = content.rkt.flatMap({ rd_kafka_topic_name($0) }) else { return }
        onMessage(
            Message(
                partition: PartitionName(
                    topic: String(cString: topic), partition: content.partition),
                offset: content.offset, stamp: rd_kafka_message_timestamp(message, nil),
                key: Self.bytes(content.key, content.key_len),
                value: Self.bytes(content.payload, content.len)))
    }

    private static func bytes(_ start: UnsafeMutableRawPointer?, _ count: Int) -> [UInt8]? {
        start.map { [UInt8](UnsafeRawBufferPointer(start: $0, count: count)) }
    }

    private func rebalanced(_ event: OpaquePointer) {
        let partitions = PartitionList.partitions(rd_kafka_event_topic_partition_list(event))
        switch rd_kafka_event_error(event) {
        case RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS:
            onAssigned(partitions)
        default:
            onRevoked(partitions)
            unassign(partitions)
        }
    }

    private static func release(_ error: OpaquePointer?) {
        // Each says that the partition is not, or no longer, assigned: what was wanted is moot.
        if let error { rd_kafka_error_destroy(error) }
    }
}

/// The library's list of partitions, with an offset each.
private struct PartitionList: ~Copyable {
    let list: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>

    init(_ entries: [(PartitionName, Int64)]) {
        guard let list = rd_kafka_topic_partition_list_new(Int32(entries.count)) else {
            preconditionFailure("out of memory")
        }
        self.list = list
        for (partition, offset) in entries {
            rd_kafka_topic_partition_list_add(list, partition.topic, partition.partition)?
                .pointee.offset = offset
        }
    }

    deinit {
        rd_kafka_topic_partition_list_destroy(list)
    }

    static func partitions(
        _ list: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?
    ) -> [PartitionName] {
        guard let list else { return [] }
        return (0..<Int(list.pointee.cnt)).map { index in
            let element = list.pointee.elems[index]
            return PartitionName(
                topic: String(cString: element.topic), partition: element.partition)
        }
    }
}
