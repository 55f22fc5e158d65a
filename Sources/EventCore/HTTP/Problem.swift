/// An answer that says what went wrong: `application/problem+json` (RFC 9457).
public struct Problem: Error, Sendable, Equatable {
    /// The status of the response.
    public var status: Int
    /// What kind of problem it is, for programs; a part of the `type` URI.
    public var kind: String
    /// What is wrong with this very request, for people.
    public var detail: String
    /// Header fields that go with it.
    public var fields: [HTTPField]

    /// Creates a problem.
    public init(_ status: Int, _ kind: String, _ detail: String, fields: [HTTPField] = []) {
        self.status = status
        self.kind = kind
        self.detail = detail
        self.fields = fields
    }

    /// The body of the response.
    public func json(requestID: String) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append("{\"type\":\"urn:event-service:problem:")
        bytes.append(contentsOf: kind.utf8)
        bytes.append("\",\"title\":")
        bytes.appendJSONString(HTTPStatus.phrase(status))
        bytes.append(",\"status\":")
        bytes.appendDecimal(Int64(status))
        bytes.append(",\"detail\":")
        bytes.appendJSONString(detail)
        bytes.append(",\"request_id\":")
        bytes.appendJSONString(requestID)
        bytes.append("}")
        return bytes
    }

    /// A request that cannot be read or does not make sense.
    public static func badRequest(_ detail: String) -> Problem {
        Problem(400, "bad-request", detail)
    }

    /// Nothing stands at this path, or nothing for this caller.
    public static let notFound = Problem(404, "not-found", "There is nothing here.")

    /// What cannot be served at present, and when to try again.
    public static func unavailable(_ kind: String, _ detail: String, retryAfter seconds: Int)
        -> Problem
    {
        Problem(
            503, kind, detail,
            fields: [HTTPField(name: "Retry-After", value: String(seconds))])
    }

    /// The problem of a request that the parser refused.
    public init(_ error: HTTPParseError) {
        self.init(error.status, "bad-request", error.detail)
        switch error.status {
        case 413: kind = "body-too-large"
        case 431: kind = "head-too-large"
        default: break
        }
    }
}

/// The reason phrases that are used here (RFC 9110, section 15).
public enum HTTPStatus {
    /// The phrase of a status.
    public static func phrase(_ status: Int) -> String {
        switch status {
        case 200: "OK"
        case 202: "Accepted"
        case 204: "No Content"
        case 304: "Not Modified"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 406: "Not Acceptable"
        case 408: "Request Timeout"
        case 413: "Content Too Large"
        case 415: "Unsupported Media Type"
        case 421: "Misdirected Request"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 501: "Not Implemented"
        case 503: "Service Unavailable"
        case 505: "HTTP Version Not Supported"
        default: "Internal Server Error"
        }
    }
}
