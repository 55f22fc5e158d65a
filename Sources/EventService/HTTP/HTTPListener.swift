import EventCore
import Glibc

/// Accepts connections and deals them to the workers in turn.
///
/// One thread accepts for all: with a socket for each loop the kernel deals by hash, and a few hundred
/// streams would lie unevenly.
final class HTTPListener: ReadinessHandler {
    private let loop: EventLoop
    private let socket: FileDescriptor
    private let listener: AcceptedBy
    private let inboxes: [WorkerInbox]
    private let connectionCount: ConnectionCount
    private let log: Log
    private var next = 0
    private var pause: LoopTimer?

    init(
        _ socket: consuming FileDescriptor, listener: AcceptedBy, loop: EventLoop,
        inboxes: [WorkerInbox], connectionCount: ConnectionCount, log: Log
    ) throws(SystemError) {
        self.socket = socket
        self.listener = listener
        self.loop = loop
        self.inboxes = inboxes
        self.connectionCount = connectionCount
        self.log = log
        try loop.register(self.socket.number, for: .readable, handler: self)
        pause = LoopTimer(loop) { [unowned self] _ in
            loop.update(self.socket.number, to: .readable)
        }
    }

    /// Accepts no more.
    func close() {
        pause?.cancel()
        loop.deregister(socket.number)
        // What waits to be accepted is refused by the kernel when the socket is closed.
        shutdown(socket.number, Int32(SHUT_RDWR))
    }

    func ready(_ readiness: Readiness) {
        // Some at a time: this thread has more to do.
        for _ in 0..<64 {
            switch Sockets.accept(on: socket.number) {
            case .connection(let descriptor, let address):
                deal(descriptor, address: address)
            case .nobody:
                return
            case .exhausted:
                // Whoever waits goes on waiting in the kernel's queue until some connections have ended.
                log.warning("listener: no descriptor left, accepting pauses")
                loop.update(socket.number, to: [])
                pause?.set(after: .milliseconds(500))
                return
            }
        }
    }

    private func deal(_ descriptor: consuming FileDescriptor, address: String) {
        var isPastCap = false
        if listener == .publicListener {
            switch connectionCount.admit() {
            case .served: break
            case .pastCap: isPastCap = true
            case .dropped: return
            }
        }
        let inbox = inboxes[next]
        next = (next + 1) % inboxes.count
        let message = WorkerMessage.accepted(
            descriptor.release(), address: address, listener, isPastCap: isPastCap)
        inbox.mailbox.post(message)
    }
}
