/// When keys are fetched: at the start, at intervals, and when a token names a key that is not known.
///
/// ```
///              ┌──────── interval ─────────┐
///              ▼                           │
///  start ─▶ fetching ──fetched──▶ resting ─┤
///              ▲  └────failed──▶ resting ──┘ (sooner)
///              └── unknownKeySeen, if the rate allows
/// ```
/// While a fetch is under way whoever asks waits for its end, so that any number of tokens with unknown
/// keys costs one fetch. The rate bounds what a stream of invented `kid`s makes the issuer bear.
public struct KeyRefresh: Sendable {
    /// What is to be done now.
    public enum Action: Sendable, Equatable {
        /// Nothing.
        case none
        /// Fetch the keys, then call `fetched` or `failed`.
        case fetch
        /// Wake at this time and call `timeReached`.
        case wait(until: MonotonicTime)
        /// Whoever asked is to use the keys that there are.
        case answerAtOnce
    }

    /// Intervals and rate.
    public struct Timing: Sendable {
        /// From one good fetch to the next: for so long at most a key that the issuer has withdrawn is
        /// accepted.
        public var interval = Duration.seconds(300)
        /// After a fetch that failed.
        public var backoff = Backoff(first: .seconds(2), maximum: .seconds(60))
        /// Fetches for the sake of unknown keys.
        public var rate = Rate(count: 4, period: .seconds(60))

        /// Creates the timing of the service.
        public init() {}
    }

    private let timing: Timing
    private var isFetching = false
    private var failures = 0
    private var limiter: RateLimiter<Bool>

    /// Creates the state before the first fetch.
    public init(timing: Timing = Timing()) {
        self.timing = timing
        limiter = RateLimiter(timing.rate, capacity: 1)
    }

    /// The service starts, or the time has come.
    public mutating func timeReached() -> Action {
        guard !isFetching else { return .none }
        isFetching = true
        return .fetch
    }

    /// A token names a key that is not known.
    public mutating func unknownKeySeen(now: MonotonicTime) -> Action {
        guard !isFetching else { return .none }
        guard limiter.take(true, now: now) == nil else { return .answerAtOnce }
        isFetching = true
        return .fetch
    }

    /// The keys have come.
    public mutating func fetched(now: MonotonicTime) -> Action {
        isFetching = false
        failures = 0
        return .wait(until: now + timing.interval)
    }

    /// They have not, or they are of no use.
    ///
    /// - Parameter random: from 0 up to, but not including, 1.
    public mutating func failed(now: MonotonicTime, random: Double) -> Action {
        isFetching = false
        failures += 1
        let delay = timing.backoff.delay(failures: failures, random: random)
        return .wait(until: now + max(delay, .milliseconds(500)))
    }
}
