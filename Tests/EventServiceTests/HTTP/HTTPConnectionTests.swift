import EventCore
import Glibc
import TestSupport
import Testing

@testable import EventService

/// A connection on a loop that is turned by hand: the far end is the client.
private final class ConnectionBench: HTTPRequestHandler {
    let loop: EventLoop
    let pair = SocketPair()
    var handled: [HTTPExchange] = []
    var onRequest: (HTTPExchange) -> Void = {
        $0.respond(HTTPResponse(200, body: Array("ok".utf8)))
    }
    private(set) var connection: HTTPConnection?
    private(set) var isClosed = false

    init(_ change: (inout Configuration) -> Void = { _ in }, isPastCap: Bool = false) throws {
        loop = try EventLoop()
        var configuration = Configuration()
        change(&configuration)
        var number = 0
        let context = HTTPConnection.Context(
            loop: loop, configuration: configuration, handler: self,
            log: Log(level: .error, format: .text),
            nextID: {
                number += 1; return "id\(number)"
            }, onClose: { [unowned self] _ in isClosed = true })
        // The connection closes its descriptor, so it gets one of its own.
        let connection = HTTPConnection(
            FileDescriptor(owning: dup(pair.near)), address: "test", context: context,
            isPastCap: isPastCap)
        #expect(connection.start())
        self.connection = connection
    }

    func commonFields(origin: String?) -> [HTTPField] {
        origin.map { [HTTPField(name: "Access-Control-Allow-Origin", value: $0)] } ?? []
    }

    func handle(_ exchange: HTTPExchange) {
        handled.append(exchange)
        onRequest(exchange)
    }

    func send(_ text: String) {
        Glibc.send(pair.far, text, text.utf8.count, Int32(MSG_NOSIGNAL))
    }

    /// Turns the loop for some milliseconds, and returns what the client received meanwhile.
    func turn(_ milliseconds: Int = 20) -> String {
        let timer = LoopTimer(loop) { [loop] _ in loop.stop() }
        timer.set(at: MonotonicClock.now() + .milliseconds(milliseconds))
        loop.run()
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        let count = recv(pair.far, &buffer, buffer.count, Int32(MSG_DONTWAIT))
        return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
    }

    /// Whether the client has been told that nothing more comes.
    var clientSeesEnd: Bool {
        var byte: UInt8 = 0
        return recv(pair.far, &byte, 1, Int32(MSG_DONTWAIT)) == 0
    }
}

@Suite struct `HTTP connection` {
    private static let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

    @Test func `requests are answered one after the other on one connection`() throws {
        let bench = try ConnectionBench()
        bench.send(Self.get)
        #expect(bench.turn().hasPrefix("HTTP/1.1 200 OK\r\n"))
        bench.send(Self.get + Self.get)
        #expect(bench.turn().components("HTTP/1.1 200 OK") == 2)
        #expect(!bench.isClosed)
        bench.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + Self.get)
        let answer = bench.turn()
        #expect(answer.components("HTTP/1.1 200 OK") == 1, "nothing follows a close")
        #expect(answer.contains("\r\nConnection: close\r\n"))
        #expect(bench.clientSeesEnd)
        #expect(bench.handled.count == 4)
    }

    @Test func `what is pipelined waits for the answer before it`() throws {
        let bench = try ConnectionBench()
        bench.onRequest = { _ in }
        bench.send(Self.get + Self.get)
        #expect(bench.turn() == "")
        #expect(bench.handled.count == 1)
        bench.handled[0].respond(HTTPResponse(200))
        #expect(bench.turn().components("HTTP/1.1 200 OK") == 1)
        #expect(bench.handled.count == 2)
        bench.handled[0].respond(HTTPResponse(200))
        #expect(bench.turn() == "", "an answer counts once")
        bench.handled[1].respond(HTTPResponse(200))
        #expect(bench.turn().components("HTTP/1.1 200 OK") == 1)
    }

    @Test func `HEAD gets the head of GET`() throws {
        let bench = try ConnectionBench()
        bench.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        let answer = bench.turn()
        #expect(answer.contains("\r\nContent-Length: 2\r\n"))
        #expect(answer.hasSuffix("\r\n\r\n"))
    }

    @Test(arguments: [
        ("\u{16}\u{3}\u{1}", 400), ("GET / HTTP/2.0\r\n", 505), ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET /" + String(repeating: "x", count: 20_000), 431),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n", 413),
    ])
    func `what cannot be read is answered at once, and the connection ends`(
        input: String, status: Int
    ) throws {
        let bench = try ConnectionBench()
        bench.send(input)
        let answer = bench.turn()
        #expect(answer.hasPrefix("HTTP/1.1 \(status) "))
        #expect(answer.contains("application/problem+json"))
        #expect(answer.contains("\"request_id\":\"id1\""))
        #expect(bench.clientSeesEnd)
        #expect(bench.handled.isEmpty)
        bench.send("more that nobody reads")
        _ = bench.turn()
        shutdown(bench.pair.far, Int32(SHUT_WR))
        _ = bench.turn()
        #expect(bench.isClosed)
        #expect(bench.loop.registrationCount == 0)
        #expect(bench.loop.timerCount == 0)
    }

    @Test func `a head that does not come in time is answered with 408`() throws {
        let bench = try ConnectionBench { $0.headerTimeout = .milliseconds(50) }
        bench.send("GET / HTTP/1.1\r\nHo")
        #expect(bench.turn(20) == "")
        bench.send("st:")
        #expect(bench.turn(100).hasPrefix("HTTP/1.1 408 "), "a byte now and then gains no time")
    }

    @Test func `a connection that says nothing is closed after a while`() throws {
        let bench = try ConnectionBench { $0.idleTimeout = .milliseconds(50) }
        _ = bench.turn(20)
        #expect(!bench.isClosed)
        _ = bench.turn(100)
        #expect(bench.isClosed)
        #expect(bench.loop.timerCount == 0)
    }

    @Test func `a client that has ended its side still gets its answer`() throws {
        let bench = try ConnectionBench()
        bench.onRequest = { _ in }
        bench.send(Self.get)
        shutdown(bench.pair.far, Int32(SHUT_WR))
        _ = bench.turn()
        #expect(!bench.isClosed)
        bench.handled[0].respond(HTTPResponse(200))
        #expect(bench.turn().hasPrefix("HTTP/1.1 200 OK"))
        _ = bench.turn()
        #expect(bench.isClosed)
    }

    @Test func `an answer to a client that has gone goes nowhere`() throws {
        let bench = try ConnectionBench()
        bench.onRequest = { _ in }
        bench.send(Self.get)
        _ = bench.turn()
        shutdown(bench.pair.far, Int32(SHUT_RDWR))
        _ = bench.turn()
        bench.handled[0].respond(HTTPResponse(200, body: Array(repeating: 0, count: 1 << 20)))
        _ = bench.turn()
        #expect(bench.isClosed)
        #expect(bench.loop.registrationCount == 0)
    }

    @Test func `past the cap one request is answered, and the connection ends`() throws {
        let bench = try ConnectionBench(isPastCap: true)
        bench.send(Self.get + Self.get)
        #expect(bench.turn().components("HTTP/1.1 200 OK") == 1)
        #expect(bench.handled.count == 1)
        #expect(bench.handled[0].isPastCap)
        #expect(bench.clientSeesEnd)
    }

    @Test func `a large answer leaves as fast as the client takes it`() throws {
        let bench = try ConnectionBench()
        let body = [UInt8](repeating: UInt8(ascii: "x"), count: 3 << 20)
        bench.onRequest = { $0.respond(HTTPResponse(200, body: body)) }
        bench.send(Self.get)
        var received = 0
        for _ in 0..<200 where received < body.count { received += bench.turn(2).utf8.count }
        #expect(received > body.count)
        bench.onRequest = { $0.respond(HTTPResponse(200)) }
        bench.send(Self.get)
        #expect(bench.turn().hasPrefix("HTTP/1.1 200 OK"))
    }

    @Test func `a client that waits for 100 gets it before it sends the body`() throws {
        let bench = try ConnectionBench()
        bench.send(
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        #expect(bench.turn() == "HTTP/1.1 100 Continue\r\n\r\n")
        bench.send("hi")
        #expect(bench.turn().hasPrefix("HTTP/1.1 200 OK"))
        #expect(bench.handled.first?.request.body == Array("hi".utf8))
    }
}

extension String {
    /// How often a text occurs.
    fileprivate func components(_ text: String) -> Int {
        ranges(of: text).count
    }
}
