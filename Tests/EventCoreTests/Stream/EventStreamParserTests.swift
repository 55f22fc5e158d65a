import EventCore
import Foundation
import TestSupport
import Testing

/// Vectors for every parser of the project: `Tests/Fixtures/event-stream.json`.
struct StreamVector: Decodable, Sendable, CustomTestStringConvertible {
    let name: String
    /// The stream as text, or in pieces as base64.
    var stream: String?
    var chunks: [String]?
    let events: [[String]]
    var id: String?
    var retry: Int?
    var comments: Int?

    var testDescription: String { name }

    /// The bytes, in the pieces that the vector names.
    var pieces: [[UInt8]] {
        chunks?.map { Array(Data(base64Encoded: $0) ?? Data()) } ?? [Array((stream ?? "").utf8)]
    }

    static func all() throws -> [StreamVector] {
        try JSONDecoder().decode(
            [StreamVector].self,
            from: Data(Repository.text("Tests/Fixtures/event-stream.json").utf8))
    }
}

@Suite struct `Event stream parser` {
    private static func parse(_ pieces: [[UInt8]]) -> (EventStreamParser, [[String]]) {
        var parser = EventStreamParser()
        var events: [[String]] = []
        for piece in pieces {
            events += parser.consume(piece).map { [$0.type, $0.data, $0.lastEventID] }
        }
        return (parser, events)
    }

    @Test func `a stream is read the same however it is cut`() throws {
        let vectors = try StreamVector.all()
        #expect(vectors.count >= 30)
        for vector in vectors {
            let bytes = Array(vector.pieces.joined())
            var cuts: [[[UInt8]]] = [vector.pieces, [bytes], bytes.map { [$0] }]
            for index in bytes.indices {
                cuts.append([Array(bytes[..<index]), Array(bytes[index...])])
            }
            for pieces in cuts {
                let (parser, events) = Self.parse(pieces)
                #expect(events == vector.events, "\(vector.name)")
                #expect(parser.lastEventID == vector.id ?? "", "\(vector.name)")
                #expect(parser.retryMilliseconds == vector.retry, "\(vector.name)")
                #expect(parser.comments == vector.comments ?? 0, "\(vector.name)")
            }
        }
    }

    @Test func `what the service writes is what a client reads`() throws {
        let cursor = Cursor(epoch: 5, position: 7)
        var bytes: [UInt8] = []
        for frame: StreamFrame in [
            .heartbeat, .live(at: cursor, head: cursor), .heartbeat, .cursor(cursor),
        ] {
            frame.append(to: &bytes)
        }
        let (parser, events) = Self.parse([bytes])
        #expect(
            events == [
                ["stream.live", #"{"head":"5-7"}"#, "5-7"], ["stream.cursor", "{}", "5-7"],
            ])
        #expect(parser.comments == 2)
    }
}
