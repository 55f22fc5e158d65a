import Testing

@testable import LoadDriver

/// What the load driver counts must be what came: a check that miscounts proves nothing.
@Suite struct `Frame scanner` {
    private static let frames = [
        "retry: 2000\nid: 1-5\nevent: stream.open\ndata: {}\n", ": hb",
        "id: 1-6\nevent: a.b\ndata: {\"time\":\"2026-11-25T09:34:16.148047Z\"}\n",
        "id: 1-7\nevent: stream.live\ndata: {}\n",
    ]
    private static let text = frames.map { $0.hasPrefix(":") ? $0 + "\n" : $0 + "\n" }.joined()

    private static func scan(_ pieces: [[UInt8]], isChunked: Bool) -> [String] {
        var scanner = FrameScanner(isChunked: isChunked)
        var found: [String] = []
        for piece in pieces {
            piece.withUnsafeBytes { bytes in
                scanner.consume(bytes) { found.append(String(decoding: $0, as: UTF8.self)) }
            }
        }
        return found
    }

    private static func chunked(_ text: String, every size: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let piece = rest.prefix(size)
            bytes += Array("0\(String(piece.count, radix: 16))\r\n".utf8) + piece + [13, 10]
            rest = rest.dropFirst(piece.count)
        }
        return bytes
    }

    @Test func `frames are found however the bytes are cut`() {
        for (bytes, isChunked) in [
            (Array(Self.text.utf8), false), (Self.chunked(Self.text, every: 7), true),
            (Self.chunked(Self.text, every: 1000), true),
        ] {
            #expect(Self.scan(bytes.map { [$0] }, isChunked: isChunked) == Self.frames)
            for cut in 0...bytes.count {
                let pieces = [Array(bytes[..<cut]), Array(bytes[cut...])]
                #expect(Self.scan(pieces, isChunked: isChunked) == Self.frames, "cut at \(cut)")
            }
        }
    }

    @Test func `the last chunk ends the stream`() {
        var scanner = FrameScanner(isChunked: true)
        Array("5\r\n: hb\n\r\n0\r\n\r\n".utf8).withUnsafeBytes { scanner.consume($0) { _ in } }
        #expect(scanner.isEnded)
    }

    @Test func `a frame tells its kind, its position and its time`() {
        var clock = TimestampReader()
        let readings = Self.frames.map { frame in
            Array(frame.utf8).withUnsafeBytes { FrameReading($0, &clock) }
        }
        #expect(readings.map(\.isControl) == [true, false, false, true])
        #expect(readings.map(\.isHeartbeat) == [false, true, false, false])
        #expect(readings.map(\.isLive) == [false, false, false, true])
        #expect(readings.map(\.position) == [5, nil, 6, 7])
        #expect(readings[2].time == 1_795_599_256_148_047)
    }
}

@Suite struct `Latency histogram` {
    @Test func `percentiles are exact to a hundredth`() {
        var histogram = LatencyHistogram()
        for value in 1...100_000 { histogram.record(value) }
        for (share, value) in [(0.5, 50_000), (0.99, 99_000), (0.999, 99_900), (1, 100_000)] {
            let found = histogram.percentile(share)
            #expect(abs(found - value) * 50 <= value, "\(share): \(found)")
        }
        #expect(histogram.maximum == 100_000)
    }

    @Test func `an empty one has none, and a clock that went back counts as zero`() {
        var histogram = LatencyHistogram()
        #expect(histogram.percentile(0.99) == 0)
        histogram.record(-5)
        #expect(histogram.percentile(0.5) == 0)
        #expect(histogram.count == 1)
    }
}

@Suite struct `Order of a stream` {
    /// Feeds one stream with events of these positions behind position 5.
    private static func tally(_ positions: [Int], isDense: Bool) -> Tally {
        let stream = LoadStream(number: 0, lastEventID: "1-5")
        var tally = Tally()
        var clock = TimestampReader()
        let head = "HTTP/1.1 200 OK\r\nX-Request-Id: a\r\n\r\n"
        let body = positions.map { "id: 1-\($0)\nevent: a.b\ndata: {}\n\n" }.joined()
        Array((head + body).utf8).withUnsafeBytes {
            _ = stream.received(
                $0, isDense: isDense, streams: 1, tally: &tally, clock: &clock, now: 0)
        }
        return tally
    }

    @Test(arguments: [
        ([6, 7, 8], 0, 0), ([6, 8], 0, 1), ([7], 0, 1), ([6, 6], 1, 0), ([8, 7], 1, 2), ([5], 1, 0),
    ])
    func `what is twice, out of order or missing is counted`(
        positions: [Int], inversions: Int, gaps: Int
    ) {
        let tally = Self.tally(positions, isDense: true)
        #expect(tally.events == positions.count)
        #expect(tally.inversions == inversions)
        #expect(tally.gaps == gaps)
        #expect(Self.tally(positions, isDense: false).gaps == 0)
    }
}
