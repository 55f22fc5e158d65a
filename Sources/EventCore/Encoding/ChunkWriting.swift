/// A chunk of HTTP/1.1 that is being written (RFC 9112, section 7.1).
public struct OpenChunk {
    /// Where the chunk begins, its size line included.
    public let start: Int
    /// Where its payload begins.
    public let payloadStart: Int
}

extension [UInt8] {
    private static let digits = 3

    /// Begins a chunk: what is appended from here on is its payload.
    public mutating func beginChunk() -> OpenChunk {
        // Room for the size of most frames; leading zeros are allowed.
        append("000\r\n")
        return OpenChunk(start: count - Self.digits - 2, payloadStart: count)
    }

    /// Ends a chunk, and returns by how many bytes the payload had to be moved for its size to fit.
    public mutating func endChunk(_ chunk: OpenChunk) -> Int {
        let size = count - chunk.payloadStart
        let needed = (Int.bitWidth - size.leadingZeroBitCount + 3) / 4
        let moved = Swift.max(needed - Self.digits, 0)
        if moved > 0 { insert(contentsOf: repeatElement(0x30, count: moved), at: chunk.start) }
        var rest = size
        var index = chunk.start + Self.digits + moved
        while rest > 0 {
            index -= 1
            self[index] = Self.hexadecimal(UInt8(truncatingIfNeeded: rest & 15))
            rest >>= 4
        }
        append("\r\n")
        return moved
    }

    /// Appends a chunk of HTTP/1.1.
    public mutating func appendChunk(_ payload: [UInt8]) {
        let chunk = beginChunk()
        append(contentsOf: payload)
        _ = endChunk(chunk)
    }
}
