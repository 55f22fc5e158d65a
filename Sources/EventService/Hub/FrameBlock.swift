import EventCore

/// Bytes that many streams share and nobody changes; freed when the last of them is done.
///
/// Memory of its own rather than an array's, because `writev` wants addresses that stay.
///
/// `@unchecked Sendable`: written before anybody else sees it, only read afterwards.
final class SharedBytes: @unchecked Sendable {
    let buffer: UnsafeRawBufferPointer

    init(_ bytes: [UInt8]) {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        copy.copyBytes(from: bytes)
        buffer = UnsafeRawBufferPointer(copy)
    }

    deinit {
        buffer.deallocate()
    }

    var count: Int { buffer.count }
}

/// The frames of events that became visible at once, as the hub and the ring hold them.
final class FrameBlock: RingBlock, Sendable {
    let first: Int64
    let last: Int64
    let frames: [EncodedFrame]
    let bytes: SharedBytes
    let byteCount: Int

    init(_ batch: EncodedBatch) {
        first = batch.first
        last = batch.last
        frames = batch.frames
        bytes = SharedBytes(batch.bytes)
        // A frame's type, key and labels take about as much again as a small event.
        byteCount = batch.bytes.count + batch.frames.count * 256 + 128
    }

    /// The frames behind a position.
    func frames(after position: Int64) -> ArraySlice<EncodedFrame> {
        guard position >= first else { return frames[...] }
        var (lower, upper) = (0, frames.count)
        while lower < upper {
            let middle = (lower + upper) / 2
            if frames[middle].position <= position { lower = middle + 1 } else { upper = middle }
        }
        return frames[lower...]
    }

    /// The JSON of one event, with its `id` as the first member.
    func json(of frame: EncodedFrame) -> [UInt8] {
        [UInt8](bytes.buffer[frame.data]).withIDMember(frame.cursor)
    }
}
