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
///                 └────another, or the end lies before it──▶ reading, from the beginning
/// ```
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
    }

    private enum State: Sendable {
        case verifying(TakenOffset)
        case reading(from: Int64)
    }

    private var state: State

    /// Begins where the database has the partition standing; `nil`: it was never read.
    public init(_ taken: TakenOffset?) {
        state = taken.map { .verifying($0) } ?? .reading(from: 0)
    }

    /// Where the broker is asked to begin.
    public var start: Start {
        switch state {
        case .verifying(let taken): .offset(max(taken.next - 1, 0))
        case .reading(0): .group
        case .reading(let offset): .offset(offset)
        }
    }

    /// The offset that is read next.
    public var next: Int64 {
        switch state {
        case .verifying(let taken): taken.next
        case .reading(let offset): offset
        }
    }

    /// A message has come.
    public mutating func received(offset: Int64, stamp: Int64) -> Verdict {
        switch state {
        case .verifying(let taken) where offset == taken.next - 1:
            let isSame = stamp == taken.stamp
            state = .reading(from: isSame ? taken.next : 0)
            return isSame ? .skip : .startOver
        case .verifying:
            // Behind it: retention or compaction took it. Before it: the broker had nothing there, and
            // began at the beginning.
            state = .reading(from: offset + 1)
            return .take
        case .reading(let next):
            // It comes again: a partition that was paused is read anew from where the library believes it.
            guard offset >= next else { return .skip }
            state = .reading(from: offset + 1)
            return .take
        }
    }

    /// The end of the partition is known: the offset that its next message will get.
    public mutating func ends(at end: Int64) -> Verdict {
        guard case .verifying(let taken) = state, end >= 0, end < taken.next else { return .skip }
        state = .reading(from: 0)
        return .startOver
    }

    /// Reading goes on here; `nil`: at the beginning.
    public mutating func sought(_ offset: Int64?) {
        state = .reading(from: offset ?? 0)
    }
}
