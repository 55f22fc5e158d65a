import EventCore
import Glibc
import TestSupport
import Testing

@testable import EventService

@Suite struct `Output queue` {
    private static func receive(_ descriptor: Int32) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
        return Array(buffer.prefix(max(0, count)))
    }

    /// Whatever the socket takes at a time, what comes out is what went in.
    @Test(arguments: 0..<10 as Range<UInt64>)
    func `bytes leave in their order, however little the socket takes`(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let pair = SocketPair()
        Sockets.setOption(pair.near, SOL_SOCKET, SO_SNDBUF, 4096)
        let shared = SharedBytes((0..<50_000).map { UInt8(truncatingIfNeeded: $0 &* 7) })
        var queue = OutputQueue()
        var expected: [UInt8] = []
        var received: [UInt8] = []
        for _ in 0..<400 {
            if Bool.random(using: &generator) {
                let start = Int.random(in: 0..<49_000, using: &generator)
                let range = start..<start + Int.random(in: 0..<1000, using: &generator)
                queue.append(shared, range)
                expected += shared.buffer[range]
            }
            let before = queue.byteCount
            switch queue.send(to: pair.near) {
            case .all: #expect(queue.isEmpty)
            case .some(let count): #expect(queue.byteCount == before - count)
            case .failed: Issue.record("failed")
            }
            received += Self.receive(pair.far)
        }
        while !queue.isEmpty {
            _ = queue.send(to: pair.near)
            received += Self.receive(pair.far)
        }
        received += Self.receive(pair.far)
        #expect(received == expected)
    }

    @Test func `a peer that has gone is a failure, not a signal`() {
        signal(SIGPIPE, SIG_DFL)
        let pair = SocketPair()
        shutdown(pair.far, Int32(SHUT_RDWR))
        var queue = OutputQueue()
        queue.append([1, 2, 3])
        #expect(queue.send(to: pair.near) == .failed)
    }
}
