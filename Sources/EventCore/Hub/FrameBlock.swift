/// Bytes that many streams share and nobody changes; freed when the last of them is done.
///
/// Memory of its own rather than an array's, because `writev` wants addresses that stay.
///
/// `@unchecked Sendable`: written before anybody else sees it, only read afterwards.
@safe
public final class SharedBytes: @unchecked Sendable {
    /// The bytes, valid as long as the object is.
    public let buffer: UnsafeRawBufferPointer

    /// Copies bytes.
    public init(_ bytes: [UInt8]) {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        unsafe copy.copyBytes(from: bytes)
        unsafe buffer = UnsafeRawBufferPointer(copy)
    }

    deinit {
        unsafe buffer.deallocate()
    }

    /// How many there are.
    public var count: Int { unsafe buffer.count }

    /// A copy of a stretch.
    public subscript(range: Range<Int>) -> [UInt8] { unsafe [UInt8](buffer[range]) }
}

/// The frames of events that became visible at once, as the hub and the ring hold them.
public final class FrameBlock: RingBlock, Sendable {
    /// The first position that the block covers.
    public let first: Int64
    /// The last position that the block covers.
    public let last: Int64
    /// The frames, in order of position.
    public let frames: [EncodedFrame]
    /// What the frames' ranges point into.
    public let bytes: SharedBytes
    /// What the block takes in memory, about.
    public let byteCount: Int

    /// Creates a block.
    public init(_ batch: EncodedBatch) {
        first = batch.first
        last = batch.last
        frames = batch.frames
        bytes = SharedBytes(batch.bytes)
        byteCount = batch.frames.reduce(batch.bytes.count + 128) { $0 + $1.envelope.byteCount }
    }

    /// The frames behind a position.
    public func frames(after position: Int64) -> ArraySlice<EncodedFrame> {
        guard position >= first else { return frames[...] }
        var (lower, upper) = (0, frames.count)
        while lower < upper {
            let middle = (lower + upper) / 2
            if frames[middle].position <= position { lower = middle + 1 } else { upper = middle }
        }
        return frames[lower...]
    }

    /// The JSON of one event, with its `id` as the first member.
    public func json(of frame: EncodedFrame) -> [UInt8] {
        bytes[frame.data].withIDMember(frame.cursor)
    }
}

/// A page of the log.
public struct LogPage: Sendable {
    /// The head and the floor, from the same snapshot as the events.
    public let head: Int64
    /// The lowest position that is kept.
    public let floor: Int64
    /// Everything up to here that matches stands in the page.
    public let scanned: Int64
    /// The events.
    public let block: FrameBlock

    /// Creates a page.
    public init(head: Int64, floor: Int64, scanned: Int64, block: FrameBlock) {
        self.head = head
        self.floor = floor
        self.scanned = scanned
        self.block = block
    }
}
