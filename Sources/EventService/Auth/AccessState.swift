import EventCore

/// What all workers share of who may come in: revocations, limits, and counts of refusals.
///
/// One lock for each, held for some dictionary look-ups.
final class AccessState: Sendable {
    /// `nil` before the node has read them: until then nobody is let in.
    private let revocations = Guarded<RevocationTable?>(nil)
    private let refusals = Guarded<[RefusalCause: Int]>([:])
    private let open = Guarded(OpenStreams())
    private let connecting: Guarded<RateLimiter<[UInt8]>>
    private let failing: Guarded<RateLimiter<[UInt8]>>
    private let publishing: Guarded<RateLimiter<ExactText>>
    private let perUser: Int
    private let perAddress: Int

    private struct OpenStreams {
        var users: [ExactText: Int] = [:]
        var addresses: [[UInt8]: Int] = [:]
    }

    init(_ configuration: Configuration) {
        connecting = Guarded(RateLimiter(configuration.connectRate))
        failing = Guarded(RateLimiter(configuration.authFailureRate))
        publishing = Guarded(RateLimiter(configuration.publishRate))
        perUser = configuration.maxConnectionsPerUser
        perAddress = configuration.maxConnectionsPerAddress
    }

    // MARK: Refusals

    /// Counts a refusal.
    func count(_ cause: RefusalCause) {
        refusals.withLock { $0[cause, default: 0] += 1 }
    }

    /// How often each cause was counted.
    var refusalCounts: [RefusalCause: Int] { refusals.withLock { $0 } }

    // MARK: Revocations

    /// Takes all revocations that there are, and returns those that the node had not known; `nil` the
    /// first time, when there is nobody whom they could concern.
    func load(_ all: [Revocation]) -> RevocationTable? {
        revocations.withLock { table in
            guard var known = table else {
                var first = RevocationTable()
                for revocation in all { first.insert(revocation) }
                table = first
                return nil
            }
            var new = RevocationTable()
            for revocation in all where known.insert(revocation) { new.insert(revocation) }
            table = known
            return new
        }
    }

    /// Forgets what was revoked before a Unix second.
    func forgetRevocations(before second: Int64) {
        revocations.withLock { $0?.removeAll(before: second) }
    }

    /// Whether a token is refused; `nil` while that is not known.
    func refuses(_ identity: TokenIdentity) -> Bool? {
        revocations.withLock { $0?.refuses(identity) }
    }

    // MARK: Limits

    /// Counts a stream in, or throws a 429.
    func admitStream(user: String?, address: String) throws(Problem) -> StreamPlace {
        let user = perUser > 0 ? user.map(ExactText.init) : nil
        let address = perAddress > 0 ? Self.key(address) : nil
        let (perUser, perAddress) = (perUser, perAddress)
        let full: AccessRefusal? = open.withLock { open in
            if let user, open.users[user, default: 0] >= perUser { return .maxConnectionsPerUser }
            if let address, open.addresses[address, default: 0] >= perAddress {
                return .maxConnectionsPerAddress
            }
            if let user { open.users[user, default: 0] += 1 }
            if let address { open.addresses[address, default: 0] += 1 }
            return nil
        }
        guard let full else { return StreamPlace(self, user: user, address: address) }
        count(.access(full))
        throw .tooMany(
            "too-many-streams",
            full == .maxConnectionsPerUser
                ? "This user has \(perUser) streams open, which is as many as one may have."
                : "This address has \(perAddress) streams open, which is as many as one may have.",
            retryAfter: .seconds(Int.random(in: 1...5)))
    }

    fileprivate func leave(user: ExactText?, address: [UInt8]?) {
        open.withLock { open in
            if let user { open.users.countDown(user) }
            if let address { open.addresses.countDown(address) }
        }
    }

    /// An address opens a stream; throws a 429 if it does so too fast.
    func streamAsked(by address: String, now: MonotonicTime) throws(Problem) {
        let wait = connecting.withLock { $0.take(Self.key(address), now: now) }
        guard let wait else { return }
        count(.access(.connectRate))
        throw .tooMany(
            "connecting-too-fast", "This address opens streams too fast.", retryAfter: wait)
    }

    /// A user publishes, or a session or address for want of one; throws a 429 if it does so too fast.
    func publishAsked(
        by identity: TokenIdentity?, at address: String, events: Int, now: MonotonicTime
    ) throws(Problem) {
        guard let identity else { return }
        let publisher =
            identity.user.map { "user:" + $0 } ?? identity.session.map { "session:" + $0 }
            ?? "address:" + address
        let wait = publishing.withLock {
            $0.take(ExactText(publisher), cost: events, now: now)
        }
        guard let wait else { return }
        count(.access(.publishRate))
        throw .tooMany(
            "publishing-too-fast", "This user publishes events too fast.", retryAfter: wait)
    }

    /// An address has failed to authenticate; returns how long it must wait, if it failed too often.
    func authenticationFailed(
        _ cause: AuthenticationError.Cause, by address: String, now: MonotonicTime
    ) -> Duration? {
        let wait = failing.withLock { $0.take(Self.key(address), now: now) }
        count(wait == nil ? .authentication(cause) : .access(.authFailureRate))
        return wait
    }

    private static func key(_ address: String) -> [UInt8] {
        IPAddress(address)?.limitKey ?? Array(address.utf8)
    }
}

/// The place that one stream takes of what its user and its address may have; given back when it goes.
final class StreamPlace {
    private let state: AccessState
    private let user: ExactText?
    private let address: [UInt8]?

    fileprivate init(_ state: AccessState, user: ExactText?, address: [UInt8]?) {
        self.state = state
        self.user = user
        self.address = address
    }

    deinit {
        state.leave(user: user, address: address)
    }
}

extension Dictionary where Value == Int {
    /// Takes one from a count; at zero it goes.
    fileprivate mutating func countDown(_ key: Key) {
        guard let count = self[key] else { return }
        self[key] = count > 1 ? count - 1 : nil
    }
}

extension Problem {
    /// 429, and when to try again.
    static func tooMany(_ kind: String, _ detail: String, retryAfter: Duration) -> Problem {
        let seconds = max(1, (retryAfter.wholeMilliseconds + 999) / 1000)
        return Problem(
            429, kind, detail, fields: [HTTPField(name: "Retry-After", value: String(seconds))])
    }
}
