import EventCore
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import EventService

/// Two ends of a connection, closed with the pair.
final class SocketPair {
    let near: Int32
    let far: Int32

    init() {
        var ends: [Int32] = [0, 0]
        socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &ends)
        near = ends[0]
        far = ends[1]
    }

    deinit {
        close(near)
        close(far)
    }
}

private final class Recorder: ReadinessHandler, TimerHandler {
    var timerIndex = -1
    var seen: [Readiness] = []
    var fired: [MonotonicTime] = []
    var onReady: (Recorder) -> Void = { _ in }
    var onTimer: (Recorder) -> Void = { _ in }

    func ready(_ readiness: Readiness) {
        seen.append(readiness)
        onReady(self)
    }

    func timerFired(now: MonotonicTime) {
        fired.append(now)
        onTimer(self)
    }
}

@Suite struct `Event loop` {
    @Test func `a ready descriptor is reported, and nothing is left behind`() throws {
        let loop = try EventLoop()
        let pair = SocketPair()
        let recorder = Recorder()
        recorder.onReady = { _ in loop.stop() }
        try loop.register(pair.near, for: .readable, handler: recorder)
        write(pair.far, "x", 1)
        loop.run()
        #expect(recorder.seen == [.readable])
        loop.deregister(pair.near)
        #expect(loop.registrationCount == 0)
        #expect(loop.timerCount == 0)
    }

    @Test func `an event for a descriptor that was closed and given out again is dropped`() throws {
        let loop = try EventLoop()
        let (first, second) = (SocketPair(), SocketPair())
        let (early, late) = (Recorder(), Recorder())
        let replacement = Recorder()
        // Both are ready in one turn; whichever comes first takes the other away and reuses its number.
        let takeAway: (Recorder) -> Void = { recorder in
            let other = recorder === early ? second.near : first.near
            loop.deregister(other)
            try? loop.register(other, for: .hangUp, handler: replacement)
            loop.stop()
        }
        early.onReady = takeAway
        late.onReady = takeAway
        try loop.register(first.near, for: .readable, handler: early)
        try loop.register(second.near, for: .readable, handler: late)
        write(first.far, "x", 1)
        write(second.far, "x", 1)
        loop.run()
        #expect(early.seen.count + late.seen.count == 1)
        #expect(replacement.seen.isEmpty)
    }

    @Test func `timers fire in their order, and may be moved and taken back`() throws {
        let loop = try EventLoop()
        let recorders = (0..<20).map { _ in Recorder() }
        var order: [Int] = []
        for (index, recorder) in recorders.enumerated() {
            recorder.onTimer = { _ in order.append(index) }
            loop.setTimer(recorder, at: loop.now + .milliseconds(20 - index))
        }
        loop.setTimer(recorders[0], at: loop.now)
        loop.cancelTimer(recorders[5])
        loop.cancelTimer(recorders[5])
        let last = Recorder()
        last.onTimer = { _ in loop.stop() }
        loop.setTimer(last, at: loop.now + .milliseconds(40))
        loop.run()
        #expect(order == [0] + (1..<20).reversed().filter { $0 != 5 })
        #expect(loop.timerCount == 0)
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func `the queue of timers is a sorted list, only faster`(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var queue = TimerQueue()
        let handlers = (0..<30).map { _ in Recorder() }
        var model: [Int: Int64] = [:]
        for _ in 0..<500 {
            let index = Int.random(in: handlers.indices, using: &generator)
            switch Int.random(in: 0..<4, using: &generator) {
            case 0:
                queue.cancel(handlers[index])
                model[index] = nil
            case 1:
                let now = Int64.random(in: 0..<1000, using: &generator)
                while let handler = queue.popDue(now: MonotonicTime(nanoseconds: now)) {
                    guard let found = handlers.firstIndex(where: { $0 === handler }) else { break }
                    #expect(model[found] == model.values.min())
                    model[found] = nil
                }
                #expect(model.values.allSatisfy { $0 > now })
            default:
                let deadline = Int64.random(in: 0..<1000, using: &generator)
                queue.set(handlers[index], at: MonotonicTime(nanoseconds: deadline))
                model[index] = deadline
            }
            #expect(queue.count == model.count)
            #expect(queue.nextDeadline?.nanoseconds == model.values.min())
        }
    }

    @Test(.timeLimit(.minutes(1)))
    func `messages of many threads arrive once, and each thread's in order`() async throws {
        try await onOwnThread {
            let loop = try EventLoop()
            let mailbox = try Mailbox<(thread: Int, number: Int)>()
            var received: [Int: [Int]] = [:]
            var count = 0
            let reader = try MailboxReader(mailbox, on: loop) { message in
                received[message.thread, default: []].append(message.number)
                count += 1
                if count == 4000 { loop.stop() }
            }
            let threads = try (0..<4).map { thread in
                try LoopThread(name: "poster-\(thread)") {
                    for number in 0..<1000 { mailbox.post((thread, number)) }
                }
            }
            loop.run()
            for thread in threads { thread.join() }
            #expect((0..<4).allSatisfy { received[$0] == Array(0..<1000) })
            reader.stop(on: loop)
            #expect(loop.registrationCount == 0)
            mailbox.close()
            #expect(!mailbox.post((0, 0)), "nobody will take it")
        }
    }
}
