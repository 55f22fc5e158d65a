import CLinux
import EventCore
import Glibc

/// One load test: opens the streams, reads what comes, and counts.
///
/// One thread and one epoll, so that the driver itself costs little and always the same.
final class LoadRun {
    private var options: LoadOptions
    private let epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
    private var streams: [LoadStream] = []
    private var byDescriptor: [LoadStream?] = []
    private var waiting: [LoadStream] = []
    private var openCount = 0
    private var isCut = false
    private var wantsOpen = true
    private(set) var tally = Tally()
    private var clock = TimestampReader()
    private var publisher: LoadPublisher?
    private var began = LoadClock.monotonic()
    private var lastPass = LoadClock.monotonic()
    private var connectBudget = 0.0
    private var cutBudget = 0.0
    private var generator = SystemRandomNumberGenerator()
    private var commands = CommandLineReader()
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)

    init(_ options: LoadOptions) {
        self.options = options
        streams = (0..<options.streams).map {
            LoadStream(number: $0, lastEventID: options.lastEventID)
        }
        waiting = streams.reversed()
        if options.publishRate > 0 { publisher = LoadPublisher(options) }
    }

    /// How many streams read.
    private lazy var readers = streams.count { !isMute($0) }

    private func isMute(_ stream: LoadStream) -> Bool {
        Double(stream.number % 100) < options.neverRead
    }

    // MARK: Running

    /// Runs to the end and returns the exit status.
    func run() -> Int32 {
        if options.isInteractive { add(STDIN_FILENO, EPOLLIN.rawValue) }
        if let publisher { add(publisher.descriptor, EPOLLIN.rawValue) }
        while true {
            let now = turn()
            if options.isInteractive {
                if !takeCommands() { return 0 }
            } else if wantsOpen, allAreOpen {
                say("\(openCount) streams are open after \(seconds(since: began)) s")
                measure()
            } else if !wantsOpen, now - began >= options.duration {
                LoadReport(self, seconds: seconds(since: began)).print(asJSON: options.isJSON)
                return tally.inversions + tally.gaps == 0 ? 0 : 1
            }
        }
    }

    private var allAreOpen: Bool { openCount == streams.count }

    private func seconds(since start: MonotonicTime) -> Double {
        Double((LoadClock.monotonic() - start).wholeMilliseconds) / 1000
    }

    private func say(_ text: String) {
        if !options.isJSON { Swift.print(text) }
        fflush(nil)
    }

    private func measure() {
        wantsOpen = false
        tally = Tally()
        for stream in streams { stream.events = 0 }
        began = LoadClock.monotonic()
    }

    /// The smallest and the largest number of events that a stream which reads has got.
    var spread: (least: Int, most: Int) {
        let counts = streams.filter { !isMute($0) }.map(\.events)
        return (counts.min() ?? 0, counts.max() ?? 0)
    }

    var openStreams: Int { openCount }
    var published: Int { publisher?.published ?? 0 }

    private func turn() -> MonotonicTime {
        var events = [epoll_event](repeating: epoll_event(), count: 512)
        let count = epoll_wait(epoll, &events, Int32(events.count), isBusy ? 1 : 20)
        for event in events.prefix(Int(max(count, 0))) {
            let descriptor = Int32(truncatingIfNeeded: event.data.u64)
            guard descriptor != STDIN_FILENO else { commands.read(); continue }
            if descriptor == publisher?.descriptor {
                publisher?.readable()
            } else if let stream = byDescriptor[Int(descriptor)] {
                ready(stream, event.events)
            }
        }
        let now = LoadClock.monotonic()
        let elapsed = Double((now - lastPass).wholeNanoseconds) / 1e9
        lastPass = now
        connectWaiting(elapsed)
        if !wantsOpen {
            cutSome(elapsed)
            publisher?.publish(now: now)
        }
        return now
    }

    private var isBusy: Bool {
        !waiting.isEmpty && !isCut || options.reconnectRate > 0 || publisher != nil
    }

    // MARK: Streams

    private func connectWaiting(_ elapsed: Double) {
        guard !isCut else { return }
        connectBudget = min(connectBudget + elapsed * Double(options.connectRate), 500)
        while connectBudget >= 1, let stream = waiting.popLast() {
            connectBudget -= 1
            guard stream.connect(options, receiveBuffer: isMute(stream) ? 4096 : nil) else {
                waiting.insert(stream, at: 0)
                return
            }
            let index = Int(stream.descriptor)
            while byDescriptor.count <= index { byDescriptor.append(nil) }
            byDescriptor[index] = stream
            add(stream.descriptor, EPOLLOUT.rawValue)
        }
    }

    private func cutSome(_ elapsed: Double) {
        guard options.reconnectRate > 0 else { return }
        cutBudget += elapsed * options.reconnectRate
        while cutBudget >= 1 {
            cutBudget -= 1
            guard let stream = streams.randomElement(using: &generator), stream.isOpen else {
                continue
            }
            tally.reconnects += 1
            reopen(stream)
        }
    }

    private func reopen(_ stream: LoadStream) {
        leave(stream)
        waiting.insert(stream, at: 0)
    }

    private func leave(_ stream: LoadStream) {
        if stream.isOpen { openCount -= 1 }
        if stream.descriptor >= 0 { byDescriptor[Int(stream.descriptor)] = nil }
        stream.close()
    }

    private func add(_ descriptor: Int32, _ events: UInt32, _ operation: Int32 = EPOLL_CTL_ADD) {
        var event = epoll_event()
        event.events = events
        event.data.u64 = UInt64(UInt32(descriptor))
        epoll_ctl(epoll, operation, descriptor, &event)
    }

    private func ready(_ stream: LoadStream, _ events: UInt32) {
        if stream.state == .connecting {
            guard events & (EPOLLERR.rawValue | EPOLLHUP.rawValue) == 0, stream.sendRequest(options)
            else {
                tally.breaks += 1
                return reopen(stream)
            }
            add(stream.descriptor, EPOLLIN.rawValue, EPOLL_CTL_MOD)
            return
        }
        read(stream)
    }

    private func read(_ stream: LoadStream) {
        let count = recv(stream.descriptor, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
        guard count > 0 else {
            if count < 0, errno == EAGAIN || errno == EINTR { return }
            tally.breaks += 1
            return reopen(stream)
        }
        let outcome = stream.received(
            UnsafeRawBufferPointer(rebasing: buffer[..<count]), isDense: options.isDense,
            streams: readers, tally: &tally,
            clock: &clock, now: LoadClock.wall())
        switch outcome {
        case .more:
            break
        case .opened:
            openCount += 1
            // What never reads has read its first frames, so that it counts as open.
            if isMute(stream) { add(stream.descriptor, 0, EPOLL_CTL_MOD) }
        case .refused(let status):
            tally.refused[status, default: 0] += 1
            reopen(stream)
        case .ended:
            tally.reconnects += 1
            reopen(stream)
        }
    }

    // MARK: Commands

    /// Does what standard input says; false at its end.
    private func takeCommands() -> Bool {
        while let command = commands.next() {
            switch command {
            case "measure": measure()
            case "report": LoadReport(self, seconds: seconds(since: began)).print(asJSON: true)
            case "cut":
                isCut = true
                for stream in streams where stream.state != .closed { leave(stream) }
                waiting = streams.reversed()
            case "connect": isCut = false
            case "quit": return false
            default: Swift.print("{\"error\":\"no such command\"}")
            }
            fflush(nil)
        }
        return !commands.isAtEnd
    }
}

/// Both clocks.
enum LoadClock {
    static func monotonic() -> MonotonicTime {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return MonotonicTime(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    /// Microseconds since 1970.
    static func wall() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }
}

/// Lines of standard input, as they come.
struct CommandLineReader {
    private var rest: [UInt8] = []
    private(set) var isAtEnd = false

    mutating func read() {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = Glibc.read(STDIN_FILENO, &bytes, bytes.count)
        if count <= 0 { isAtEnd = true } else { rest += bytes.prefix(count) }
    }

    mutating func next() -> String? {
        guard let end = rest.firstIndex(of: 0x0A) else { return nil }
        defer { rest.removeSubrange(...end) }
        return String(decoding: rest[..<end], as: UTF8.self)
    }
}
