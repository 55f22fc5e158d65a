import EventCore
import Synchronization

/// Where a worker's messages go, and how much of what was sent it has not yet taken.
final class WorkerInbox: Sendable {
    let mailbox: Mailbox<WorkerMessage>
    /// Bytes of blocks that are in the mailbox.
    let waitingBytes = Atomic<Int>(0)

    init() throws(SystemError) {
        mailbox = try Mailbox()
    }
}

/// What the database thread tells a worker.
enum WorkerMessage: Sendable {
    /// A connection to serve.
    case accepted(Int32, address: String, AcceptedBy, isPastCap: Bool)
    /// Events, right behind those of the block before.
    case block(FrameBlock)
    /// The node is attached to the log, or its bounds have moved. A `fork` is the first position that
    /// may hold another event than before.
    case log(LogBounds, fork: Int64?)
    /// What `/readyz` says has changed.
    case health([UnreadyReason])
    /// The reply to a request.
    case reply(LogReply, number: UInt64)
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

/// Encodes what was sequenced, once, and hands it to every worker.
///
/// A worker that does not keep up is left out: the next thing it hears shows it the gap, and its
/// streams read the log for themselves. So no queue grows without a bound, and nothing is lost.
final class Dispatcher {
    private let inboxes: [WorkerInbox]
    private let encoder: EventEncoder
    private let longestBacklog: Int
    private let log: Log
    private var window = DeduplicationWindow(capacity: 8192)
    private var bounds: LogBounds?
    /// What each worker was last told of the bounds; `nil` where it has missed a block since.
    private var told: [LogBounds?]

    init(inboxes: [WorkerInbox], encoder: EventEncoder, longestBacklog: Int, log: Log) {
        self.inboxes = inboxes
        self.encoder = encoder
        self.longestBacklog = longestBacklog
        self.log = log
        told = inboxes.map { _ in nil }
    }

    /// The node has attached and goes on behind `bounds.head`.
    func attached(_ bounds: LogBounds) {
        let fork = self.bounds.flatMap { bounds.history.fork(from: $0.history) }
        if fork != nil { window.removeAll() }
        self.bounds = bounds
        tell(bounds, fork: fork)
    }

    /// Events were sequenced, or read from the log: everything from `first` to `last`.
    func dispatch(_ events: [Event], first: Int64, last: Int64) {
        guard var bounds, last >= first else { return }
        let fresh = events.filter { event in
            guard !window.insert(event.envelope.eventID) else { return true }
            log.warning(
                "dispatch: an event stands in the log twice",
                [
                    "event_id": String(event.envelope.eventID),
                    "position": String(event.envelope.position),
                ])
            return false
        }
        let batch = encoder.encode(fresh, history: bounds.history, first: first, last: last)
        let block = FrameBlock(batch)
        bounds.head = last
        self.bounds = bounds
        for (index, inbox) in inboxes.enumerated() {
            guard inbox.waitingBytes.load(ordering: .relaxed) < longestBacklog else {
                told[index] = nil
                continue
            }
            inbox.waitingBytes.add(block.byteCount, ordering: .relaxed)
            inbox.mailbox.post(.block(block))
            told[index]?.head = last
        }
    }

    /// The node goes on behind another position, because what lies between is gone.
    func jumped(to head: Int64, floor: Int64) {
        bounds?.head = head
        floorIs(floor)
    }

    /// The floor as it is now; also the moment to tell workers what they have missed.
    func floorIs(_ floor: Int64) {
        guard var bounds else { return }
        // Two connections ask for it; an answer may be overtaken by a later one.
        bounds.floor = max(bounds.floor, floor)
        self.bounds = bounds
        tell(bounds, fork: nil)
    }

    private func tell(_ bounds: LogBounds, fork: Int64?) {
        for (index, inbox) in inboxes.enumerated() where told[index] != bounds || fork != nil {
            inbox.mailbox.post(.log(bounds, fork: fork))
            told[index] = bounds
        }
    }
}
