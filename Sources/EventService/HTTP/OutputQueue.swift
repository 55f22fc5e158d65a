import CLinux
import EventCore
import Glibc

/// What waits to be sent on one connection: stretches of shared bytes.
struct OutputQueue {
    private struct Slice {
        let bytes: SharedBytes
        var start: Int
        var end: Int
    }

    private var slices: [Slice] = []
    /// Slices before this index have been sent.
    private var first = 0

    /// How many bytes wait.
    private(set) var byteCount = 0

    var isEmpty: Bool { byteCount == 0 }

    /// Adds a stretch; one that lies right behind the last makes that longer. A small piece of a large
    /// block is copied: a slow stream must not keep alive far more than waits for it.
    mutating func append(_ bytes: SharedBytes, _ range: Range<Int>) {
        guard bytes.count <= 4096 || bytes.count <= range.count * 4 else {
            return append(bytes[range])
        }
        byteCount += range.count
        if let last = slices.last, slices.count > first, last.bytes === bytes,
            last.end == range.lowerBound
        {
            slices[slices.count - 1].end = range.upperBound
        } else if !range.isEmpty {
            slices.append(Slice(bytes: bytes, start: range.lowerBound, end: range.upperBound))
        }
    }

    /// Adds bytes that are for this connection alone.
    mutating func append(_ bytes: [UInt8]) {
        append(SharedBytes(bytes), 0..<bytes.count)
    }

    /// What sending brought.
    enum Sent: Equatable {
        /// All is sent.
        case all
        /// The socket takes no more; this many bytes went.
        case some(Int)
        /// The connection is gone.
        case failed
    }

    /// Sends as much as the socket takes, up to 64 stretches a system call.
    mutating func send(to descriptor: Int32) -> Sent {
        var sent = 0
        while !isEmpty {
            let count = sendOnce(to: descriptor)
            guard count >= 0 else {
                return errno == EAGAIN || errno == EWOULDBLOCK ? .some(sent) : .failed
            }
            sent += count
            consume(count)
        }
        return .all
    }

    /// Sends a stretch without queueing it; returns how many bytes the socket took, -1 if the
    /// connection is gone.
    static func send(_ bytes: SharedBytes, _ range: Range<Int>, to descriptor: Int32) -> Int {
        let start = bytes.buffer.baseAddress.map { $0 + range.lowerBound }
        while true {
            let count = Glibc.send(
                descriptor, start, range.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
            if count >= 0 { return count }
            if errno == EAGAIN || errno == EWOULDBLOCK { return 0 }
            guard errno == EINTR else { return -1 }
        }
    }

    private func sendOnce(to descriptor: Int32) -> Int {
        let pending = slices[first...].prefix(64)
        return withUnsafeTemporaryAllocation(of: iovec.self, capacity: pending.count) { vector in
            for (index, slice) in pending.enumerated() {
                let start = slice.bytes.buffer.baseAddress.map { $0 + slice.start }
                vector.initializeElement(
                    at: index,
                    to: iovec(
                        iov_base: UnsafeMutableRawPointer(mutating: start),
                        iov_len: slice.end - slice.start))
            }
            let flags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)
            var message = msghdr()
            message.msg_iov = vector.baseAddress
            message.msg_iovlen = pending.count
            while true {
                let count = sendmsg(descriptor, &message, flags)
                guard count < 0, errno == EINTR else { return count }
            }
        }
    }

    private mutating func consume(_ count: Int) {
        byteCount -= count
        var rest = count
        while rest > 0 {
            let length = slices[first].end - slices[first].start
            guard rest >= length else {
                slices[first].start += rest
                break
            }
            rest -= length
            first += 1
        }
        if first == slices.count {
            slices.removeAll(keepingCapacity: slices.capacity <= 4)
            first = 0
        } else if first >= 8 {
            slices.removeFirst(first)
            first = 0
        }
    }
}
