import Glibc

/// A child process, spawned and waited for directly.
///
/// Foundation's `Process` waits for the end of a socket that the child inherits, and so for whatever the
/// child leaves running: for ever, where that is a database server.
///
/// `@unchecked Sendable`: one test thread at a time uses it.
public final class ChildProcess: @unchecked Sendable {
    /// The process.
    public let id: Int32
    private var status: Int32?

    /// Starts a program with its output going to files, or where this process's goes.
    public init(
        _ executable: String, _ arguments: [String], environment: [String: String],
        output: String? = nil, error: String? = nil
    ) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (descriptor, path) in [(STDOUT_FILENO, output), (STDERR_FILENO, error)] {
            guard let path else { continue }
            posix_spawn_file_actions_addopen(
                &actions, descriptor, path, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        }
        // Threads of the concurrency pool block most signals, and a child would inherit that: SIGTERM would
        // not reach it.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var argv = ([executable] + arguments).map { strdup($0) } + [nil]
        var envp = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in argv + envp { free(text) } }
        var id: Int32 = 0
        let code = posix_spawn(&id, executable, &actions, &attributes, &argv, &envp)
        guard code == 0 else { throw SpawnError(executable: executable, code: code) }
        self.id = id
    }

    /// Whether it has not ended.
    public var isRunning: Bool {
        poll(WNOHANG)
        return status == nil
    }

    /// Waits for the end and returns the exit status, or 128 and the signal that ended it.
    @discardableResult
    public func wait() -> Int32 {
        while status == nil { poll(0) }
        return status ?? 0
    }

    /// Sends a signal, if it has not ended.
    public func signal(_ number: Int32) {
        if isRunning { kill(id, number) }
    }

    private func poll(_ options: Int32) {
        guard status == nil else { return }
        var raw: Int32 = 0
        guard waitpid(id, &raw, options) == id else { return }
        status = raw & 0x7F == 0 ? (raw >> 8) & 0xFF : 128 + (raw & 0x7F)
    }
}

/// A program could not be started.
public struct SpawnError: Error {
    /// The program.
    public let executable: String
    /// `errno`.
    public let code: Int32
}
