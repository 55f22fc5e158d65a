import Glibc

/// A value that one thread at a time may touch.
///
/// Over `pthread_mutex_t`, because the thread sanitizer does not see the lock inside
/// `Synchronization.Mutex` on Linux and reports correct code as a race.
///
/// `@unchecked Sendable`: the lock is the guard.
final class Guarded<Value>: @unchecked Sendable {
    private var value: Value
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)

    init(_ value: sending Value) {
        self.value = value
        pthread_mutex_init(lock, nil)
    }

    deinit {
        pthread_mutex_destroy(lock)
        lock.deallocate()
    }

    /// Calls `body` with the value while nobody else can.
    func withLock<Result>(_ body: (inout Value) -> sending Result) -> sending Result {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        return body(&value)
    }
}
