import EventCore
import Foundation
import TestSupport
import Testing

/// The frames that users depend on, byte for byte: `Tests/Fixtures/frames.json`. `dev/check-schemas`
/// holds the same file to `Schemas/`.
@Suite struct Frames {
    private static let cursor = Cursor(epoch: 1_764_000_000, position: 42)
    private static let head = Cursor(epoch: 1_764_000_000, position: 57)
    private static let time = Timestamp(microseconds: 1_795_467_845_123_456)

    private static let control: [(String, StreamFrame)] =
        [
            (
                "stream.open",
                .open(
                    StreamOpen(
                        connectionID: "c1", time: time, heartbeatMilliseconds: 15_000,
                        resumed: .complete,
                        cursor: cursor, head: head, retryMilliseconds: 2000))
            ),
            (
                "stream.open, short heartbeat",
                .open(
                    StreamOpen(
                        connectionID: "c1", time: time, heartbeatMilliseconds: 250, resumed: .fresh,
                        cursor: cursor, head: head, retryMilliseconds: 2000))
            ),
            ("stream.health", .health(ready: false, reasons: [.database, .draining])),
            ("stream.health, ready", .health(ready: true, reasons: [])),
            ("stream.live", .live(at: cursor, head: head)),
            ("stream.cursor", .cursor(cursor)),
            ("heartbeat", .heartbeat),
        ]
        + ResetReason.allCases.map {
            (
                "stream.reset, \($0.rawValue)",
                .reset(
                    StreamReset(
                        reason: $0, requested: "x\"\n\u{1}", earliest: cursor, head: head,
                        cursor: head))
            )
        }
        + DisconnectReason.allCases.map {
            ("stream.end, \($0.rawValue)", .end($0, at: cursor, retry: 1234))
        }

    private static func row(
        _ operation: EventOperation, _ type: String, _ data: String, key: String? = "7"
    ) -> Event {
        Event(
            EventEnvelope(
                position: 42, eventID: 99, time: time, operation: operation, type: type, key: key,
                audience: [.everyone]),
            data: Array(data.utf8))
    }

    private static let large = String(repeating: "x", count: 2000)

    private static func traced(_ event: Event) -> Event {
        var event = event
        event.envelope.traceParent = TraceParent(
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        return event
    }

    private static let events: [(String, Event)] = [
        ("event.row, insert", row(.insert, "task.created", #"{"new":{"id":7}}"#)),
        (
            "event.row, update",
            row(
                .update, "task.status-changed",
                #"{"new":{"id":7,"s":"b"},"old":{"id":7,"s":"a"},"changed":["s"]}"#)
        ),
        ("event.row, delete", row(.delete, "task.deleted", #"{"old":{"id":7}}"#)),
        ("event.row, enter", row(.enter, "task.entered", #"{"new":{"id":7}}"#)),
        ("event.row, leave", row(.leave, "task.left", "")),
        ("event.row, truncate", row(.truncate, "task.truncated", "", key: nil)),
        (
            "event.row, several columns in the key",
            row(.delete, "a.b.deleted", #"{"old":{"id":7,"x":"é"}}"#, key: #"[7, "a\"b"]"#)
        ),
        (
            "event.row, line ends in a json column",
            row(.insert, "task.created", "{\"new\":{\"j\":{\n\"a\":\r\n1}}}")
        ),
        (
            "event.row, oversize update",
            row(
                .update, "task.updated",
                #"{"new":{"a":"\#(large)"},"old":{"changed":"}"},"changed":["a","b"]}"#)
        ),
        ("event.row, oversize insert", row(.insert, "task.created", #"{"new":{"a":"\#(large)"}}"#)),
        ("event.published, object", row(.publish, "invoice.paid", #"{"amount": 12.50}"#)),
        ("event.published, null and no key", row(.publish, "invoice.paid", "null", key: nil)),
        ("event.published, oversize", row(.publish, "invoice.paid", #""\#(large)""#)),
        ("event.row, traced", traced(row(.insert, "task.created", #"{"new":{"id":7}}"#))),
        ("event.row, traced leave", traced(row(.leave, "task.left", ""))),
        ("event.published, traced", traced(row(.publish, "invoice.paid", "1"))),
        (
            "event.published, traced and oversize",
            traced(row(.publish, "invoice.paid", #""\#(large)""#))
        ),
    ]

    private static let ephemeral: [(String, BridgedEvent)] = [
        (
            "event.ephemeral, object",
            BridgedEvent(
                type: "task.progress-tick", key: "7", audience: [.everyone],
                data: Array("{\"progress\":\n40}".utf8))
        ),
        (
            "event.ephemeral, null and no key",
            BridgedEvent(type: "a.b.seen", audience: [.everyone], data: Array("null".utf8))
        ),
    ]

    static func encoded(_ events: [Event], limit: Int = 1024) throws -> EncodedBatch {
        let history = try #require(EpochHistory([.init(epoch: 1_764_000_000, firstPosition: 1)]))
        return EventEncoder(maximumBytes: limit).encode(
            events, history: history, first: events[0].envelope.position,
            last: events[events.count - 1].envelope.position)
    }

    @Test func `frames are what users depend on`() throws {
        var frames: [String: String] = [:]
        for (name, frame) in Self.control {
            frames[name] = String(decoding: frame.text, as: UTF8.self)
        }
        for (name, event) in Self.events {
            let batch = try Self.encoded([event])
            frames[name] = String(decoding: batch.bytes[batch.frames[0].payload], as: UTF8.self)
        }
        for (name, event) in Self.ephemeral {
            let block = EphemeralBlock([event], time: Self.time)
            frames[name] = String(decoding: block.bytes[block.frames[0].payload], as: UTF8.self)
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let path = "Tests/Fixtures/frames.json"
        let written = String(decoding: try encoder.encode(frames), as: UTF8.self) + "\n"
        if ProcessInfo.processInfo.environment["UPDATE_FIXTURES"] != nil {
            try Data(written.utf8).write(to: Repository.root.appendingPathComponent(path))
        }
        #expect(
            try Repository.text(path) == written,
            "UPDATE_FIXTURES=1 writes the file anew: look at the difference")
    }

    @Test func `a frame is a chunk, its payload and its JSON`() throws {
        let batch = try Self.encoded(Self.events.map(\.1))
        #expect(batch.frames.count == Self.events.count)
        var end = 0
        for frame in batch.frames {
            #expect(frame.chunk.lowerBound == end, "frames lie side by side")
            end = frame.chunk.upperBound
            let hexadecimal = String(frame.payload.count, radix: 16)
            let size = String(repeating: "0", count: max(3 - hexadecimal.count, 0)) + hexadecimal
            let chunk = String(decoding: batch.bytes[frame.chunk], as: UTF8.self)
            let payload = String(decoding: batch.bytes[frame.payload], as: UTF8.self)
            let data = String(decoding: batch.bytes[frame.data], as: UTF8.self)
            #expect(chunk == "\(size)\r\n\(payload)\r\n")
            #expect(
                payload == "id: \(frame.cursor)\nevent: \(frame.envelope.type)\ndata: \(data)\n\n")
            #expect(!data.contains("\n") && !data.contains("\r"))
        }
    }

    @Test func `the canary of doctor has a position and no frame`() throws {
        var canary = Self.row(.publish, "event_service.canary", "{}")
        canary.envelope.position = 43
        let batch = try Self.encoded([Self.events[0].1, canary])
        #expect(batch.frames.map(\.position) == [42])
        #expect(batch.last == 43)
    }

    @Test func `a single event is whole, whatever its size, and has its id first`() throws {
        let event = try #require(Self.events.first { $0.0 == "event.row, oversize insert" }).1
        let json = String(
            decoding: EventEncoder.json(of: event, cursor: Self.cursor), as: UTF8.self)
        #expect(json.hasPrefix(#"{"id":"1764000000-42","event_id":"99","#))
        #expect(json.contains(Self.large))
    }

    @Test(arguments: [1, 15, 16, 255, 256, 4095, 4096, 65_535, 65_536, 1 << 20])
    func `the size of a chunk is what a reader counts`(_ size: Int) throws {
        var bytes: [UInt8] = [0x2A]
        let chunk = bytes.beginChunk()
        bytes.append(contentsOf: repeatElement(0x78, count: size))
        let moved = bytes.endChunk(chunk)
        let end = try #require(bytes.firstRange(of: [13, 10]))
        let digits = String(decoding: bytes[chunk.start..<end.lowerBound], as: UTF8.self)
        #expect(Int(digits, radix: 16) == size)
        #expect(end.upperBound == chunk.payloadStart + moved)
        #expect(bytes.count == end.upperBound + size + 2)
        #expect(bytes[0] == 0x2A && bytes.suffix(2) == [13, 10])
    }
}

@Suite struct `Writing numbers and strings` {
    @Test(arguments: [0, 7, 10, 99, 100, -1, -10, .max, .min, 1_764_000_000] as [Int64])
    func `numbers are decimal`(_ value: Int64) {
        var bytes: [UInt8] = []
        bytes.appendDecimal(value)
        #expect(String(decoding: bytes, as: UTF8.self) == "\(value)")
    }

    @Test(arguments: [(0, "000000"), (7, "000007"), (123_456, "123456"), (1_234_567, "1234567")])
    func `numbers are as wide as they are to be`(value: Int64, text: String) {
        var bytes: [UInt8] = []
        bytes.appendDecimal(value, width: 6)
        #expect(String(decoding: bytes, as: UTF8.self) == text)
    }

    @Test(arguments: [
        "", "plain", "é \u{1F600}", "\"", "a\\b", "\n\r\t", "\u{0}\u{1f} \u{7f}", "ends with \"",
    ])
    func `a JSON string is read as it was`(_ text: String) throws {
        var bytes = Array("[".utf8)
        bytes.appendJSONString(text)
        bytes.append("]")
        let value = try JSONSerialization.jsonObject(with: Data(bytes)) as? [String]
        #expect(value == [text])
    }
}

@Suite struct `Members of a JSON object` {
    @Test(arguments: [
        ("{}", [] as [String]), ("{ }", []), (#"{"a":1}"#, ["a=1"]),
        (
            #" {"a" : "x,}\"y" , "b":[1,{"c":"]"}], "c":{"d":{}} , "e":null}"#,
            ["a=\"x,}\\\"y\"", "b=[1,{\"c\":\"]\"}]", "c={\"d\":{}}", "e=null"]
        ),
    ])
    func `members are found with their values`(json: String, members: [String]) throws {
        let bytes = Array(json.utf8)
        let parsed = JSONMembers.find(in: bytes.span)
        let found = try #require(parsed).map {
            String(decoding: bytes[$0.name], as: UTF8.self) + "="
                + String(decoding: bytes[$0.value], as: UTF8.self)
        }
        #expect(found == members)
    }

    @Test(arguments: [
        "", "1", "[1]", "null", "\"a\"", #"{"a"#, #"{"a""#, #"{"a":"#, #"{"a":"x"#, #"{"a":{"#,
        #"{"a"}"#,
    ])
    func `what is no whole object has none`(_ json: String) {
        let bytes = Array(json.utf8)
        let found = JSONMembers.find(in: bytes.span)
        #expect(found == nil)
    }
}
