import Glibc

/// Finds the frames of an event stream in what a socket delivered, chunk framing taken away, without
/// making a string of any: one driver has to read what ten thousand streams are sent.
///
/// It trusts the stream to be well-formed; whether it is, the tests ask.
struct FrameScanner {
    /// Reads one frame: its lines without the blank one that ends it.
    typealias Receive = (UnsafeRawBufferPointer) -> Void

    private var isChunked: Bool
    /// Of the present chunk, its end included; zero: a size line comes next.
    private var chunkLeft = 0
    /// Bytes of a frame or a size line that is not whole yet.
    private var rest: [UInt8] = []
    private var sizeLine: [UInt8] = []
    /// Whether the last chunk has come.
    private(set) var isEnded = false

    init(isChunked: Bool) {
        self.isChunked = isChunked
    }

    /// Takes bytes of the body.
    mutating func consume(_ bytes: UnsafeRawBufferPointer, _ receive: Receive) {
        guard isChunked else { return scan(bytes, receive) }
        var index = 0
        while index < bytes.count, !isEnded {
            if chunkLeft > 2 {
                let end = min(index + chunkLeft - 2, bytes.count)
                scan(UnsafeRawBufferPointer(rebasing: bytes[index..<end]), receive)
                chunkLeft -= end - index
                index = end
            } else if chunkLeft > 0 {
                chunkLeft -= 1
                index += 1
            } else {
                readSize(bytes[index])
                index += 1
            }
        }
    }

    private mutating func readSize(_ byte: UInt8) {
        guard byte == 0x0A else { return sizeLine.append(byte) }
        var size = 0
        for digit in sizeLine {
            switch digit {
            case 0x30...0x39: size = size << 4 | Int(digit - 0x30)
            case 0x61...0x66: size = size << 4 | Int(digit - 0x57)
            case 0x41...0x46: size = size << 4 | Int(digit - 0x37)
            default: break
            }
        }
        sizeLine.removeAll(keepingCapacity: true)
        chunkLeft = size + 2
        isEnded = size == 0
    }

    private mutating func scan(_ bytes: UnsafeRawBufferPointer, _ receive: Receive) {
        guard rest.isEmpty else {
            rest.append(contentsOf: bytes)
            var whole: [UInt8] = []
            swap(&whole, &rest)
            return whole.withUnsafeBytes { scanWhole($0, receive) }
        }
        scanWhole(bytes, receive)
    }

    private mutating func scanWhole(_ bytes: UnsafeRawBufferPointer, _ receive: Receive) {
        var start = 0
        var lineStart = 0
        while let end = bytes.firstNewline(from: lineStart) {
            if end == lineStart {
                if end > start { receive(UnsafeRawBufferPointer(rebasing: bytes[start..<end])) }
                start = end + 1
            } else if lineStart == start, bytes[start] == UInt8(ascii: ":") {
                // A comment stands alone, without a blank line.
                receive(UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
                start = end + 1
            }
            lineStart = end + 1
        }
        if start < bytes.count { rest.append(contentsOf: bytes[start...]) }
    }
}

extension UnsafeRawBufferPointer {
    fileprivate func firstNewline(from index: Int) -> Int? {
        guard let base = baseAddress, index < count,
            let found = memchr(base + index, 0x0A, count - index)
        else { return nil }
        return UnsafeRawPointer(found) - base
    }

    /// Where a text stands in the bytes.
    func firstIndex(of text: StaticString, from index: Int = 0) -> Int? {
        guard let base = baseAddress else { return nil }
        let length = text.utf8CodeUnitCount
        var start = index
        while start + length <= count,
            let found = memchr(base + start, Int32(text.utf8Start.pointee), count - start)
        {
            let place = UnsafeRawPointer(found) - base
            guard place + length <= count else { return nil }
            if memcmp(found, text.utf8Start, length) == 0 { return place }
            start = place + 1
        }
        return nil
    }

    /// The decimal number that begins at an index.
    func decimal(at index: Int) -> Int64? {
        var value: Int64 = 0
        var place = index
        while place < count, (0x30...0x39).contains(self[place]), value < .max / 16 {
            value = value * 10 + Int64(self[place] - 0x30)
            place += 1
        }
        return place > index ? value : nil
    }
}
