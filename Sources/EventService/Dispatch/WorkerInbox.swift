import EventCore
import Synchronization

/// Where a worker's messages go, and how much of what was sent it has not yet taken.
final class WorkerInbox: DispatchTarget, Sendable {
    let mailbox: Mailbox<WorkerMessage>
    private let waiting = Atomic<Int>(0)

    init() throws(SystemError) {
        mailbox = try Mailbox()
    }

    var waitingBytes: Int { waiting.load(ordering: .relaxed) }

    func send(_ block: FrameBlock) {
        waiting.add(block.byteCount, ordering: .relaxed)
        mailbox.post(.block(block))
    }

    /// Sends what is not kept, unless too much waits already: 16 MiB.
    func send(_ block: EphemeralBlock) -> Bool {
        guard waitingBytes < 16 << 20 else { return false }
        waiting.add(block.byteCount, ordering: .relaxed)
        return mailbox.post(.ephemeral(block))
    }

    func send(_ bounds: LogBounds, fork: Int64?) {
        mailbox.post(.log(bounds, fork: fork))
    }

    /// The worker has taken a block of so many bytes out of its mailbox.
    func taken(_ byteCount: Int) {
        waiting.subtract(byteCount, ordering: .relaxed)
    }
}

/// What the database thread tells a worker.
enum WorkerMessage: Sendable {
    /// A connection to serve.
    case accepted(Int32, address: String, AcceptedBy, isPastCap: Bool)
    /// Events, right behind those of the block before.
    case block(FrameBlock)
    /// Events that are delivered to who is there, and not kept.
    case ephemeral(EphemeralBlock)
    /// The node is attached to the log, or its bounds have moved. A `fork` is the first position that
    /// may hold another event than before.
    case log(LogBounds, fork: Int64?)
    /// What `/readyz` says has changed.
    case health([UnreadyReason])
    /// The reply to a request.
    case reply(LogReply, number: UInt64)
    /// The keys of tokens have been read, or could not be; `nil` as long as they never were.
    case keys(KeySet?)
    /// Tokens were revoked.
    case revoked(RevocationTable)
    /// What the worker knows is wanted for a page of metrics.
    case report(ReportRound<MetricsPart>)
    /// What streams the worker has open is wanted.
    case listStreams(ReportRound<[OpenStream]>)
    /// An operator wants these streams to end.
    case endStreams(StreamSelection, ReportRound<Int>)
    /// All have answered what this worker asked of them.
    case roundComplete(UInt64)
    /// End all streams within this time, then stop.
    case drain(over: Duration)
    /// Stop at once.
    case stop
}

/// Which listener took a connection.
enum AcceptedBy: Sendable {
    case publicListener
    case opsListener
}
