/// Up to where the database has taken a partition in.
public struct TakenOffset: Sendable, Equatable {
    /// The next offset.
    public var next: Int64
    /// The time of the message before that.
    public var stamp: Int64

    /// Creates a place.
    public init(next: Int64, stamp: Int64) {
        self.next = next
        self.stamp = stamp
    }
}

/// Where one partition of a Kafka topic is read, and which of its messages are new.
///
/// A topic that was deleted and made anew gives its offsets again, so an offset alone does not say what
/// was taken in. Reading therefore begins one message *before* the next one: if it is the one that the
/// database remembers, by its time, the topic is the same, and the message is passed over. If it is
/// another, or if there is none, the topic is a new one and is read from its beginning.
///
/// ```
///  begins ──▶ verifying ──same──▶ reading
///              ▲  └────another, or the end lies before it──▶ reading, from the beginning
///              └──── offsets go back: the broker began anew ────┘
/// ```
///
/// Only what the partition's queue brings counts: there the library drops what belongs to an earlier
/// assignment or place. The end that it remembers beside (`rd_kafka_get_watermark_offsets`) does not:
/// an answer that comes late moves that too, and another node may have read on since.
public struct PartitionReading: Sendable {
    /// Where the broker is asked to begin.
    public enum Start: Sendable, Equatable {
        /// Where the consumer group stands; else as the property `auto.offset.reset` says.
        case group
        /// This offset.
        case offset(Int64)
    }

    /// What becomes of a message.
    public enum Verdict: Sendable, Equatable {
        /// It is new.
        case take
        /// It was read before.
        case skip
        /// The partition must be read from its beginning.
        case startOver
        /// The partition must be read from this offset, to see whether the topic still is the same.
        case lookAgain(at: Int64)
    }

    private enum State: Sendable {
        /// - Parameter emptySince: when the partition ended before the message that is looked for.
        case verifying(TakenOffset, emptySince: MonotonicTime?)
        /// - Parameter stamp: the time of the message before `from`, if it was read here.
        case reading(from: Int64, stamp: Int64?)
    }

    private var state: State

    /// How long a partition must have ended too early to be a new one: a broker that has just become
    /// its leader shows less for a moment than it has.
    public static let patience = Duration.seconds(10)

    /// Begins where the database has the partition standing; `nil`: it was never read.
    public init(_ taken: TakenOffset?) {
        state =
            taken.map { .verifying($0, emptySince: nil) } ?? .reading(from: 0, stamp: nil)
    }

    /// Where the broker is asked to begin.
    public var start: Start {
        switch state {
        case .verifying(let taken, _): .offset(max(taken.next - 1, 0))
        case .reading(0, _): .group
        case .reading(let offset, _): .offset(offset)
        }
    }

    /// The offset that is read next.
    public var next: Int64 {
        switch state {
        case .verifying(let taken, _): taken.next
        case .reading(let offset, _): offset
        }
    }

    /// A message has come.
    public mutating func received(offset: Int64, stamp: Int64) -> Verdict {
        switch state {
        case .verifying(let taken, _) where offset == taken.next - 1:
            guard stamp == taken.stamp else {
                state = .reading(from: 0, stamp: nil)
                return .startOver
            }
            state = .reading(from: taken.next, stamp: stamp)
            return .skip
        case .reading(let next, let last) where offset < next:
            // The broker no longer had what it was asked for, and began at its beginning.
            guard let last else { return .skip }
            state = .verifying(TakenOffset(next: next, stamp: last), emptySince: nil)
            return .lookAgain(at: max(next - 1, 0))
        case .verifying, .reading:
            // While verifying – behind it: retention or compaction took it. Before it: the broker had
            // nothing there, and began at the beginning.
            state = .reading(from: offset + 1, stamp: stamp)
            return .take
        }
    }

    /// All there is was read, up to the offset that the next message will get.
    public mutating func ended(at end: Int64, now: MonotonicTime) {
        guard case .verifying(let taken, nil) = state, end < taken.next else { return }
        state = .verifying(taken, emptySince: now)
    }

    /// Nothing is fetched from here on, so that nothing can contradict an early end.
    public mutating func paused() {
        guard case .verifying(let taken, _) = state else { return }
        state = .verifying(taken, emptySince: nil)
    }

    /// Time has passed: whether the partition must be read from its beginning.
    public mutating func timePassed(now: MonotonicTime) -> Bool {
        guard case .verifying(_, let since?) = state, now - since >= Self.patience else {
            return false
        }
        state = .reading(from: 0, stamp: nil)
        return true
    }

    /// Reading goes on here; `nil`: at the beginning.
    public mutating func sought(_ offset: Int64?) {
        state = .reading(from: offset ?? 0, stamp: nil)
    }

    /// Another node has taken in what comes before this offset.
    public mutating func overtaken(_ offset: Int64) {
        guard case .reading(let next, _) = state, next < offset else { return }
        state = .reading(from: offset, stamp: nil)
    }
}
