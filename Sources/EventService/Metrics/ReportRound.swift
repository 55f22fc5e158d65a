import EventCore

/// What several threads are asked for at once, on behalf of one request.
///
/// Each owns what it counts and copies it when it is asked, so that counting costs no lock and no
/// traffic between the cores.
final class ReportRound<Part: Sendable>: Sendable {
    private let content = Guarded<[Part]>([])
    private let expected: Int
    private let onComplete: @Sendable () -> Void

    fileprivate init(expecting count: Int, onComplete: @escaping @Sendable () -> Void) {
        expected = count
        self.onComplete = onComplete
    }

    /// A thread answers; one that comes too late is heard by nobody.
    func add(_ part: Part) {
        let isComplete = content.withLock { parts in
            parts.append(part)
            return parts.count == expected
        }
        if isComplete { onComplete() }
    }

    fileprivate var parts: [Part] { content.withLock { $0 } }
}

/// The rounds that one worker has begun.
final class ReportRounds {
    /// How long a thread may take to answer: a page of metrics is wanted all the more when one hangs.
    static let patience = Duration.seconds(1)

    private let loop: EventLoop
    private let replies: Mailbox<WorkerMessage>
    private var pending: [UInt64: (timer: LoopTimer, end: () -> Void)] = [:]
    private var lastNumber: UInt64 = 0

    init(loop: EventLoop, replies: Mailbox<WorkerMessage>) {
        self.loop = loop
        self.replies = replies
    }

    /// Asks, and calls `completion` once with what has come: all, or what there is when the time is up.
    func begin<Part: Sendable>(
        expecting count: Int, ask: (ReportRound<Part>) -> Void,
        completion: @escaping ([Part]) -> Void
    ) {
        lastNumber += 1
        let number = lastNumber
        let round = ReportRound<Part>(expecting: count) { [replies] in
            replies.post(.roundComplete(number))
        }
        let timer = LoopTimer(loop) { [unowned self] _ in ended(number) }
        pending[number] = (timer, { completion(round.parts) })
        timer.set(after: Self.patience)
        ask(round)
    }

    /// All have answered, or the time is up.
    func ended(_ number: UInt64) {
        guard let (timer, end) = pending.removeValue(forKey: number) else { return }
        timer.cancel()
        end()
    }
}
