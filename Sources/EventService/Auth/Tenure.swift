import EventCore

/// On whose behalf something is opened that lasts – a stream, or a request for history that waits – and
/// for how long it may be.
struct Tenure {
    /// Whom the token names; `nil` with `auth=none`.
    let identity: TokenIdentity?
    /// When the token's time is over.
    let endsAt: MonotonicTime
    /// To be held as long as it is open.
    let place: StreamPlace?

    init(_ principal: Principal, place: StreamPlace?) {
        identity = principal.identity
        self.place = place
        // The loop's time is that of its turn, a little behind the date.
        let present = MonotonicClock.date().microseconds
        let now = MonotonicClock.now()
        endsAt =
            principal.endsAt.map { now + .microseconds($0 * 1_000_000 - present) } ?? .distantFuture
    }
}
