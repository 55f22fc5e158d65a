import CCurl
import EventCore
import Glibc

/// Fetches one small document at a time by libcurl, on a loop, without ever blocking it.
///
/// Bounded in every way in which the other side could misbehave: time, size, redirects, protocols. What
/// is compressed is not asked for, so that no small answer unfolds into a large one.
final class CurlFetcher {
    /// What came of a fetch.
    enum Outcome {
        case document([UInt8])
        /// Why there is none, in words without the URL, which may hold a password.
        case failed(String)
    }

    /// What a fetch may take.
    struct Limits {
        var time = Duration.seconds(10)
        var connectTime = Duration.seconds(5)
        var redirects = 3
        var bytes: Int
    }

    private struct Transfer {
        let handle: UnsafeMutableRawPointer
        let receiver: CurlReceiver
        let collected: Collected
        let completion: (Outcome) -> Void
    }

    /// The body so far.
    private final class Collected {
        var bytes: [UInt8] = []
        var isTooLarge = false
    }

    private let loop: EventLoop
    private let multi: UnsafeMutableRawPointer?
    private var sockets: [Int32: CurlSocket] = [:]
    private var timer: LoopTimer?
    private var transfer: Transfer?

    init(_ loop: EventLoop) {
        self.loop = loop
        multi = curl_multi_init()
        timer = LoopTimer(loop) { [unowned self] _ in act(CURL_SOCKET_TIMEOUT, 0) }
        ccurl_watch(
            multi, curlWatchesSocket, curlSetsTimer, Unmanaged.passUnretained(self).toOpaque())
    }

    deinit {
        endTransfer()
        curl_multi_cleanup(multi)
        timer?.cancel()
    }

    /// Fetches a document; the one before must have come, or failed.
    func fetch(_ url: String, _ limits: Limits, completion: @escaping (Outcome) -> Void) {
        precondition(transfer == nil, "fetch() while another is under way")
        guard let multi, let handle = curl_easy_init() else {
            return completion(.failed("libcurl cannot start"))
        }
        let collected = Collected()
        let receiver = CurlReceiver(handle) { bytes in
            guard collected.bytes.count + bytes.count <= limits.bytes else {
                collected.isTooLarge = true
                return false
            }
            collected.bytes.append(contentsOf: bytes)
            return true
        }
        ccurl_set_string(handle, CURLOPT_URL, url)
        // Plain http comes from this machine, and must not lead to where others could change the answer.
        ccurl_set_string(handle, CURLOPT_PROTOCOLS_STR, "http,https")
        ccurl_set_string(handle, CURLOPT_REDIR_PROTOCOLS_STR, "https")
        ccurl_set_long(handle, CURLOPT_FOLLOWLOCATION, 1)
        ccurl_set_long(handle, CURLOPT_MAXREDIRS, limits.redirects)
        ccurl_set_long(handle, CURLOPT_NOSIGNAL, 1)
        // Else the end of a transfer waits for a name server that does not answer.
        ccurl_set_long(handle, CURLOPT_QUICK_EXIT, 1)
        ccurl_set_long(handle, CURLOPT_TIMEOUT_MS, Int(limits.time.wholeMilliseconds))
        ccurl_set_long(
            handle, CURLOPT_CONNECTTIMEOUT_MS, Int(limits.connectTime.wholeMilliseconds))
        ccurl_set_long(handle, CURLOPT_MAXFILESIZE, limits.bytes)
        ccurl_set_long(handle, CURLOPT_FRESH_CONNECT, 1)
        ccurl_set_long(handle, CURLOPT_FORBID_REUSE, 1)
        transfer = Transfer(
            handle: handle, receiver: receiver, collected: collected, completion: completion)
        curl_multi_add_handle(multi, handle)
    }

    /// Something happened on a socket of libcurl's, or its time has come.
    fileprivate func act(_ socket: Int32, _ what: Int32) {
        var running: Int32 = 0
        curl_multi_socket_action(multi, socket, what, &running)
        var left: Int32 = 0
        while let message = curl_multi_info_read(multi, &left) {
            guard message.pointee.msg == CURLMSG_DONE else { continue }
            finish(message.pointee.data.result)
        }
    }

    private func finish(_ code: CURLcode) {
        guard let transfer else { return }
        let status = ccurl_response_code(transfer.handle)
        endTransfer()
        if transfer.collected.isTooLarge || code == CURLE_FILESIZE_EXCEEDED {
            transfer.completion(.failed("the answer is too large"))
        } else if code != CURLE_OK {
            transfer.completion(.failed(String(cString: curl_easy_strerror(code))))
        } else if status != 200 {
            transfer.completion(.failed("the answer has the status \(status)"))
        } else {
            transfer.completion(.document(transfer.collected.bytes))
        }
    }

    private func endTransfer() {
        guard let transfer else { return }
        self.transfer = nil
        curl_multi_remove_handle(multi, transfer.handle)
        curl_easy_cleanup(transfer.handle)
    }

    // MARK: What libcurl wants watched

    fileprivate func watch(_ socket: Int32, _ what: Int32) {
        guard what != CURL_POLL_REMOVE else {
            sockets[socket] = nil
            return loop.deregister(socket)
        }
        var interest: Readiness = []
        if what & CURL_POLL_IN != 0 { interest.insert(.readable) }
        if what & CURL_POLL_OUT != 0 { interest.insert(.writable) }
        if sockets[socket] != nil, loop.update(socket, to: interest) { return }
        let handler = CurlSocket(socket, self)
        sockets[socket] = handler
        // A socket that cannot be watched is one on which nothing happens: the time limit ends it.
        try? loop.register(socket, for: interest, handler: handler)
    }

    fileprivate func watchTimer(milliseconds: Int) {
        if milliseconds < 0 {
            timer?.cancel()
        } else {
            timer?.set(after: .milliseconds(milliseconds))
        }
    }
}

/// One socket of libcurl's on the loop.
private final class CurlSocket: ReadinessHandler {
    private let descriptor: Int32
    private unowned let fetcher: CurlFetcher

    init(_ descriptor: Int32, _ fetcher: CurlFetcher) {
        self.descriptor = descriptor
        self.fetcher = fetcher
    }

    func ready(_ readiness: Readiness) {
        var what: Int32 = 0
        if readiness.contains(.readable) { what |= CURL_CSELECT_IN }
        if readiness.contains(.writable) { what |= CURL_CSELECT_OUT }
        if !readiness.isDisjoint(with: .broken) { what |= CURL_CSELECT_ERR }
        fetcher.act(descriptor, what)
    }
}

/// Free functions, so that they carry no isolation into libcurl.
private nonisolated func curlWatchesSocket(
    _ handle: UnsafeMutableRawPointer?, _ socket: Int32, _ what: Int32,
    _ context: UnsafeMutableRawPointer?, _: UnsafeMutableRawPointer?
) -> Int32 {
    guard let context else { return 0 }
    Unmanaged<CurlFetcher>.fromOpaque(context).takeUnretainedValue().watch(socket, what)
    return 0
}

private nonisolated func curlSetsTimer(
    _ multi: UnsafeMutableRawPointer?, _ milliseconds: Int, _ context: UnsafeMutableRawPointer?
) -> Int32 {
    guard let context else { return 0 }
    Unmanaged<CurlFetcher>.fromOpaque(context).takeUnretainedValue()
        .watchTimer(milliseconds: milliseconds)
    return 0
}
