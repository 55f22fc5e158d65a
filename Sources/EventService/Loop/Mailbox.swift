import CLinux
import Glibc

/// Where other threads put messages for a loop.
///
/// Messages are appended under a lock and taken all at once; the loop is woken by one write for each
/// time that it empties the box, not for each message. The eventfd is read **before** the messages are
/// taken: a message that comes in between leaves the descriptor readable, and costs an empty turn at
/// most. The other way round it could be left lying.
final class Mailbox<Message: Sendable>: Sendable {
    private struct Content {
        var messages: [Message] = []
        var isClosed = false
    }

    private let content = Guarded(Content())
    private let event: FileDescriptor

    init() throws(SystemError) {
        let number = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        guard number >= 0 else { throw SystemError("eventfd") }
        event = FileDescriptor(owning: number)
    }

    /// Puts a message into the box; `false` if nobody will take it any more.
    @discardableResult
    func post(_ message: Message) -> Bool {
        let (wasEmpty, isOpen) = content.withLock { content in
            guard !content.isClosed else { return (false, false) }
            content.messages.append(message)
            return (content.messages.count == 1, true)
        }
        if wasEmpty { eventfd_write(event.number, 1) }
        return isOpen
    }

    /// How many messages wait.
    var count: Int { content.withLock { $0.messages.count } }

    /// Takes no more messages, and drops those that wait.
    func close() {
        content.withLock {
            $0.isClosed = true
            $0.messages = []
        }
    }

    fileprivate func takeAll() -> [Message] {
        var counter: eventfd_t = 0
        eventfd_read(event.number, &counter)
        return content.withLock { content in
            defer { content.messages = [] }
            return content.messages
        }
    }

    fileprivate var descriptor: Int32 { event.number }
}

/// Calls a function on a loop's thread with each message of a mailbox.
final class MailboxReader<Message: Sendable>: ReadinessHandler {
    private let mailbox: Mailbox<Message>
    private let receive: (Message) -> Void

    init(
        _ mailbox: Mailbox<Message>, on loop: EventLoop, receive: @escaping (Message) -> Void
    ) throws(SystemError) {
        self.mailbox = mailbox
        self.receive = receive
        try loop.register(mailbox.descriptor, for: .readable, handler: self)
    }

    /// Takes the reader off its loop.
    func stop(on loop: EventLoop) {
        loop.deregister(mailbox.descriptor)
    }

    func ready(_ readiness: Readiness) {
        for message in mailbox.takeAll() { receive(message) }
    }
}
