import CLinux
import Glibc

/// A thread of the system's own, for a loop to run on.
///
/// The loop is made on the thread, by `body`, so that nothing of it was ever touched by another.
final class LoopThread: Sendable {
    private let thread: pthread_t

    /// Starts a thread with a name of at most 15 bytes.
    init(name: String, _ body: @escaping @Sendable () -> Void) throws(SystemError) {
        let start = Unmanaged.passRetained(ThreadStart(name: name, body: body))
        var thread = pthread_t()
        let code = pthread_create(&thread, nil, runThread, start.toOpaque())
        guard code == 0 else {
            start.release()
            throw SystemError("pthread_create", code: code)
        }
        self.thread = thread
    }

    /// Waits until the thread has ended.
    func join() {
        pthread_join(thread, nil)
    }
}

private final class ThreadStart: Sendable {
    let name: String
    let body: @Sendable () -> Void

    init(name: String, body: @escaping @Sendable () -> Void) {
        self.name = name
        self.body = body
    }
}

/// A free function: a callback formed in a method of an isolated type would inherit its isolation and
/// trap on the new thread.
private nonisolated func runThread(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer?
{
    guard let context else { return nil }
    let start = Unmanaged<ThreadStart>.fromOpaque(context).takeRetainedValue()
    pthread_setname_np(pthread_self(), start.name)
    start.body()
    return nil
}
