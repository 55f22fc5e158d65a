import EventCore
import Glibc

/// By which a worker asks for fresh keys.
struct KeyRequests: Sendable {
    let mailbox: Mailbox<KeyThread.Message>
    let inbox: WorkerInbox

    /// A token names a key that is not known. The answer is `WorkerMessage.keys`.
    func ask() {
        mailbox.post(.asked(by: inbox))
    }
}

/// The thread that keeps the keys of tokens fresh, from a file or a URL.
///
/// On its own, because name resolution and TLS take what time they like: no client waits for them but
/// those whose tokens name a key that is not known. When the keys cannot be had the last good set stays.
final class KeyThread: Sendable {
    enum Message: Sendable {
        case asked(by: WorkerInbox)
        case stop
    }

    let mailbox: Mailbox<Message>
    private let thread: LoopThread

    init(_ source: KeySource, inboxes: [WorkerInbox], log: Log) throws(SystemError) {
        let mailbox = try Mailbox<Message>()
        self.mailbox = mailbox
        thread = try LoopThread(name: "keys") {
            do throws(SystemError) {
                let loop = try EventLoop()
                let keeper = KeyKeeper(source, loop: loop, inboxes: inboxes, log: log)
                let reader = try MailboxReader(mailbox, on: loop) { message in
                    switch message {
                    case .asked(let inbox): keeper.asked(by: inbox)
                    case .stop: loop.stop()
                    }
                }
                keeper.start()
                withExtendedLifetime(reader) { loop.run() }
                mailbox.close()
            } catch {
                log.error("keys: thread not started", ["error": error.description])
            }
        }
    }

    /// Ends the thread, whatever it is waiting for.
    func stop() {
        mailbox.post(.stop)
        thread.join()
    }
}

/// Does what `KeyRefresh` decides.
private final class KeyKeeper {
    private let source: KeySource
    private let loop: EventLoop
    private let inboxes: [WorkerInbox]
    private let log: Log
    private let fetcher: CurlFetcher
    private var machine = KeyRefresh()
    private var timer: LoopTimer?
    private var keys: KeySet?

    init(_ source: KeySource, loop: EventLoop, inboxes: [WorkerInbox], log: Log) {
        self.source = source
        self.loop = loop
        self.inboxes = inboxes
        self.log = log
        fetcher = CurlFetcher(loop)
        timer = LoopTimer(loop) { [unowned self] _ in perform(machine.timeReached()) }
    }

    func start() {
        perform(machine.timeReached())
    }

    func asked(by inbox: WorkerInbox) {
        perform(machine.unknownKeySeen(now: loop.now), askedBy: inbox)
    }

    private func perform(_ action: KeyRefresh.Action, askedBy inbox: WorkerInbox? = nil) {
        switch action {
        case .none:
            // A fetch is under way; its end is told to all.
            break
        case .answerAtOnce:
            inbox?.mailbox.post(.keys(keys))
        case .wait(let time):
            timer?.set(at: time)
        case .fetch:
            timer?.cancel()
            fetch()
        }
    }

    private func fetch() {
        switch source {
        case .file(let path):
            do throws(ConfigurationError) {
                took(try KeyFile.read(path, log: log))
            } catch {
                failed(error.description)
            }
        case .url(let url):
            let limits = CurlFetcher.Limits(bytes: KeySet.maximumBytes)
            fetcher.fetch(url, limits) { [unowned self] outcome in
                switch outcome {
                case .failed(let reason):
                    failed(reason)
                case .document(let bytes):
                    guard let set = KeyFile.keys(in: bytes, allowsSecrets: false, log: log) else {
                        return failed("the answer is not a JWK set with a key of use")
                    }
                    took(set)
                }
            }
        }
    }

    private func took(_ set: KeySet) {
        if set != keys { log.info("keys: read", ["count": String(set.keys.count)]) }
        keys = set
        perform(machine.fetched(now: loop.now))
        tellAll()
    }

    private func failed(_ reason: String) {
        log.warning(
            "keys: not read, the last ones stay",
            ["reason": reason, "kept": String(keys?.keys.count ?? 0)])
        perform(machine.failed(now: loop.now, random: Double.random(in: 0..<1)))
        tellAll()
    }

    private func tellAll() {
        for inbox in inboxes { inbox.mailbox.post(.keys(keys)) }
    }
}

/// Reads JWK sets.
enum KeyFile {
    /// The keys of a file.
    static func read(_ path: String, log: Log?) throws(ConfigurationError) -> KeySet {
        guard let bytes = bytes(of: path) else {
            throw ConfigurationError(
                "jwt_jwks: \(path): the file cannot be read, or has more than \(KeySet.maximumBytes) bytes"
            )
        }
        guard let set = keys(in: bytes, allowsSecrets: true, log: log) else {
            throw ConfigurationError(
                "jwt_jwks: \(path): not a JWK set with a key for HS256, RS256, PS256 or ES256")
        }
        return set
    }

    /// The keys of a document; `nil` if there is none of use.
    static func keys(in bytes: [UInt8], allowsSecrets: Bool, log: Log?) -> KeySet? {
        guard let document = JoseJSON.value(of: bytes) else { return nil }
        return KeySet(document, allowsSecrets: allowsSecrets) { fault in
            log?.debug("keys: one is left out", ["reason": fault.reason])
        }
    }

    private static func bytes(of path: String) -> [UInt8]? {
        let number = open(path, O_RDONLY | O_CLOEXEC)
        guard number >= 0 else { return nil }
        let file = FileDescriptor(owning: number)
        var bytes = [UInt8](repeating: 0, count: KeySet.maximumBytes + 1)
        var count = 0
        while count < bytes.count {
            let got = bytes.withUnsafeMutableBytes { buffer in
                Glibc.read(
                    file.number, buffer.baseAddress.map { $0 + count }, buffer.count - count)
            }
            guard got >= 0 else { return nil }
            if got == 0 { return Array(bytes.prefix(count)) }
            count += got
        }
        return nil
    }
}
