import EventCore

/// What one frame says, as far as a load test wants to know it.
struct FrameReading {
    /// `event:` begins with `stream.`: a frame about the stream itself.
    var isControl = false
    /// A comment.
    var isHeartbeat = false
    /// `stream.live`.
    var isLive = false
    /// `stream.reset`.
    var isReset = false
    /// `stream.end`.
    var isEnd = false
    /// The id as it stands there.
    var id: UnsafeRawBufferPointer?
    /// The position in the id.
    var position: Int64?
    /// `time` in the data, in microseconds since 1970.
    var time: Int64?

    init(_ frame: UnsafeRawBufferPointer, _ clock: inout TimestampReader) {
        guard frame.first != UInt8(ascii: ":") else {
            isHeartbeat = true
            return
        }
        var start = 0
        while start < frame.count {
            let line = UnsafeRawBufferPointer(rebasing: frame[start...])
            let end = line.firstIndex(of: "\n") ?? line.count
            read(UnsafeRawBufferPointer(rebasing: line[..<end]), &clock)
            start += end + 1
        }
    }

    private mutating func read(_ line: UnsafeRawBufferPointer, _ clock: inout TimestampReader) {
        switch line.first {
        case UInt8(ascii: "i"):
            guard line.starts(with: "id: ".utf8) else { return }
            let value = UnsafeRawBufferPointer(rebasing: line[4...])
            id = value
            position = value.firstIndex(of: "-").flatMap { value.decimal(at: $0 + 1) }
        case UInt8(ascii: "e"):
            guard line.starts(with: "event: stream.".utf8) else { return }
            isControl = true
            isLive = line.count == 18 && line[14] == UInt8(ascii: "l")
            isReset = line.count == 19 && line[14] == UInt8(ascii: "r")
            isEnd = line.count == 17
        case UInt8(ascii: "d"):
            guard !isControl, let place = line.firstIndex(of: "\"time\":\"") else { return }
            time = clock.read(line, at: place + 8)
        default:
            break
        }
    }
}

/// Reads `2026-11-25T09:34:16.148047Z`, and remembers the minute, which is mostly that of the last.
struct TimestampReader {
    private var minute: [UInt8] = []
    private var minuteMicroseconds: Int64 = 0

    mutating func read(_ bytes: UnsafeRawBufferPointer, at index: Int) -> Int64? {
        guard index + 27 <= bytes.count else { return nil }
        let prefix = UnsafeRawBufferPointer(rebasing: bytes[index..<index + 17])
        if !minute.elementsEqual(prefix) {
            let text = String(decoding: prefix, as: UTF8.self) + "00Z"
            guard let time = Timestamp(rfc3339: text) else { return nil }
            minute = Array(prefix)
            minuteMicroseconds = time.microseconds
        }
        guard let second = bytes.decimal(at: index + 17),
            let fraction = bytes.decimal(at: index + 20)
        else { return nil }
        return minuteMicroseconds + second * 1_000_000 + fraction
    }
}
