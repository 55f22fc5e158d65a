import EventCore

/// An answer that is whole.
struct HTTPResponse {
    var status: Int
    /// Names in the case in which they are sent.
    var fields: [HTTPField]
    var body: [UInt8]
    /// Whether it goes on for ever; then it has no length.
    var isStream = false

    init(_ status: Int, fields: [HTTPField] = [], body: [UInt8] = []) {
        self.status = status
        self.fields = fields
        self.body = body
    }

    /// The same with more fields.
    func with(_ more: [HTTPField]) -> HTTPResponse {
        var response = self
        response.fields += more
        return response
    }

    /// JSON that no cache may keep.
    static func json(_ body: [UInt8], status: Int = 200) -> HTTPResponse {
        HTTPResponse(
            status,
            fields: [
                HTTPField(name: "Content-Type", value: "application/json"),
                HTTPField(name: "Cache-Control", value: "no-store"),
            ], body: body)
    }

    /// A problem as its own document.
    static func problem(_ problem: Problem, requestID: String) -> HTTPResponse {
        HTTPResponse(
            problem.status,
            fields: [
                HTTPField(name: "Content-Type", value: "application/problem+json"),
                HTTPField(name: "Cache-Control", value: "no-store"),
            ] + problem.fields, body: problem.json(requestID: requestID))
    }

    /// The head as it is sent.
    ///
    /// - Parameter length: `nil` for a stream, which is sent in chunks or up to the connection's end.
    func head(
        minorVersion: Int, requestID: String, date: String, length: Int?, keepsAlive: Bool
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(320)
        bytes.append("HTTP/1.1 ")
        bytes.appendDecimal(Int64(status))
        bytes.append(" ")
        bytes.append(contentsOf: HTTPStatus.phrase(status).utf8)
        bytes.appendHeader("Date", date)
        for field in fields { bytes.appendHeader(field.name, field.value) }
        bytes.appendHeader("X-Content-Type-Options", "nosniff")
        bytes.appendHeader("X-Request-Id", requestID)
        if let length, status != 204, status != 304 {
            bytes.appendHeader("Content-Length", String(length))
        } else if length == nil, minorVersion >= 1 {
            bytes.appendHeader("Transfer-Encoding", "chunked")
        }
        if !keepsAlive { bytes.appendHeader("Connection", "close") }
        bytes.append("\r\n\r\n")
        return bytes
    }
}

extension [UInt8] {
    fileprivate mutating func appendHeader(_ name: String, _ value: String) {
        append("\r\n")
        append(contentsOf: name.utf8)
        append(": ")
        append(contentsOf: value.utf8)
    }
}
