import EventCore

// Ids, filters and frames: what is read is written the same, what is written is one block to any parser,
// and nothing traps.

private func checkNames(_ text: String) {
    if let cursor = Cursor(text) { precondition(cursor.description == text) }
    if let time = Timestamp(rfc3339: text) {
        precondition(Timestamp(rfc3339: time.description) == time)
    }
    if let pattern = TypePattern(text) {
        precondition(pattern.text == text)
        _ = pattern.matches(text)
    }
    if let label = AudienceLabel(text) { precondition(label.text == text) }
    if EventType.isPublishable(text) { precondition(TypePattern(text)?.matches(text) == true) }
    _ = ListenAddress(text)
    _ = DurationText.parse(text)
    _ = StartRequest(since: text)
    let query = QueryString("a=" + QueryString.encode(text))
    precondition(query?.values(of: "a") == [text])
}

private func checkFrames(_ bytes: [UInt8], _ text: String) {
    guard let history = EpochHistory([.init(epoch: 1, firstPosition: 1)]) else { return }
    let event = Event(
        EventEnvelope(
            position: 1, eventID: 2, time: Timestamp(microseconds: 0), operation: .publish,
            type: "a.b", key: text, audience: []),
        data: bytes)
    let batch = EventEncoder(maximumBytes: 1 << 20).encode(
        [event], history: history, first: 1, last: 1)
    var parser = EventStreamParser()
    let messages = parser.consume(batch.bytes[batch.frames[0].payload])
    precondition(messages.count == 1, "one block")
    precondition(messages[0].type == "a.b" && messages[0].lastEventID == "1-1")
    let reset = StreamReset(
        reason: .malformed, requested: text, earliest: Cursor(epoch: 1, position: 0),
        head: Cursor(epoch: 1, position: 1), cursor: Cursor(epoch: 1, position: 1))
    precondition(parser.consume(StreamFrame.reset(reset).text).count == 1)
    _ = JSONMembers.find(in: bytes.span)
}

private func checkStream(_ bytes: [UInt8]) {
    var whole = EventStreamParser()
    var cut = EventStreamParser()
    let messages = whole.consume(bytes)
    var others: [EventStreamParser.Message] = []
    for byte in bytes { others += cut.consume([byte]) }
    precondition(messages == others && whole.lastEventID == cut.lastEventID)
}

/// What libFuzzer calls with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzStream(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let bytes = unsafe [UInt8](UnsafeBufferPointer(start: start, count: count))
    let text = String(decoding: bytes, as: UTF8.self)
    checkNames(text)
    checkFrames(bytes, text)
    checkStream(bytes)
    return 0
}
