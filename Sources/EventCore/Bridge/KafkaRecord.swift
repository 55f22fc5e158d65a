/// What an event becomes in Kafka.
public struct KafkaRecord: Sendable {
    /// The topic.
    public var topic: String
    /// The event's key: what has the same goes to one partition, in order.
    public var key: [UInt8]?
    /// The event's JSON, or its data alone.
    public var value: [UInt8]
    /// Names and values.
    public var headers: [(name: String, value: [UInt8])]
}

extension KafkaSinkSettings {
    /// The record of an event, or throws why there can be none.
    public func record(for event: SinkEvent) throws(SinkFault) -> KafkaRecord {
        let json = event.json
        let topic = try event.fill(self.topic, json: json)
        guard KafkaTopic.isName(topic) else {
            throw SinkFault("\"\(topic.prefix(300))\" is not the name of a topic")
        }
        let key = event.event.envelope.key.map { Array($0.utf8) }
        switch format {
        case .json:
            return KafkaRecord(
                topic: topic, key: key, value: json,
                headers: [
                    ("id", Array(event.cursor.description.utf8)),
                    ("type", Array(event.event.envelope.type.utf8)),
                ])
        case .cloudevents:
            let data = event.event.data
            return KafkaRecord(
                topic: topic, key: key, value: data.isEmpty ? Array("null".utf8) : data,
                headers: attributes(of: event))
        }
    }

    /// CloudEvents 1.0, "Kafka Protocol Binding", section 3.2: attributes are headers with the prefix
    /// `ce_`, and `datacontenttype` is `content-type`.
    private func attributes(of event: SinkEvent) -> [(name: String, value: [UInt8])] {
        let envelope = event.event.envelope
        var headers: [(name: String, value: [UInt8])] = [
            ("content-type", Array("application/json".utf8)),
            ("ce_specversion", Array("1.0".utf8)),
            ("ce_id", Array(event.cursor.description.utf8)),
            ("ce_source", Array(source.utf8)),
            ("ce_type", Array(envelope.type.utf8)),
            ("ce_time", Array("\(envelope.time)".utf8)),
        ]
        if let key = envelope.key { headers.append(("ce_subject", Array(key.utf8))) }
        // Its extension "Distributed Tracing".
        if let trace = envelope.traceParent {
            headers.append(("ce_traceparent", Array(trace.text.utf8)))
        }
        return headers
    }
}
