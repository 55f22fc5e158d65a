import Glibc

/// An open file descriptor that is closed exactly once, when its owner goes.
struct FileDescriptor: ~Copyable, Sendable {
    let number: Int32

    /// Takes over a descriptor that is open.
    init(owning number: Int32) {
        self.number = number
    }

    deinit {
        close(number)
    }

    /// Gives the descriptor to somebody else, who has to close it.
    consuming func release() -> Int32 {
        let number = self.number
        discard self
        return number
    }
}

/// A call of the system failed.
struct SystemError: Error, CustomStringConvertible {
    let call: String
    let code: Int32

    /// The failure of the call that was made last on this thread.
    init(_ call: String, code: Int32 = errno) {
        self.call = call
        self.code = code
    }

    var description: String { "\(call): \(String(cString: strerror(code)))" }
}
