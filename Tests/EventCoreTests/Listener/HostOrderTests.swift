import EventCore
import Testing

@Suite struct `Order of hosts` {
    private static func parameters(_ order: HostOrder) -> [String] {
        order.parameters.map { "\($0.name)=\($0.value)" }
    }

    @Test(arguments: [
        ("a,b,c", "", "5432", ["host=a,b,c", "port=5432,5432,5432"]),
        ("a,b", "", "1,2", ["host=a,b", "port=1,2"]),
        ("a,b", "10.0.0.1,", "1,2", ["host=a,b", "port=1,2", "hostaddr=10.0.0.1,"]),
        ("", "10.0.0.1,10.0.0.2", "1", ["host=,", "port=1,1", "hostaddr=10.0.0.1,10.0.0.2"]),
        (",b", "", "1", ["host=,b", "port=1,1"]),
    ])
    func `at first it is that of the string`(
        hosts: String, addresses: String, ports: String, expected: [String]
    ) throws {
        let order = try #require(HostOrder(hosts: hosts, addresses: addresses, ports: ports))
        #expect(Self.parameters(order) == expected)
    }

    @Test(arguments: [
        ("", "", ""), ("a", "", "1"), ("a", "10.0.0.1", "1"), ("a", "", "1,2"),
        ("a,b,c", "", "1,2"), ("a,b", "10.0.0.1", "1"), ("a,b", "10.0.0.1,10.0.0.2,10.0.0.3", "1"),
        ("/run/postgresql", "", "5432"),
    ])
    func `one server, or lists that do not fit, are left to libpq`(
        hosts: String, addresses: String, ports: String
    ) {
        #expect(HostOrder(hosts: hosts, addresses: addresses, ports: ports) == nil)
    }

    @Test func `the server that served last is tried first`() throws {
        var order = try #require(HostOrder(hosts: "a,b,c", addresses: "", ports: "1"))
        order.served(host: "b", port: "1")
        #expect(Self.parameters(order)[0] == "host=b,c,a")
        order.served(host: "a", port: "1")
        #expect(Self.parameters(order)[0] == "host=a,b,c")
        for (host, port) in [("d", "1"), ("c", "2"), ("", ""), ("a,b", "1")] {
            order.served(host: host, port: port)
            #expect(Self.parameters(order)[0] == "host=a,b,c", "\(host):\(port) is none of them")
        }
    }

    @Test func `behind a server that hangs the next is tried first`() throws {
        var order = try #require(HostOrder(hosts: "h,h", addresses: "", ports: "1,2"))
        order.hung(host: "h", port: "1")
        #expect(Self.parameters(order) == ["host=h,h", "port=2,1"])
        order.hung(host: "h", port: "2")
        #expect(Self.parameters(order) == ["host=h,h", "port=1,2"])
        order.hung(host: "h", port: "3")
        #expect(Self.parameters(order) == ["host=h,h", "port=1,2"])
    }

    @Test func `without a host the address names a server`() throws {
        var order = try #require(HostOrder(hosts: "", addresses: "::1,::2", ports: "1"))
        order.served(host: "::2", port: "1")
        #expect(Self.parameters(order)[2] == "hostaddr=::2,::1")
    }
}
