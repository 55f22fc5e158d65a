import CCurl
import Glibc

/// One request by libcurl, for commands: it knows TLS, proxies and what else users have.
struct CurlRequest {
    let url: String
    /// Header fields as they are sent.
    let fields: [String]

    /// What came of a request.
    enum Outcome {
        /// The status, and the body of any answer but 200, whose body goes to the receiver.
        case response(Int, body: String)
        case failed(String)
    }

    /// Performs the request, handing over what comes as it comes.
    func perform(_ receive: ([UInt8]) -> Void) -> Outcome {
        guard let handle = curl_easy_init() else { return .failed("libcurl cannot start") }
        defer { curl_easy_cleanup(handle) }
        var list: UnsafeMutablePointer<curl_slist>?
        for field in fields { list = curl_slist_append(list, field) }
        defer { curl_slist_free_all(list) }
        return withoutActuallyEscaping(receive) { receive in
            var body: [UInt8] = []
            let receiver = CurlReceiver(handle) { bytes in
                if ccurl_response_code(handle) == 200 {
                    receive([UInt8](bytes))
                } else if body.count < 4096 {
                    body.append(contentsOf: bytes)
                }
                return true
            }
            ccurl_set_string(handle, CURLOPT_URL, url)
            ccurl_set_list(handle, CURLOPT_HTTPHEADER, list)
            ccurl_set_long(handle, CURLOPT_CONNECTTIMEOUT, 10)
            ccurl_set_long(handle, CURLOPT_TCP_KEEPALIVE, 1)
            // Heartbeats come every 15 s: a minute without a byte is a dead connection.
            ccurl_set_long(handle, CURLOPT_LOW_SPEED_LIMIT, 1)
            ccurl_set_long(handle, CURLOPT_LOW_SPEED_TIME, 60)
            let code = withExtendedLifetime(receiver) { curl_easy_perform(handle) }
            let status = ccurl_response_code(handle)
            guard code == CURLE_OK || status == 200 else {
                return .failed(String(cString: curl_easy_strerror(code)))
            }
            return .response(status, body: String(decoding: body, as: UTF8.self))
        }
    }
}

/// Where libcurl's callback puts what comes; to be kept as long as the handle is in use.
final class CurlReceiver {
    private let receive: (UnsafeRawBufferPointer) -> Bool

    /// - Parameter receive: takes a part of the body; `false` ends the request.
    init(_ handle: UnsafeMutableRawPointer, _ receive: @escaping (UnsafeRawBufferPointer) -> Bool) {
        self.receive = receive
        ccurl_set_string(handle, CURLOPT_USERAGENT, "event-service/\(Version.current)")
        ccurl_set_callback(handle, CURLOPT_WRITEFUNCTION, receiveFromCurl)
        ccurl_set_pointer(handle, CURLOPT_WRITEDATA, Unmanaged.passUnretained(self).toOpaque())
    }

    fileprivate func take(_ bytes: UnsafeRawBufferPointer) -> Bool { receive(bytes) }
}

/// A free function, so that it carries no isolation into libcurl.
private nonisolated func receiveFromCurl(
    _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int,
    _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let context else { return 0 }
    let receiver = Unmanaged<CurlReceiver>.fromOpaque(context).takeUnretainedValue()
    let isTaken = receiver.take(UnsafeRawBufferPointer(start: bytes, count: size * count))
    return isTaken ? size * count : -1
}
