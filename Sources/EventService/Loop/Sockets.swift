import CLinux
import EventCore
import Glibc

/// What is done with TCP sockets.
enum Sockets {
    /// Opens a non-blocking listening socket.
    static func listen(on address: ListenAddress) throws -> FileDescriptor {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV
        var found: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(address.host, String(address.port), &hints, &found)
        guard code == 0, let info = found else {
            throw ConfigurationError("\(address): \(String(cString: gai_strerror(code)))")
        }
        defer { freeaddrinfo(found) }
        let number = socket(
            info.pointee.ai_family,
            Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard number >= 0 else { throw SystemError("socket") }
        let descriptor = FileDescriptor(owning: number)
        setOption(number, SOL_SOCKET, SO_REUSEADDR, 1)
        guard bind(number, info.pointee.ai_addr, info.pointee.ai_addrlen) == 0 else {
            throw ConfigurationError(
                "\(SystemError("listen on \(address)")); stop what listens there, or set listen or"
                    + " ops_listen to another address (port 0 is a free one)")
        }
        guard Glibc.listen(number, 4096) == 0 else { throw SystemError("listen on \(address)") }
        return descriptor
    }

    /// What a socket listens on, with the port that the system chose where it was asked to.
    static func address(_ wanted: ListenAddress, _ descriptor: Int32) -> String {
        ListenAddress(host: wanted.host, port: port(of: descriptor)).description
    }

    private static func port(of descriptor: Int32) -> UInt16 {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                guard getsockname(descriptor, address, &length) == 0 else { return 0 }
                return address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                    // The port stands at the same place in the IPv6 form.
                    UInt16(bigEndian: $0.pointee.sin_port)
                }
            }
        }
    }

    /// What accepting brought.
    enum Accepted: ~Copyable {
        case connection(FileDescriptor, address: String)
        /// Nobody waits, or the one who did has gone.
        case nobody
        /// No descriptor or no memory is left for it.
        case exhausted
    }

    /// Takes one connection that waits on a listening socket.
    static func accept(on listener: Int32) -> Accepted {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let (number, address) = withUnsafeMutablePointer(to: &storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                let number = accept4(
                    listener, address, &length,
                    Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue))
                return (number, number < 0 ? "" : text(of: address, length))
            }
        }
        guard number >= 0 else {
            switch errno {
            case EMFILE, ENFILE, ENOBUFS, ENOMEM: return .exhausted
            default: return .nobody
            }
        }
        setOption(number, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        return .connection(FileDescriptor(owning: number), address: address)
    }

    private static func text(of address: UnsafePointer<sockaddr>, _ length: socklen_t) -> String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(NI_MAXHOST)) { buffer in
            guard
                getnameinfo(
                    address, length, buffer.baseAddress, socklen_t(buffer.count), nil, 0,
                    NI_NUMERICHOST) == 0, let start = buffer.baseAddress
            else { return "" }
            return String(cString: start)
        }
    }

    @discardableResult
    static func setOption(
        _ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32
    ) -> Bool {
        var value = value
        return setsockopt(
            descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size)) == 0
    }
}
