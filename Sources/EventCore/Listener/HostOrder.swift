/// The servers that a connection string names, in the order in which they are tried.
///
/// libpq tries them as they stand in the string until one takes writes. That is not enough: a server that
/// accepts connections and does not answer would be waited for again and again, and a primary of old that
/// comes back would be preferred to the one in use. So the one that served last is tried first, and the
/// one behind that which was waited for in vain.
public struct HostOrder: Sendable, Equatable {
    private struct Server: Sendable, Equatable {
        let host: String
        let address: String
        let port: String
    }

    private let servers: [Server]
    private let hasAddresses: Bool
    private var first = 0

    /// Reads the parameters `host`, `hostaddr` and `port` of libpq, each perhaps a list with commas; `nil`
    /// if they name fewer than two servers, or do not fit together.
    public init?(hosts: String, addresses: String, ports: String) {
        func list(_ text: String) -> [String] {
            text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        }
        let (hosts, addresses, ports) = (list(hosts), list(addresses), list(ports))
        let count = max(hosts.count, addresses.count)
        // An empty text is a list of one empty element.
        guard count > 1, [1, count].contains(ports.count),
            hosts.count == count || hosts == [""], addresses.count == count || addresses == [""]
        else { return nil }
        hasAddresses = addresses.count == count
        servers = (0..<count).map { index in
            Server(
                host: hosts.count == count ? hosts[index] : "",
                address: addresses.count == count ? addresses[index] : "",
                port: ports.count == count ? ports[index] : ports[0])
        }
    }

    /// The parameters that have the servers tried in this order.
    public var parameters: [(name: String, value: String)] {
        let ordered = servers[first...] + servers[..<first]
        func joined(_ field: (Server) -> String) -> String {
            ordered.map(field).joined(separator: ",")
        }
        return [("host", joined(\.host)), ("port", joined(\.port))]
            + (hasAddresses ? [("hostaddr", joined(\.address))] : [])
    }

    /// A server has served a connection, and is tried first from now on.
    public mutating func served(host: String, port: String) {
        first = index(host, port) ?? first
    }

    /// A server was waited for in vain: the one behind it is tried first from now on.
    public mutating func hung(host: String, port: String) {
        first = index(host, port).map { ($0 + 1) % servers.count } ?? first
    }

    /// A server by what libpq calls it: its host, or where there is none its address.
    private func index(_ host: String, _ port: String) -> Int? {
        servers.firstIndex { ($0.host.isEmpty ? $0.address : $0.host) == host && $0.port == port }
    }
}
