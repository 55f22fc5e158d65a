import EventCore
import FoundationEssentials

/// One file of the browser's side, in memory.
struct StaticFile: Sendable {
    let contentType: String
    let bytes: [UInt8]
    let tag: String

    /// The file, or that the client's copy is still good.
    func response(to request: HTTPRequest) -> HTTPResponse {
        var fields = [
            HTTPField(name: "Content-Type", value: contentType),
            // Kept, but asked about each time: a new version is there at once.
            HTTPField(name: "Cache-Control", value: "no-cache"),
            HTTPField(name: "ETag", value: tag),
        ]
        if contentType.hasPrefix("text/html") { fields += Self.pageFields }
        guard !request.list(of: "if-none-match").contains(tag) else {
            return HTTPResponse(304, fields: fields)
        }
        return HTTPResponse(200, fields: fields, body: bytes)
    }

    /// A page runs what comes from its own origin, and nothing that stands in itself.
    private static let pageFields = [
        HTTPField(
            name: "Content-Security-Policy",
            value: "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
                + " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        HTTPField(name: "Referrer-Policy", value: "no-referrer"),
        HTTPField(name: "Cross-Origin-Opener-Policy", value: "same-origin"),
    ]
}

/// The files that are served, read once when the service starts.
///
/// A path is looked up in a table of what was found then, so there is no path that leads anywhere else,
/// however it is encoded.
struct StaticFiles: Sendable {
    private let files: [String: StaticFile]

    /// No files.
    init() {
        files = [:]
    }

    /// Reads all files below a folder. With the demo its page is served at `/`.
    init(root: String, demo: Bool) {
        var files: [String: StaticFile] = [:]
        for path in Self.paths(below: root) where demo || !path.hasPrefix("demo/") {
            guard let type = Self.contentType(of: path),
                let data = FileManager.default.contents(atPath: root + "/" + path)
            else { continue }
            let bytes = [UInt8](data)
            files[path] = StaticFile(contentType: type, bytes: bytes, tag: Self.tag(of: bytes))
        }
        if demo { files[""] = files["demo/index.html"] }
        self.files = files
    }

    /// The file at a path without its leading slash.
    func file(at path: String) -> StaticFile? { files[path] }

    private static func paths(below root: String) -> [String] {
        (try? FileManager.default.subpathsOfDirectory(atPath: root)) ?? []
    }

    private static func contentType(of path: String) -> String? {
        switch path.split(separator: ".").last {
        case "html": "text/html; charset=utf-8"
        case "js", "mjs": "text/javascript; charset=utf-8"
        case "css": "text/css; charset=utf-8"
        case "json", "map": "application/json"
        case "svg": "image/svg+xml"
        case "ts": "text/plain; charset=utf-8"
        default: nil
        }
    }

    /// A name for the content: FNV-1a, which is enough to tell one version from the next.
    private static func tag(of bytes: [UInt8]) -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return "\"\(String(hash, radix: 16))\""
    }
}
