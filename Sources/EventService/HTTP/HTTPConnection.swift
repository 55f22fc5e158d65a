import EventCore
import Glibc

/// One connection of a client: reads requests, one after the other, and sends what answers them.
///
/// ```
///  reading ──request──▶ handling ──response──▶ reading …          (keep-alive)
///                          │    └──response──▶ lingering ─▶ closed (the rest of what the peer sends
///                          └──stream──▶ streaming ─▶ closed         is read and dropped, so that the
///                                                                   answer is not lost to a reset)
/// ```
/// While a request is handled, nothing more is read: what a client sends ahead waits in the kernel.
final class HTTPConnection: ReadinessHandler, TimerHandler, StreamSink {
    private enum State {
        case reading
        case handling(HTTPExchange)
        case streaming(any HTTPStreamBody)
        case lingering
        case closed
    }

    /// What the connections of one loop share.
    final class Context {
        let loop: EventLoop
        let limits: HTTPRequestParser.Limits
        let headerTimeout: Duration
        let idleTimeout: Duration
        unowned let handler: any HTTPRequestHandler
        let log: Log
        /// Names requests and connections.
        let nextID: () -> String
        /// Called once for each connection, when it is closed.
        let onClose: (HTTPConnection) -> Void
        /// How many requests have not been answered yet.
        fileprivate(set) var underWay = 0
        /// The requests that were answered.
        var counts = RequestCounts()
        /// How many bytes of bodies are held, of requests that are read or handled.
        fileprivate var bodyBytes = 0

        /// How many there may be; past it a large body is refused, so that who sends many at once, and
        /// none to its end, cannot take all memory.
        fileprivate static let maximumBodyBytes = 32 << 20
        /// Bodies that count as large.
        fileprivate static let largeBody = 16 << 10

        private var dateSecond: Int64 = 0
        private var dateText = ""

        init(
            loop: EventLoop, configuration: Configuration, handler: any HTTPRequestHandler,
            log: Log, nextID: @escaping () -> String, onClose: @escaping (HTTPConnection) -> Void
        ) {
            self.loop = loop
            limits = HTTPRequestParser.Limits(
                headBytes: configuration.maxHeadBytes, bodyBytes: configuration.maxBodyBytes)
            headerTimeout = configuration.headerTimeout
            idleTimeout = configuration.idleTimeout
            self.handler = handler
            self.log = log
            self.nextID = nextID
            self.onClose = onClose
        }

        /// Counts an answer and logs it: by its route, for targets may hold what is secret.
        fileprivate func answered(_ status: Int, _ exchange: HTTPExchange) {
            counts.answer(exchange.routeName, status)
            log.debug(
                "http: answered",
                [
                    "request": exchange.requestID, "address": exchange.address,
                    "method": exchange.request.method, "route": exchange.routeName,
                    "status": String(status),
                ])
        }

        /// The `Date` field of now, written once a second.
        fileprivate var date: String {
            let now = MonotonicClock.date()
            if now.microseconds / 1_000_000 != dateSecond {
                dateSecond = now.microseconds / 1_000_000
                dateText = now.httpDate
            }
            return dateText
        }
    }

    /// What is only needed while requests are read; a stream does without it.
    private final class Reading {
        var parser: HTTPRequestParser
        /// Since when the request that is being read has been coming.
        var began: MonotonicTime?
        /// Whether requests are being handled further up on the stack.
        var isUnderWay = false
        /// How many bytes of a body are held.
        var bodyBytes = 0

        init(limits: HTTPRequestParser.Limits) {
            parser = HTTPRequestParser(limits: limits)
        }
    }

    // What is touched for every event stands first, side by side.

    let descriptor: Int32
    let isPastCap: Bool
    /// Whether the peer has ended its side.
    private(set) var peerHasEnded = false
    private var interest: Readiness = [.readable, .hangUp]
    private var state = State.reading
    private var output = OutputQueue()
    let context: Context
    var timerIndex = -1
    private var reading: Reading?
    let address: String

    /// Takes over a connected socket.
    init(
        _ descriptor: consuming FileDescriptor, address: String, context: Context,
        isPastCap: Bool = false
    ) {
        self.descriptor = descriptor.release()
        self.address = address
        self.context = context
        self.isPastCap = isPastCap
        reading = Reading(limits: context.limits)
    }

    /// Begins to read; `false` if the loop cannot take the connection.
    func start() -> Bool {
        do {
            try context.loop.register(descriptor, for: interest, handler: self)
        } catch {
            state = .closed
            Glibc.close(descriptor)
            return false
        }
        updateTimer()
        return true
    }

    /// How many bytes wait to be sent.
    var unsentBytes: Int { output.byteCount }

    /// The stream that has taken the connection over, if one has.
    var streamConnection: StreamConnection? {
        if case .streaming(let body) = state { body as? StreamConnection } else { nil }
    }

    // MARK: Reading

    func ready(_ readiness: Readiness) {
        if readiness.contains(.writable) { writable() }
        switch state {
        case .reading, .lingering:
            if !readiness.isDisjoint(with: .broken) {
                close()
            } else if !readiness.isDisjoint(with: [.readable, .hangUp]), output.isEmpty {
                receive()
            }
        case .handling:
            if !readiness.isDisjoint(with: .broken) {
                close()
            } else {
                // A peer that has ended its side may still want the answer.
                let endsNow = !peerHasEnded && readiness.contains(.hangUp)
                peerHasEnded = peerHasEnded || endsNow
                updateInterest()
                if endsNow, case .handling(let exchange) = state { exchange.onPeerEnded?() }
            }
        case .streaming:
            if !readiness.isDisjoint(with: [.hangUp, .broken]) {
                close()
            } else if readiness.contains(.readable) {
                receive()
            }
        case .closed:
            break
        }
    }

    private func writable() {
        guard let sent = flush(), sent > 0 else { return }
        switch state {
        case .reading where !output.isEmpty, .lingering where !output.isEmpty:
            // A peer that takes an answer slowly has until it takes nothing more for idle_timeout.
            updateTimer()
        case .streaming(let body):
            body.tookBytes()
        case .reading, .handling, .lingering, .closed:
            break
        }
    }

    private func receive() {
        withUnsafeTemporaryAllocation(byteCount: 16_384, alignment: 1) { buffer in
            let count = recv(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
            if count > 0 {
                received(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            } else if count == 0 || (errno != EAGAIN && errno != EINTR) {
                close()
            }
        }
    }

    private func received(_ bytes: UnsafeRawBufferPointer) {
        // Streaming or lingering: what a client says now is of no interest.
        guard case .reading = state, let reading else { return }
        reading.parser.append(bytes)
        readRequests()
    }

    /// Handles what has been read, one request after the other, as long as the answers go out.
    private func readRequests() {
        guard let reading, !reading.isUnderWay else { return }
        reading.isUnderWay = true
        while case .reading = state, output.isEmpty {
            do {
                guard let request = try reading.parser.next() else { break }
                reading.began = nil
                handle(request)
            } catch {
                fail(Problem(error))
            }
        }
        reading.isUnderWay = false
        guard case .reading = state else { return }
        if reading.parser.takeContinue() {
            output.append(Array("HTTP/1.1 100 Continue\r\n\r\n".utf8))
            flush()
        }
        reading.began = reading.parser.isInRequest ? reading.began ?? context.loop.now : nil
        holdBody(of: reading.parser.bodyCount)
        if context.bodyBytes > Context.maximumBodyBytes, reading.bodyBytes > Context.largeBody {
            return fail(
                .unavailable(
                    "overloaded", "More large bodies come at once than the service can hold.",
                    retryAfter: Int.random(in: 1...5)))
        }
        updateInterest()
        updateTimer()
    }

    private func holdBody(of count: Int) {
        guard let reading else { return }
        context.bodyBytes += count - reading.bodyBytes
        reading.bodyBytes = count
    }

    private func handle(_ request: HTTPRequest) {
        let exchange = HTTPExchange(self, request, requestID: request.requestID ?? context.nextID())
        state = .handling(exchange)
        holdBody(of: request.body.count)
        context.underWay += 1
        context.handler.handle(exchange)
        if case .handling = state {
            updateInterest()
            updateTimer()
        }
    }

    // MARK: Answering

    /// Sends a whole answer, unless the exchange is over.
    func respond(_ response: HTTPResponse, to exchange: HTTPExchange) {
        guard case .handling(let current) = state, current === exchange else { return }
        context.answered(response.status, exchange)
        let keepsAlive = exchange.request.keepsAlive && !isPastCap && !peerHasEnded
        var bytes = response.with(exchange.commonFields).head(
            minorVersion: exchange.request.minorVersion, requestID: exchange.requestID,
            date: context.date, length: response.isStream ? nil : response.body.count,
            keepsAlive: keepsAlive)
        if exchange.request.method != "HEAD" { bytes.append(contentsOf: response.body) }
        context.underWay -= 1
        finish(bytes, keepsAlive: keepsAlive)
    }

    /// Answers what could not be read as a request, and ends the connection.
    private func fail(_ problem: Problem) {
        let requestID = context.nextID()
        context.counts.refuse(problem)
        context.counts.answer("none", problem.status)
        context.log.debug(
            "http: not a request",
            [
                "request": requestID, "address": address, "status": String(problem.status),
                "problem": problem.kind,
            ])
        let response = HTTPResponse.problem(problem, requestID: requestID)
            .with(context.handler.commonFields(origin: reading?.parser.origin))
        let head = response.head(
            minorVersion: 1, requestID: requestID, date: context.date,
            length: response.body.count, keepsAlive: false)
        finish(head + response.body, keepsAlive: false)
    }

    private func finish(_ bytes: [UInt8], keepsAlive: Bool) {
        state = keepsAlive ? .reading : .lingering
        holdBody(of: 0)
        if !keepsAlive { reading = nil }
        output.append(bytes)
        updateInterest()
        updateTimer()
        flush()
    }

    /// Sends the head of an answer that goes on for ever, and hands the connection over.
    func stream(
        _ response: HTTPResponse, to exchange: HTTPExchange, body: any HTTPStreamBody
    ) {
        guard case .handling(let current) = state, current === exchange else { return }
        let head = response.with(exchange.commonFields).head(
            minorVersion: exchange.request.minorVersion, requestID: exchange.requestID,
            date: context.date, length: nil, keepsAlive: exchange.request.minorVersion >= 1)
        context.answered(response.status, exchange)
        context.underWay -= 1
        state = .streaming(body)
        holdBody(of: 0)
        reading = nil
        output.append(head)
        updateInterest()
    }

    // MARK: Sending

    /// Queues a stretch of shared bytes; `flush()` sends it.
    func enqueue(_ bytes: SharedBytes, _ range: Range<Int>) {
        output.append(bytes, range)
    }

    /// Queues bytes that are for this connection alone.
    func enqueue(_ bytes: [UInt8]) {
        output.append(bytes)
    }

    /// Queues a stretch of shared bytes and sends it: at once where nothing waits, which is what happens
    /// to most events on most streams, without a place in the queue.
    func send(_ bytes: SharedBytes, _ range: Range<Int>) -> Int? {
        guard output.isEmpty else {
            output.append(bytes, range)
            return flush()
        }
        if case .closed = state { return nil }
        let count = OutputQueue.send(bytes, range, to: descriptor)
        guard count >= 0 else {
            close()
            return nil
        }
        if count < range.count {
            output.append(bytes, range.lowerBound + count..<range.upperBound)
            updateInterest()
        }
        return count
    }

    /// Sends what is queued, as far as the socket takes it; returns how many bytes it took, `nil` once
    /// the connection is gone. When the socket takes more, a stream is told.
    @discardableResult
    func flush() -> Int? {
        if case .closed = state { return nil }
        let before = output.byteCount
        guard before > 0 else { return 0 }
        switch output.send(to: descriptor) {
        case .all:
            sentAll()
            return before
        case .some(let count):
            updateInterest()
            return count
        case .failed:
            close()
            return nil
        }
    }

    private func sentAll() {
        updateInterest()
        switch state {
        case .lingering:
            shutdown(descriptor, Int32(SHUT_WR))
            if peerHasEnded { close() }
            updateTimer()
        case .reading:
            readRequests()
        case .handling, .streaming, .closed:
            break
        }
    }

    /// Ends a stream once what is queued has been sent, or at once if it cannot be.
    func endStream(isChunked: Bool) {
        guard case .streaming(let body) = state else { return }
        if isChunked { output.append(Array("0\r\n\r\n".utf8)) }
        state = .lingering
        body.closed()
        flush()
        updateInterest()
        updateTimer()
    }

    /// Closes the connection at once.
    func close() {
        let last = state
        if case .closed = last { return }
        state = .closed
        holdBody(of: 0)
        context.loop.cancelTimer(self)
        context.loop.deregister(descriptor)
        Glibc.close(descriptor)
        switch last {
        case .streaming(let body): body.closed()
        case .handling(let exchange):
            context.underWay -= 1
            exchange.onPeerEnded?()
        case .reading, .lingering, .closed: break
        }
        context.onClose(self)
    }

    private func updateInterest() {
        var wanted: Readiness = []
        switch state {
        case .reading: wanted = output.isEmpty ? [.readable, .hangUp] : []
        case .handling: wanted = peerHasEnded ? [] : .hangUp
        case .streaming: wanted = [.readable, .hangUp]
        case .lingering: wanted = output.isEmpty ? [.readable, .hangUp] : []
        case .closed: return
        }
        if !output.isEmpty { wanted.insert(.writable) }
        guard wanted != interest else { return }
        interest = wanted
        context.loop.update(descriptor, to: wanted)
    }

    // MARK: Time

    /// Sets the timer anew; a stream calls it when its deadline has moved forward.
    func updateTimer() {
        let now = context.loop.now
        switch state {
        case .reading:
            let deadline = reading?.began.map { $0 + timeoutOfRequest }
            context.loop.setTimer(self, at: deadline ?? now + context.idleTimeout)
        case .handling:
            context.loop.cancelTimer(self)
        case .streaming(let body):
            context.loop.setTimer(self, at: body.nextDeadline(now: now))
        case .lingering:
            context.loop.setTimer(
                self, at: now + (output.isEmpty ? .seconds(2) : context.idleTimeout))
        case .closed:
            break
        }
    }

    /// A head has `header_timeout`, and its body as long as a connection may stay idle.
    private var timeoutOfRequest: Duration {
        reading?.parser.isInBody == true
            ? max(context.idleTimeout, context.headerTimeout) : context.headerTimeout
    }

    func timerFired(now: MonotonicTime) {
        switch state {
        case .reading where reading?.began != nil && output.isEmpty:
            fail(Problem(408, "request-timeout", "The request did not come in time."))
        case .streaming(let body):
            body.timeReached(now: now)
            if case .streaming = state { updateTimer() }
        case .reading, .handling, .lingering:
            close()
        case .closed:
            break
        }
    }
}
