/// Somebody on a loop who waits for events: a stream, or a request for history that waits.
open class HubMember {
    /// What the member sees.
    public final let subscription: Subscription
    /// Whether it lets all types and keys through: kept here, so that for most events nothing else of
    /// the subscription is touched.
    private final let isOpen: Bool
    final var membership: AudienceIndex<HubMember>.Membership?
    /// Where the member stands in its hub, -1 if it does not.
    final var place = -1
    /// Whether events of the present block were delivered.
    final var isTouched = false
    /// By whose token it is open; `nil` with `auth=none`.
    final let bearer: Bearer?

    /// Whom that token names.
    public final var identity: TokenIdentity? { bearer?.identity }

    /// Creates a member that is in no hub yet.
    public init(subscription: Subscription, identity: TokenIdentity? = nil) {
        self.subscription = subscription
        bearer = identity.map(Bearer.init)
        isOpen = subscription.isOpen
    }

    /// Whether the member sees an event of whose audience it holds a label.
    @inline(__always)
    final func admitsReached(_ envelope: borrowing EventEnvelope) -> Bool {
        isOpen && envelope.hiddenFrom.isEmpty
            || subscription.admitsReached(
                type: envelope.type, key: envelope.key, hiddenFrom: envelope.hiddenFrom)
    }

    /// An event that the member sees, the only one of its block.
    open func deliverLone(_ frame: EncodedFrame, of block: FrameBlock, now: MonotonicTime) {
        deliver(frame, of: block)
        blockEnded(block, now: now)
    }

    /// An event that the member sees, perhaps one of several of its block. Nothing may join or leave the
    /// hub before the block has ended.
    open func deliver(_ frame: EncodedFrame, of block: FrameBlock) {}

    /// An event without a position, that the member sees; who cannot take it now never gets it.
    open func deliverEphemeral(
        _ frame: EphemeralBlock.Frame, of block: EphemeralBlock, now: MonotonicTime
    ) {}

    /// All events of a block were delivered that brought this member any.
    open func blockEnded(_ block: FrameBlock, now: MonotonicTime) {}

    /// The ring begins anew: what this live member has not got, up to the head, it must read itself.
    ///
    /// - Parameter head: the ring's head before.
    open func ringWasCut(at head: Int64, now: MonotonicTime) {}

    /// The history of the log forked.
    ///
    /// - Parameters:
    ///   - position: the first position that may hold another event than before.
    ///   - head: the ring's head before.
    open func historyForked(at position: Int64, head: Int64, now: MonotonicTime) {}

    /// What `/readyz` says has changed.
    open func healthChanged(_ unready: [UnreadyReason], now: MonotonicTime) {}

    /// Adds what the member is doing, if it is a stream.
    open func report(to gauges: inout StreamGauges) {}

    /// The service stops: the member has until this time to end.
    open func drain(by deadline: MonotonicTime, now: MonotonicTime) {}

    /// The token was revoked, or its session is over.
    open func tokenRevoked(now: MonotonicTime) {}
}
