import EventCore
import Synchronization

/// The database's clock as this node knows it: events are stamped with that, and how long one took is
/// told by the same clock that it began with.
final class DatabaseClock: Sendable {
    private let microseconds = Atomic<Int64>(0)

    /// How far the database's clock is ahead of this machine's.
    var offset: Duration { .microseconds(microseconds.load(ordering: .relaxed)) }

    /// Now, by the database's clock.
    func now() -> Timestamp {
        Timestamp(
            microseconds: MonotonicClock.date().microseconds
                + microseconds.load(ordering: .relaxed))
    }

    /// The database said what time it was, between two moments of this machine's clock.
    func said(_ time: Timestamp, between sent: Timestamp, and received: Timestamp) {
        let middle = (sent.microseconds + received.microseconds) / 2
        microseconds.store(time.microseconds - middle, ordering: .relaxed)
    }
}

extension LatencyHistogram {
    /// Counts how long ago something was captured.
    mutating func record(since captured: Timestamp, now: Timestamp) {
        record(.microseconds(now.microseconds - captured.microseconds))
    }
}
