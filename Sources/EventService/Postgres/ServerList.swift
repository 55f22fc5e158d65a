import CLibPQ
import EventCore

/// The servers that `database_url` names, as the connections of one thread have come to know them.
final class ServerList {
    /// A libpq connection string or URI; empty: libpq's own defaults.
    let url: String
    /// `nil` while nothing was opened, or if there is but one server.
    private var order: HostOrder?
    private var isKnown = false

    init(url: String) {
        self.url = url
    }

    /// Begins to open a connection.
    func open(_ open: PQConnection.Open) throws(DatabaseError) -> OpaquePointer {
        let handle = try PQConnection.open(
            url: url, overrides: order?.parameters.map { ($0.name, $0.value) } ?? [], open)
        // Only a connection knows them all: they may also come from the environment, or a service file.
        if !isKnown {
            isKnown = true
            order = Self.order(of: handle)
        }
        return handle
    }

    /// A server has served a connection.
    func served(_ server: PQConnection.Server) {
        order?.served(host: server.host, port: server.port)
    }

    /// A server was waited for in vain.
    func hung(_ server: PQConnection.Server) {
        order?.hung(host: server.host, port: server.port)
    }

    private static func order(of handle: OpaquePointer) -> HostOrder? {
        guard let options = PQconninfo(handle) else { return nil }
        defer { PQconninfoFree(options) }
        var values: [String: String] = [:]
        var option = options
        while let keyword = option.pointee.keyword {
            values[String(cString: keyword)] = option.pointee.val.map { String(cString: $0) }
            option += 1
        }
        return HostOrder(
            hosts: values["host"] ?? "", addresses: values["hostaddr"] ?? "",
            ports: values["port"] ?? "")
    }
}
