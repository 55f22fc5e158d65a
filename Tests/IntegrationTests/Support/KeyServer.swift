import Foundation
import Synchronization
import TestSupport

/// An issuer's server, on loopback, that can be as bad as one likes.
final class KeyServer: Sendable {
    /// How it answers.
    enum Manner: Sendable, CaseIterable {
        /// With the keys.
        case good
        /// It takes the connection and says nothing.
        case silent
        /// A byte now and then.
        case dripping
        /// A body without an end.
        case endless
        /// A head without an end.
        case endlessHead
        /// A length of gigabytes.
        case enormousLength
        /// A valid set of a megabyte.
        case enormousSet
        case status500
        case notJSON
        /// JSON, but no keys.
        case noKeys
        /// Keys, all of no use: a secret among them.
        case uselessKeys
        /// A redirect to itself.
        case redirectLoop
        /// A redirect to a file of the machine.
        case redirectToFile
        /// It ends in the middle.
        case truncated
        /// Nonsense instead of HTTP.
        case notHTTP
        /// It closes at once.
        case closing
    }

    private struct State {
        var manner = Manner.good
        var keys = ""
        var requests = 0
        var isOpen = true
    }

    private let state = Mutex(State())
    private let listener: Int32
    let port: UInt16

    /// Listens on a free port, or on one that was used before.
    init(keys: String, port: UInt16 = 0) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var on: Int32 = 1
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, 4)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(listener, address, length) == 0 && listen(listener, 64) == 0
                    && getsockname(listener, address, &length) == 0
            }
        }
        guard isBound else { throw TestFailure("no key server on \(port)") }
        let number = UInt16(bigEndian: address.sin_port)
        self.listener = listener
        self.port = number
        set(keys: keys)
        Thread.detachNewThread { [weak self] in
            while true {
                let descriptor = accept(listener, nil, nil)
                guard descriptor >= 0, let self else {
                    if descriptor >= 0 { close(descriptor) }
                    return
                }
                let (manner, keys) = state.withLock { state in
                    state.requests += 1
                    return (state.manner, state.keys)
                }
                Thread.detachNewThread {
                    Self.serve(descriptor, manner, keys, port: number)
                    close(descriptor)
                }
            }
        }
    }

    deinit {
        stop()
    }

    /// Answers nobody any more.
    func stop() {
        let wasOpen = state.withLock { state in
            defer { state.isOpen = false }
            return state.isOpen
        }
        guard wasOpen else { return }
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    var url: String { "http://127.0.0.1:\(port)/jwks" }
    var requests: Int { state.withLock { $0.requests } }

    func set(_ manner: Manner) { state.withLock { $0.manner = manner } }
    func set(keys: String) { state.withLock { $0.keys = keys } }

    private static func send(_ descriptor: Int32, _ text: String) -> Bool {
        text.utf8.withContiguousStorageIfAvailable {
            Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) == $0.count
        } ?? false
    }

    private static func answer(_ body: String, status: String = "200 OK", _ fields: String = "")
        -> String
    {
        "HTTP/1.1 \(status)\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n"
            + fields + "\r\n" + body
    }

    private static func serve(_ descriptor: Int32, _ manner: Manner, _ keys: String, port: UInt16) {
        var buffer = [UInt8](repeating: 0, count: 4096)
        if manner != .closing { _ = recv(descriptor, &buffer, buffer.count, 0) }
        switch manner {
        case .good: _ = send(descriptor, answer(keys))
        case .silent: usleep(20_000_000)
        case .dripping:
            _ = send(descriptor, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in 0..<200 where send(descriptor, " ") { usleep(100_000) }
        case .endless:
            _ = send(descriptor, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            let chunk = "10000\r\n" + String(repeating: " ", count: 0x10000) + "\r\n"
            while send(descriptor, chunk) {}
        case .endlessHead:
            _ = send(descriptor, "HTTP/1.1 200 OK\r\n")
            let fields = String(
                repeating: "X: " + String(repeating: "x", count: 1000) + "\r\n", count: 60)
            while send(descriptor, fields) {}
        case .enormousLength:
            _ = send(descriptor, "HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n{")
            usleep(20_000_000)
        case .enormousSet:
            _ = send(descriptor, answer(keys + String(repeating: " ", count: 1 << 20)))
        case .status500: _ = send(descriptor, answer(keys, status: "500 Internal Server Error"))
        case .notJSON: _ = send(descriptor, answer("<html>Sign in</html>"))
        case .noKeys: _ = send(descriptor, answer("{\"keys\":[]}"))
        case .uselessKeys:
            let secret = SigningKey(secret: Issuer.secret + "!")
            let modulus = SigningKey.encode([UInt8](repeating: 255, count: 128))
            let weak = ["kty": "RSA", "kid": "known", "n": modulus, "e": "AQAB"]
            _ = send(
                descriptor,
                answer(
                    SigningKey.set([
                        secret.jwk(private: true), weak,
                        ["kty": 5],
                    ])))
        case .redirectLoop:
            _ = send(
                descriptor,
                answer("", status: "302 Found", "Location: http://127.0.0.1:\(port)/\r\n"))
        case .redirectToFile:
            _ = send(
                descriptor, answer("", status: "302 Found", "Location: file:///etc/passwd\r\n"))
        case .truncated: _ = send(descriptor, String(answer(keys).dropLast(20)))
        case .notHTTP: _ = send(descriptor, "SSH-2.0-OpenSSH_9.2\r\n")
        case .closing: break
        }
    }
}
