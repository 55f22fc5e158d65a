import CLinux
import EventCore
import Glibc

/// Publishes events through the service at an even rate, on one connection, several in one request.
final class LoadPublisher {
    private let options: LoadOptions
    private(set) var descriptor: Int32 = -1
    private(set) var published = 0
    private var began: MonotonicTime?
    private var requested = 0
    private var isWaiting = false
    private var inFlight = 0
    private let payload: String

    init(_ options: LoadOptions) {
        self.options = options
        payload = String(repeating: "x", count: options.publishBytes)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = options.port.bigEndian
        inet_pton(AF_INET, options.host, &address.sin_addr)
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        _ = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    /// Sends what is due, unless an answer is still to come.
    func publish(now: MonotonicTime) {
        let start = began ?? now
        began = start
        let elapsed = Double((now - start).wholeNanoseconds) / 1e9
        let due = min(Int(elapsed * Double(options.publishRate)) - requested, 500)
        guard due > 0, !isWaiting else { return }
        let items = (0..<due).map { number in
            "{\"type\":\"load.tick\",\"audience\":[\"\(options.publishAudience)\"],"
                + "\"key\":\"\((requested + number) % 1000)\",\"data\":\"\(payload)\"}"
        }
        let body = "[" + items.joined(separator: ",") + "]"
        var head =
            "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        if let token = options.tokens.first { head += "Authorization: Bearer \(token)\r\n" }
        let bytes = Array((head + "Content-Length: \(body.utf8.count)\r\n\r\n" + body).utf8)
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                send(
                    descriptor, $0.baseAddress?.advanced(by: sent), bytes.count - sent,
                    Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            sent += count
        }
        requested += due
        inFlight = due
        isWaiting = true
    }

    /// The answer has come, or a part of it; its status is all that counts.
    func readable() {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let count = recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        guard count > 12, isWaiting else { return }
        if bytes[9..<12].elementsEqual("202".utf8) { published += inFlight }
        isWaiting = false
    }
}
