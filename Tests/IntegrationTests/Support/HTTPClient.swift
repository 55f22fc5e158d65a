import EventCore
import Foundation
import TestSupport

/// A connected socket that blocks, with a time limit on each read.
final class ClientSocket {
    private let descriptor: Int32

    /// - Parameter receiveBuffer: how much the kernel keeps of what is not read, for slow clients.
    init(port: UInt16, timeout: Int = 20, receiveBuffer: Int32? = nil) throws {
        // Not inherited by children: a service must not keep its client's side open.
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw TestFailure("socket") }
        setTimeout(milliseconds: timeout * 1000)
        if var size = receiveBuffer {
            setsockopt(
                descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else {
            // `deinit` closes it: a second time would be another thread's.
            throw TestFailure("connect to \(port): \(String(cString: strerror(errno)))")
        }
    }

    deinit {
        close(descriptor)
    }

    func setTimeout(milliseconds: Int) {
        var time = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
        setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    }

    func send(_ text: String) throws {
        try send(Array(text.utf8))
    }

    func send(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw TestFailure("send: \(String(cString: strerror(errno)))") }
            rest = rest.dropFirst(count)
        }
    }

    /// Ends the sending side.
    func endSending() {
        shutdown(descriptor, Int32(SHUT_WR))
    }

    /// What has come, at least one byte; empty at the end, `nil` when the time is up.
    func receive(_ count: Int = 65_536) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: count)
        let received = recv(descriptor, &buffer, count, 0)
        if received < 0 { return errno == EAGAIN || errno == EWOULDBLOCK ? nil : [] }
        return Array(buffer.prefix(received))
    }

    /// What has come already; `nil` if nothing has.
    func receiveWaiting() -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let received = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
        if received < 0 { return errno == EAGAIN || errno == EWOULDBLOCK ? nil : [] }
        return Array(buffer.prefix(received))
    }

    /// All that comes until the end.
    func receiveToEnd() throws -> [UInt8] {
        var all: [UInt8] = []
        while true {
            guard let bytes = receive() else {
                throw TestFailure("no end after \(all.count) bytes")
            }
            if bytes.isEmpty { return all }
            all += bytes
        }
    }
}

/// An answer.
struct HTTPAnswer {
    var status: Int
    /// Names in lower case.
    var fields: [String: String]
    var body: [UInt8]

    var text: String { String(decoding: body, as: UTF8.self) }

    /// The body as JSON.
    var json: [String: Any] {
        ((try? JSONSerialization.jsonObject(with: Data(body))) as? [String: Any]) ?? [:]
    }

    /// Reads one answer from the beginning of some bytes, and returns what follows it.
    static func read(_ bytes: [UInt8], isHead: Bool = false) throws -> (
        answer: HTTPAnswer, rest: [UInt8]
    ) {
        guard let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else {
            throw TestFailure("no head in \(String(decoding: bytes.prefix(200), as: UTF8.self))")
        }
        let lines = String(decoding: bytes[..<end.lowerBound], as: UTF8.self).components(
            separatedBy: "\r\n")
        var fields: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            fields[parts[0].lowercased()] = parts[1].trimmingCharacters(in: .whitespaces)
        }
        let status = Int(lines[0].split(separator: " ")[1]) ?? 0
        let rest = Array(bytes[end.upperBound...])
        let length = isHead ? 0 : fields["content-length"].flatMap { Int($0) } ?? 0
        guard rest.count >= length else { throw TestFailure("the body is short") }
        return (
            HTTPAnswer(status: status, fields: fields, body: Array(rest.prefix(length))),
            Array(rest.dropFirst(length))
        )
    }
}

/// Requests that are answered as a whole.
enum HTTPClient {
    static func request(
        _ port: UInt16, _ method: String, _ target: String, fields: [String] = [],
        body: String? = nil,
        timeout: Int = 40
    ) throws -> HTTPAnswer {
        let socket = try ClientSocket(port: port, timeout: timeout)
        var head = "\(method) \(target) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        for field in fields { head += field + "\r\n" }
        if let body { head += "Content-Length: \(body.utf8.count)\r\n" }
        try socket.send(head + "\r\n" + (body ?? ""))
        return try HTTPAnswer.read(try socket.receiveToEnd(), isHead: method == "HEAD").answer
    }

    static func get(_ port: UInt16, _ target: String, fields: [String] = []) throws -> HTTPAnswer {
        try request(port, "GET", target, fields: fields)
    }

    static func publish(_ port: UInt16, _ body: String, fields: [String] = []) throws -> HTTPAnswer
    {
        try request(
            port, "POST", "/api/v1/events", fields: ["Content-Type: application/json"] + fields,
            body: body)
    }
}

/// One stream, read as a client would.
final class StreamClient {
    private let socket: ClientSocket
    private var raw: [UInt8] = []
    private var parser = EventStreamParser()
    private var waiting: [EventStreamParser.Message] = []
    private var isChunked = false
    private(set) var isEnded = false
    private(set) var answer: HTTPAnswer
    /// All payload that has come.
    private(set) var payload: [UInt8] = []

    init(
        _ port: UInt16, _ query: String = "", lastEventID: String? = nil, fields: [String] = [],
        version: String = "1.1", isSlow: Bool = false, timeout: Int = 20
    ) throws {
        socket = try ClientSocket(
            port: port, timeout: timeout, receiveBuffer: isSlow ? 128 << 10 : nil)
        var head = "GET /api/v1/events/stream?\(query) HTTP/\(version)\r\nHost: localhost\r\n"
        for field in fields + (lastEventID.map { ["Last-Event-ID: \($0)"] } ?? []) {
            head += field + "\r\n"
        }
        try socket.send(head + "\r\n")
        var bytes: [UInt8] = []
        while bytes.firstRange(of: Array("\r\n\r\n".utf8)) == nil {
            guard let more = socket.receive(), !more.isEmpty else {
                throw TestFailure("no head: \(String(decoding: bytes, as: UTF8.self))")
            }
            bytes += more
        }
        let (answer, rest) = try HTTPAnswer.read(bytes)
        self.answer = answer
        isChunked = answer.fields["transfer-encoding"] == "chunked"
        if answer.status == 200 { consume(rest) }
    }

    var lastEventID: String { parser.lastEventID }
    var retryMilliseconds: Int? { parser.retryMilliseconds }
    var heartbeats: Int { parser.comments }

    private func consume(_ bytes: [UInt8]) {
        raw += bytes
        guard isChunked else {
            feed(raw)
            raw = []
            return
        }
        while let line = raw.firstRange(of: [13, 10]),
            let size = Int(String(decoding: raw[..<line.lowerBound], as: UTF8.self), radix: 16),
            raw.count >= line.upperBound + size + 2
        {
            feed(Array(raw[line.upperBound..<line.upperBound + size]))
            raw = Array(raw[(line.upperBound + size + 2)...])
            if size == 0 { isEnded = true }
        }
    }

    private func feed(_ bytes: [UInt8]) {
        payload += bytes
        waiting += parser.consume(bytes)
    }

    /// Reads once; `false` when the time is up.
    @discardableResult
    func readMore(milliseconds: Int? = nil, _ count: Int = 65_536) -> Bool {
        if let milliseconds { socket.setTimeout(milliseconds: milliseconds) }
        guard let bytes = socket.receive(count) else { return false }
        if bytes.isEmpty { isEnded = true } else { consume(bytes) }
        return true
    }

    /// Takes what has come already; `false` if nothing has.
    func readWaiting() -> Bool {
        guard let bytes = socket.receiveWaiting() else { return false }
        if bytes.isEmpty { isEnded = true } else { consume(bytes) }
        return !bytes.isEmpty
    }

    /// The next message of any kind.
    func next(within seconds: Double = 20) throws -> EventStreamParser.Message {
        let deadline = Date().addingTimeInterval(seconds)
        while waiting.isEmpty {
            let left = deadline.timeIntervalSinceNow
            guard left > 0 else { throw TestFailure("nothing came within \(seconds) s") }
            guard !isEnded else { throw TestFailure("the stream has ended") }
            readMore(milliseconds: max(1, Int(left * 1000)))
        }
        return waiting.removeFirst()
    }

    /// The next message of a type; others are skipped.
    func next(_ type: String, within seconds: Double = 20) throws -> EventStreamParser.Message {
        while true {
            let message = try next(within: seconds)
            if message.type == type { return message }
        }
    }

    /// The next events, messages about the stream left out.
    func events(_ count: Int, within seconds: Double = 30) throws -> [EventStreamParser.Message] {
        var events: [EventStreamParser.Message] = []
        while events.count < count {
            let message = try next(within: seconds)
            if !message.type.hasPrefix("stream.") { events.append(message) }
        }
        return events
    }

    /// What has come already, without waiting.
    func takeWaiting() -> [EventStreamParser.Message] {
        defer { waiting = [] }
        return waiting
    }
}

extension EventStreamParser.Message {
    /// The data as JSON.
    var json: [String: Any] {
        ((try? JSONSerialization.jsonObject(with: Data(data.utf8))) as? [String: Any]) ?? [:]
    }
}
