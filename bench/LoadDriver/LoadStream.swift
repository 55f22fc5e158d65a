import CLinux
import EventCore
import Glibc

/// One stream of the load: a socket, and what is known of its order.
final class LoadStream {
    enum State { case idle, connecting, reading, closed }

    let number: Int
    private(set) var descriptor: Int32 = -1
    private(set) var state = State.idle
    /// Whether `stream.live` has come, or, of a server that has none, the head of the answer.
    private(set) var isOpen = false
    /// The id to resume with.
    private var lastID: [UInt8]
    private(set) var lastPosition: Int64?
    /// Of the present measurement.
    var events = 0
    private var head: [UInt8] = []
    private var scanner: FrameScanner?

    init(number: Int, lastEventID: String?) {
        self.number = number
        lastID = Array((lastEventID ?? "").utf8)
        lastPosition = lastEventID.flatMap { Cursor($0) }?.position
    }

    /// Opens a socket and begins to connect; false if there is none.
    func connect(_ options: LoadOptions, receiveBuffer: Int32?) -> Bool {
        descriptor = socket(
            AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0
        )
        guard descriptor >= 0 else { return false }
        if var size = receiveBuffer {
            setsockopt(
                descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = options.port.bigEndian
        inet_pton(AF_INET, options.host, &address.sin_addr)
        let code = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard code == 0 || errno == EINPROGRESS else {
            close()
            return false
        }
        state = .connecting
        isOpen = false
        head = []
        scanner = nil
        return true
    }

    /// The socket is connected: asks for the stream.
    func sendRequest(_ options: LoadOptions) -> Bool {
        var text =
            "GET \(target(options)) HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
        if !options.tokens.isEmpty {
            text += "Authorization: Bearer \(options.tokens[number % options.tokens.count])\r\n"
        }
        if !lastID.isEmpty {
            text += "Last-Event-ID: \(String(decoding: lastID, as: UTF8.self))\r\n"
        }
        let bytes = Array((text + "\r\n").utf8)
        state = .reading
        return send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
    }

    private func target(_ options: LoadOptions) -> String {
        options.target.map(String.init).joined(separator: String(number))
    }

    func close() {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
        state = .closed
        isOpen = false
    }

    // MARK: Reading

    /// What reading brought.
    enum Outcome { case more, opened, refused(Int), ended }

    /// Takes what the socket delivered.
    func received(
        _ bytes: UnsafeRawBufferPointer, isDense: Bool, streams: Int, tally: inout Tally,
        clock: inout TimestampReader, now: Int64
    ) -> Outcome {
        let wasOpen = isOpen
        if scanner == nil {
            head.append(contentsOf: bytes)
            guard let end = head.withUnsafeBytes({ $0.firstIndex(of: "\r\n\r\n") }) else {
                return .more
            }
            let text = String(decoding: head[..<end], as: UTF8.self).lowercased()
            let status = text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
            guard status == 200 else { return .refused(status) }
            scanner = FrameScanner(isChunked: text.contains("transfer-encoding: chunked"))
            // A server without `stream.live` is open with its head.
            isOpen = !text.contains("x-request-id")
            let body = Array(head[(end + 4)...])
            head = []
            body.withUnsafeBytes { scan($0, isDense, streams, &tally, &clock, now) }
        } else {
            scan(bytes, isDense, streams, &tally, &clock, now)
        }
        if scanner?.isEnded == true { return .ended }
        return isOpen && !wasOpen ? .opened : .more
    }

    private func scan(
        _ bytes: UnsafeRawBufferPointer, _ isDense: Bool, _ streams: Int, _ tally: inout Tally,
        _ clock: inout TimestampReader, _ now: Int64
    ) {
        tally.bytes += bytes.count
        scanner?.consume(bytes) { frame in
            let reading = FrameReading(frame, &clock)
            if reading.isHeartbeat { tally.heartbeats += 1 }
            if reading.isReset { tally.resets += 1 }
            if reading.isEnd { tally.ends += 1 }
            if reading.isLive { isOpen = true }
            if let id = reading.id { lastID.replaceSubrange(0..., with: id) }
            guard !reading.isControl, !reading.isHeartbeat else {
                // A reset or a cursor moves the place without an event.
                if let position = reading.position { lastPosition = position }
                return
            }
            tally.events += 1
            events += 1
            tally.lastEventAt = now
            if let time = reading.time { tally.arrived(time, now: now, streams: streams) }
            guard let position = reading.position else { return }
            if let last = lastPosition {
                if position <= last { tally.inversions += 1 }
                if isDense, position > last + 1 { tally.gaps += Int(position - last - 1) }
            }
            lastPosition = position
        }
    }
}
