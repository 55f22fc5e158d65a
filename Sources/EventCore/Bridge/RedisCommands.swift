extension RedisSinkSettings {
    /// The command that sends an event, or throws why there can be none.
    public func command(for event: SinkEvent) throws(SinkFault) -> [[UInt8]] {
        let json = event.json
        switch target {
        case .channel(let template):
            return [Array("PUBLISH".utf8), Array(try event.fill(template, json: json).utf8), json]
        case .stream(let template, let maximumLength):
            let stream = try event.fill(template, json: json)
            return [
                "XADD", stream, "MAXLEN", "~", String(maximumLength), "*", "id",
                event.cursor.description, "type", event.event.envelope.type, "json",
            ].map { Array($0.utf8) } + [json]
        }
    }
}
