import EventCore
import Glibc

/// The clocks, read in one place.
enum MonotonicClock {
    /// Now, on the clock that only goes forward.
    static func now() -> MonotonicTime {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return MonotonicTime(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    /// Now, as people say it.
    static func date() -> Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(
            microseconds: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000)
    }

    /// The Unix second of now.
    static func unixSecond() -> Int64 {
        date().microseconds / 1_000_000
    }
}
