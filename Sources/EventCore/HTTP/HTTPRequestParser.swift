/// Reads the requests of one connection, byte for byte as they come.
///
/// Strict where leniency lets two readers of one connection disagree about where a request ends
/// (RFC 9112): every line ends in CRLF, lines are not folded, a length is said once and in one way, and
/// nothing but `chunked` is a transfer coding.
/// ```
/// start ─▶ method ─▶ target ─▶ version ─▶ field … ─▶ (end of head) ─┬─▶ body(length) ──────▶ request
///                                            ▲  │                   └─▶ chunk … trailer ──▶ request
///                                            └──┘
/// ```
/// A byte that cannot stand where it does is an error at once, so that a peer that speaks another
/// protocol is answered rather than waited for.
public struct HTTPRequestParser: Sendable {
    /// The settings `max_head_bytes` and `max_body_bytes`.
    public struct Limits: Sendable {
        /// Request line and fields, and again the trailer of a chunked body.
        public var headBytes: Int
        /// The body.
        public var bodyBytes: Int

        /// Creates limits.
        public init(headBytes: Int, bodyBytes: Int) {
            self.headBytes = headBytes
            self.bodyBytes = bodyBytes
        }
    }

    private enum State: Sendable {
        case start
        case startLineFeed
        case method
        case target
        case version
        case versionLineFeed
        case fieldStart
        case fieldName
        case fieldValue
        case fieldLineFeed
        case headLineFeed
        case body(remaining: Int)
        case chunkSize(value: Int, digits: Int)
        case chunkExtension(value: Int)
        case chunkSizeLineFeed(value: Int)
        case chunkData(remaining: Int)
        case chunkDataEnd
        case chunkDataLineFeed
        case failed(HTTPParseError)
    }

    /// How the body is framed.
    private enum Framing { case length(Int), chunked }

    private let limits: Limits
    private var state = State.start
    /// Bytes that came and are not read yet: the rest of a pipelined request.
    private var input: ArraySlice<UInt8> = []
    /// Of the head or trailer that is being read.
    private var headBytes = 0
    private var chunkLineBytes = 0
    private var inTrailer = false
    private var element: [UInt8] = []
    private var method = ""
    private var target: [UInt8] = []
    private var minorVersion = 1
    private var fieldName = ""
    private var fields: [HTTPField] = []
    private var body: [UInt8] = []
    private var continueIsDue = false

    /// Creates a parser at the beginning of a connection.
    public init(limits: Limits) {
        self.limits = limits
    }

    /// Whether a request has begun and not ended: what a header timeout is for.
    public var isInRequest: Bool {
        if case .start = state { !input.isEmpty } else { true }
    }

    /// Whether the head of a request was read and its body has not ended.
    public var isInBody: Bool {
        switch state {
        case .body, .chunkSize, .chunkExtension, .chunkSizeLineFeed, .chunkData, .chunkDataEnd,
            .chunkDataLineFeed:
            true
        default: inTrailer
        }
    }

    /// How many bytes of a body were read whose request is not whole.
    public var bodyCount: Int { body.count }

    /// The field `Origin` of a request that is not read to its end, or could not be.
    public var origin: String? { fields.first { $0.name == "origin" }?.value }

    /// Whether bytes wait that `next()` has not read.
    public var hasInput: Bool { !input.isEmpty }

    /// Takes bytes of the connection.
    public mutating func append(_ bytes: some Collection<UInt8>) {
        if input.isEmpty { input = [] }
        input.append(contentsOf: bytes)
    }

    /// Whether the client waits for `100 Continue` before it sends the body (RFC 9110, section
    /// 10.1.1); true once for each request.
    public mutating func takeContinue() -> Bool {
        defer { continueIsDue = false }
        return continueIsDue && input.isEmpty
    }

    /// Returns the next request once it is whole, `nil` while more has to come. After an error the
    /// connection is of no more use.
    public mutating func next() throws(HTTPParseError) -> HTTPRequest? {
        if case .failed(let error) = state { throw error }
        do throws(HTTPParseError) {
            return try parse()
        } catch {
            state = .failed(error)
            input = []
            throw error
        }
    }

    private mutating func parse() throws(HTTPParseError) -> HTTPRequest? {
        while true {
            switch state {
            case .body(let remaining), .chunkData(let remaining):
                let taken = input.prefix(remaining)
                body.append(contentsOf: taken)
                input = input.dropFirst(taken.count)
                let isChunk = if case .chunkData = state { true } else { false }
                guard taken.count == remaining else {
                    state =
                        isChunk
                        ? .chunkData(remaining: remaining - taken.count)
                        : .body(remaining: remaining - taken.count)
                    return nil
                }
                guard isChunk else { return try finish() }
                state = .chunkDataEnd
            default:
                guard let byte = input.popFirst() else { return nil }
                if try consume(byte) { return try finish() }
            }
        }
    }

    /// Reads one byte outside of a body; true when it ended the request.
    private mutating func consume(_ byte: UInt8) throws(HTTPParseError) -> Bool {
        switch state {
        case .start, .startLineFeed, .method, .target, .version, .versionLineFeed, .fieldStart,
            .fieldName, .fieldValue, .fieldLineFeed, .headLineFeed:
            headBytes += 1
            guard headBytes <= limits.headBytes else {
                throw HTTPParseError(431, "The head has more than \(limits.headBytes) bytes.")
            }
            return try consumeHead(byte)
        default:
            try consumeChunk(byte)
            return false
        }
    }

    private mutating func consumeHead(_ byte: UInt8) throws(HTTPParseError) -> Bool {
        switch (state, byte) {
        case (.start, 0x0D):
            state = .startLineFeed
        case (.startLineFeed, 0x0A):
            // An empty line before a request is skipped (RFC 9112, section 2.2).
            state = .start
        case (.start, _) where HTTPBytes.isToken(byte):
            element = [byte]
            state = .method
        case (.method, _) where HTTPBytes.isToken(byte) && element.count < 32:
            element.append(byte)
        case (.method, 0x20):
            method = takeElement()
            state = .target
        case (.target, 0x20) where !element.isEmpty:
            target = element
            element = []
            state = .version
        case (.target, 0x21...0x7E):
            element.append(byte)
        case (.version, 0x0D) where element.count == 8:
            try readVersion()
            state = .versionLineFeed
        case (.version, _) where Self.canStandInVersion(byte, at: element.count):
            element.append(byte)
        case (.versionLineFeed, 0x0A), (.fieldLineFeed, 0x0A):
            state = .fieldStart
        case (.fieldStart, 0x0D):
            state = .headLineFeed
        case (.headLineFeed, 0x0A):
            return try endHead()
        case (.fieldStart, _) where HTTPBytes.isToken(byte):
            element = [byte]
            state = .fieldName
        case (.fieldName, _) where HTTPBytes.isToken(byte):
            element.append(byte)
        case (.fieldName, UInt8(ascii: ":")):
            fieldName = takeElement().lowercased()
            state = .fieldValue
        case (.fieldValue, 0x0D):
            let value = takeElement().trimmingBlanks()
            if !inTrailer { fields.append(HTTPField(name: fieldName, value: value)) }
            state = .fieldLineFeed
        case (.fieldValue, _) where HTTPBytes.isValue(byte):
            element.append(byte)
        default:
            throw Self.error(at: state, byte)
        }
        return false
    }

    private mutating func takeElement() -> String {
        defer { element = [] }
        return String(decoding: element, as: UTF8.self)
    }

    private static func canStandInVersion(_ byte: UInt8, at index: Int) -> Bool {
        let pattern: [UInt8] = Array("HTTP/0.0".utf8)
        guard index < pattern.count else { return false }
        return pattern[index] == UInt8(ascii: "0")
            ? (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) : pattern[index] == byte
    }

    private mutating func readVersion() throws(HTTPParseError) {
        let version = takeElement()
        guard version.hasPrefix("HTTP/1.") else {
            throw HTTPParseError(505, "\(version) is not HTTP/1.1.")
        }
        minorVersion = version.hasSuffix("0") ? 0 : 1
    }

    private static func error(at state: State, _ byte: UInt8) -> HTTPParseError {
        let what =
            switch state {
            case .start, .startLineFeed: "cannot begin a request"
            case .method: "cannot stand in a method"
            case .target: "cannot stand in a request target"
            case .version: "cannot stand in the HTTP version"
            case .fieldStart where byte == 0x20 || byte == 0x09: "folds a header line"
            case .fieldStart, .fieldName: "cannot stand in the name of a header field"
            case .fieldValue: "cannot stand in the value of a header field"
            default: "stands where a line must end in CR LF"
            }
        var text: [UInt8] = []
        text.append("The byte 0x")
        text.appendHexadecimal(byte)
        return HTTPParseError(400, String(decoding: text, as: UTF8.self) + " \(what).")
    }

    /// The blank line was read: decides how the body is framed. True if there is none.
    private mutating func endHead() throws(HTTPParseError) -> Bool {
        if inTrailer { return true }
        let hosts = fields.filter { $0.name == "host" }
        guard hosts.count <= 1, hosts.count == 1 || minorVersion == 0 else {
            throw HTTPParseError(400, "A request has one Host field, this one has \(hosts.count).")
        }
        guard hosts.allSatisfy({ $0.value.utf8.allSatisfy(HTTPBytes.isHost) }) else {
            throw HTTPParseError(400, "Host is not the name or address of a host.")
        }
        headBytes = 0
        let framing = try framing()
        let expectation = fields.first { $0.name == "expect" }?.value.lowercased()
        continueIsDue = expectation == "100-continue" && minorVersion == 1
        switch framing {
        case .length(0): return true
        case .length(let length):
            body.reserveCapacity(min(length, 65_536))
            state = .body(remaining: length)
        case .chunked:
            state = .chunkSize(value: 0, digits: 0)
        }
        return false
    }

    /// RFC 9112, section 6.
    private func framing() throws(HTTPParseError) -> Framing {
        let lengths = fields.filter { $0.name == "content-length" }.map(\.value)
        let codings = fields.filter { $0.name == "transfer-encoding" }.map(\.value)
        guard codings.isEmpty else {
            guard lengths.isEmpty, minorVersion == 1 else {
                throw HTTPParseError(
                    400, "Transfer-Encoding stands beside Content-Length or in HTTP/1.0.")
            }
            // By bytes: in Unicode a Kelvin sign is a small k, too, but not for whoever stands before us.
            guard codings.count == 1,
                codings[0].utf8.lazy.map({ $0 | 0x20 }).elementsEqual("chunked".utf8)
            else {
                throw HTTPParseError(501, "The only transfer coding understood is chunked.")
            }
            return .chunked
        }
        guard let length = lengths.first else { return .length(0) }
        let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
        guard lengths.count == 1, !length.isEmpty, length.utf8.allSatisfy(digits.contains) else {
            throw HTTPParseError(400, "Content-Length is not one number.")
        }
        guard let value = Int(length), value <= limits.bodyBytes else { throw bodyTooLarge }
        return .length(value)
    }

    private var bodyTooLarge: HTTPParseError {
        HTTPParseError(413, "The body has more than \(limits.bodyBytes) bytes.")
    }

    /// RFC 9112, section 7.1. Extensions are skipped, within a bound.
    private mutating func consumeChunk(_ byte: UInt8) throws(HTTPParseError) {
        chunkLineBytes += 1
        guard chunkLineBytes <= 256 else {
            throw HTTPParseError(400, "The line that begins a chunk has more than 256 bytes.")
        }
        switch (state, byte) {
        case (.chunkSize(let value, let digits), _) where Self.hexadecimal(byte) != nil:
            let next = value * 16 + (Self.hexadecimal(byte) ?? 0)
            guard digits < 15, body.count + next <= limits.bodyBytes else { throw bodyTooLarge }
            state = .chunkSize(value: next, digits: digits + 1)
        case (.chunkSize(let value, 1...), UInt8(ascii: ";")):
            state = .chunkExtension(value: value)
        case (.chunkSize(let value, 1...), 0x0D), (.chunkExtension(let value), 0x0D):
            state = .chunkSizeLineFeed(value: value)
        case (.chunkExtension, _) where HTTPBytes.isValue(byte):
            break
        case (.chunkSizeLineFeed(let value), 0x0A):
            inTrailer = value == 0
            state = value == 0 ? .fieldStart : .chunkData(remaining: value)
        case (.chunkDataEnd, 0x0D):
            state = .chunkDataLineFeed
        case (.chunkDataLineFeed, 0x0A):
            chunkLineBytes = 0
            state = .chunkSize(value: 0, digits: 0)
        default:
            throw HTTPParseError(400, "The chunks of the body are not well formed.")
        }
    }

    private static func hexadecimal(_ byte: UInt8) -> Int? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): Int(byte - UInt8(ascii: "a")) + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): Int(byte - UInt8(ascii: "A")) + 10
        default: nil
        }
    }

    private mutating func finish() throws(HTTPParseError) -> HTTPRequest {
        let (path, query) = try Self.split(target, method: method)
        let connection = fields.filter { $0.name == "connection" }
            .flatMap { $0.value.lowercased().split(separator: ",") }.map { $0.trimmingBlanks() }
        let request = HTTPRequest(
            method: method, path: path, query: query, minorVersion: minorVersion, fields: fields,
            body: body, keepsAlive: minorVersion == 1 && !connection.contains("close"))
        let rest = input
        self = HTTPRequestParser(limits: limits)
        input = rest.isEmpty ? [] : rest
        return request
    }

    /// Splits a target in origin form, or in the absolute form that proxies use (RFC 9112, section
    /// 3.2), into the decoded path and the query.
    private static func split(
        _ target: [UInt8], method: String
    ) throws(HTTPParseError) -> (path: String, query: String) {
        var text = Substring(decoding: target, as: UTF8.self)
        if text == "*", method == "OPTIONS" { return ("*", "") }
        for scheme in ["http://", "https://"] where text.lowercased().hasPrefix(scheme) {
            let rest = text.dropFirst(scheme.count)
            text = rest.firstIndex { $0 == "/" || $0 == "?" }.map { rest[$0...] } ?? "/"
            if text.hasPrefix("?") { text = "/" + text }
        }
        guard text.hasPrefix("/"), !text.contains("#") else {
            throw HTTPParseError(400, "The request target is not a path.")
        }
        let mark = text.firstIndex(of: "?") ?? text.endIndex
        guard let path = PercentEncoding.decode(text[..<mark]) else {
            throw HTTPParseError(400, "The path is not percent-encoded UTF-8.")
        }
        return (path, String(text[mark...].dropFirst()))
    }
}
