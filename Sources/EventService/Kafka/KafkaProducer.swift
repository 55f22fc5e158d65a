import CRDKafka
import EventCore

/// Writes messages, each once and in the order of their sending, as long as the process lives.
final class KafkaProducer {
    /// A message that is to be written.
    struct Message {
        var topic: String
        /// Messages of one key go to one partition.
        var key: [UInt8]?
        var value: [UInt8]
        var headers: [(name: String, value: [UInt8])]
        /// By this its fate is told.
        var number: Int
    }

    private let client: KafkaClient

    /// A message was written, or, with an error, finally was not.
    var onDelivered: (_ number: Int, _ error: KafkaError?) -> Void = { _, _ in }
    /// Several fates may have been told, and no more are known at the moment.
    var onTurnEnded: () -> Void = {}
    /// Something is wrong which the library tries to mend by itself.
    var onError: (_ text: String) -> Void = { _ in }
    /// Called now and then: whether any broker is there.
    var onBrokers: (_ areUp: Bool) -> Void = { _ in }

    init(
        _ properties: [(name: String, value: String)], loop: EventLoop, log: Log
    ) throws {
        client = try KafkaClient(.producer, properties, loop: loop, log: log)
        client.onEvent = { [unowned self] in received($0, $1) }
        client.onTurnEnded = { [unowned self] in onTurnEnded() }
        client.onError = { [unowned self] in onError($0) }
        client.onBrokers = { [unowned self] in onBrokers($0) }
    }

    /// Sends a message; its fate is told later. Throws if there is no room, or it can never be sent.
    func send(_ message: Message) throws(KafkaError) {
        let headers = rd_kafka_headers_new(message.headers.count)
        for (name, value) in message.headers {
            _ = value.withUnsafeBytes {
                rd_kafka_header_add(headers, name, -1, $0.baseAddress, $0.count)
            }
        }
        let code = message.topic.withCString { topic in
            message.value.withUnsafeBytes { value in
                (message.key ?? []).withUnsafeBytes { key in
                    var places = [rd_kafka_vu_t](repeating: rd_kafka_vu_t(), count: 5)
                    places[0].vtype = RD_KAFKA_VTYPE_TOPIC
                    places[0].u.cstr = topic
                    places[1].vtype = RD_KAFKA_VTYPE_VALUE
                    places[1].u.mem.ptr = UnsafeMutableRawPointer(mutating: value.baseAddress)
                    places[1].u.mem.size = value.count
                    places[2].vtype = RD_KAFKA_VTYPE_MSGFLAGS
                    places[2].u.i = RD_KAFKA_MSG_F_COPY
                    places[3].vtype = RD_KAFKA_VTYPE_OPAQUE
                    places[3].u.ptr = UnsafeMutableRawPointer(bitPattern: message.number)
                    places[4].vtype = RD_KAFKA_VTYPE_HEADERS
                    places[4].u.headers = headers
                    if message.key != nil {
                        var place = rd_kafka_vu_t()
                        place.vtype = RD_KAFKA_VTYPE_KEY
                        place.u.mem.ptr = UnsafeMutableRawPointer(mutating: key.baseAddress)
                        place.u.mem.size = key.count
                        places.append(place)
                    }
                    let error = rd_kafka_produceva(client.handle, places, places.count)
                    let code = error.map { rd_kafka_error_code($0) } ?? RD_KAFKA_RESP_ERR_NO_ERROR
                    if let error { rd_kafka_error_destroy(error) }
                    return code
                }
            }
        }
        guard code != RD_KAFKA_RESP_ERR_NO_ERROR else { return }
        // Only of a message that was taken are they the library's.
        rd_kafka_headers_destroy(headers)
        throw KafkaError(code)
    }

    /// Gives the client up; what is not written yet is dropped.
    func close() {
        client.close()
    }

    private func received(_ type: Int32, _ event: OpaquePointer) {
        switch type {
        case RD_KAFKA_EVENT_DR:
            while let message = rd_kafka_event_message_next(event) {
                let code = message.pointee.err
                onDelivered(
                    Int(bitPattern: message.pointee._private),
                    code == RD_KAFKA_RESP_ERR_NO_ERROR ? nil : KafkaError(code))
            }
        default:
            break
        }
    }
}
