import CLinux
import Glibc

/// Takes SIGTERM and SIGINT as events of a loop.
final class SignalReader: ReadinessHandler {
    private let descriptor: FileDescriptor
    private let receive: (Int32) -> Void

    private static var taken: sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGTERM)
        sigaddset(&set, SIGINT)
        return set
    }

    /// Keeps the signals from ending the process; for the calling thread and those that it starts.
    static func block() {
        var set = taken
        pthread_sigmask(SIG_BLOCK, &set, nil)
        // A peer that has gone is an error of the call that writes to it.
        signal(SIGPIPE, SIG_IGN)
    }

    init(on loop: EventLoop, receive: @escaping (Int32) -> Void) throws(SystemError) {
        var set = Self.taken
        let number = signalfd(-1, &set, Int32(SFD_CLOEXEC | SFD_NONBLOCK))
        guard number >= 0 else { throw SystemError("signalfd") }
        descriptor = FileDescriptor(owning: number)
        self.receive = receive
        try loop.register(descriptor.number, for: .readable, handler: self)
    }

    func ready(_ readiness: Readiness) {
        var information = signalfd_siginfo()
        let size = MemoryLayout<signalfd_siginfo>.size
        while read(descriptor.number, &information, size) == size {
            receive(Int32(information.ssi_signo))
        }
    }
}
