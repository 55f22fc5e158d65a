/// The subscribers of one loop, and the newest events.
///
/// Belongs to the loop's thread like all that it holds. Blocks come in the order of their positions; a
/// block that does not go on from the head shows that some were left out, and the streams then read the
/// log for themselves.
public final class HubShard {
    /// The bounds of the log as far as this loop has come; `nil` before the node is attached.
    public private(set) var bounds: LogBounds?
    /// The newest events.
    public private(set) var ring: Ring<FrameBlock>
    /// Why the service is not ready; empty: it is.
    public private(set) var unready: [UnreadyReason] = [.database]
    private var index = AudienceIndex<HubMember>()
    private var members: [HubMember] = []
    private var touched: [HubMember] = []

    /// Creates a hub without members; `ringBytes` is the setting `ring_bytes`.
    public init(ringBytes: Int) {
        ring = Ring(head: 0, maximumBytes: ringBytes)
    }

    // MARK: Members

    /// Adds a member that hears of gaps and forks, though not yet of events.
    public func join(_ member: HubMember) {
        guard member.place < 0 else { return }
        member.place = members.count
        members.append(member)
    }

    /// Delivers events to a member from here on.
    public func goLive(_ member: HubMember) {
        guard member.membership == nil else { return }
        member.membership = index.insert(member, reach: member.subscription.reach)
    }

    /// Delivers no more events to a member.
    public func fallBehind(_ member: HubMember) {
        guard let membership = member.membership else { return }
        index.remove(membership)
        member.membership = nil
    }

    /// Takes a member out.
    public func leave(_ member: HubMember) {
        fallBehind(member)
        guard member.place >= 0 else { return }
        // The last takes the place that becomes free.
        let last = members.removeLast()
        if last !== member {
            members[member.place] = last
            last.place = member.place
        }
        member.place = -1
    }

    /// Whether nobody waits for anything.
    public var isEmpty: Bool { members.isEmpty }

    /// How many members there are.
    public var count: Int { members.count }

    /// Calls `body` with every member; some may leave meanwhile.
    public func forEachMember(_ body: (HubMember) -> Void) {
        for member in members where member.place >= 0 { body(member) }
    }

    /// Tells every member that what `/readyz` says has changed.
    public func healthChanged(_ reasons: [UnreadyReason], now: MonotonicTime) {
        unready = reasons
        forEachMember { $0.healthChanged(reasons, now: now) }
    }

    // MARK: Events

    /// What the streams are doing.
    public var gauges: StreamGauges {
        var gauges = StreamGauges()
        forEachMember { $0.report(to: &gauges) }
        return gauges
    }

    /// Takes the next block and delivers its events; returns whether a member saw one of them.
    @discardableResult
    public func receive(_ block: FrameBlock, now: MonotonicTime) -> Bool {
        guard bounds != nil else { return false }
        let head = ring.head
        switch ring.append(block) {
        case .known:
            return false
        case .gap:
            bounds?.head = ring.head
            cut(at: head, now: now)
            return false
        case .continued:
            bounds?.head = ring.head
        }
        if block.frames.count == 1 {
            return deliverLone(block.frames[0], of: block, now: now)
        } else {
            return deliverAll(of: block, now: now)
        }
    }

    /// Most blocks hold one event, most streams take it at once: each is touched once, in one go.
    private func deliverLone(_ frame: EncodedFrame, of block: FrameBlock, now: MonotonicTime)
        -> Bool
    {
        let envelope = frame.envelope
        var isSeen = false
        index.forEach(concernedBy: envelope.audience) { member in
            // One that has left while another got the event is not live any more.
            guard member.membership != nil, member.admitsReached(envelope) else {
                return
            }
            isSeen = true
            member.deliverLone(frame, of: block, now: now)
        }
        return isSeen
    }

    private func deliverAll(of block: FrameBlock, now: MonotonicTime) -> Bool {
        for frame in block.frames {
            let envelope = frame.envelope
            index.forEach(concernedBy: envelope.audience) { member in
                guard member.admitsReached(envelope) else { return }
                member.deliver(frame, of: block)
                touch(member)
            }
        }
        let isSeen = !touched.isEmpty
        forEachTouched { $0.blockEnded(block, now: now) }
        return isSeen
    }

    /// Delivers events that have no place in the log, to who is live. They have no position either, by
    /// which one that is reached by several of its labels would know an event again.
    public func receive(_ block: EphemeralBlock, now: MonotonicTime) {
        for frame in block.frames {
            index.forEach(concernedBy: frame.envelope.audience) { member in
                if member.admitsReached(frame.envelope) { touch(member) }
            }
            forEachTouched { member in
                // One that has left while another got the event is not live any more.
                guard member.membership != nil else { return }
                member.deliverEphemeral(frame, of: block, now: now)
            }
        }
    }

    private func touch(_ member: HubMember) {
        guard !member.isTouched else { return }
        member.isTouched = true
        touched.append(member)
    }

    private func forEachTouched(_ body: (HubMember) -> Void) {
        for member in touched {
            member.isTouched = false
            body(member)
        }
        touched.removeAll(keepingCapacity: touched.capacity <= 4096)
    }

    /// The node attached, or the bounds of the log moved.
    ///
    /// - Parameter fork: the first position that may hold another event than before, if one may.
    public func logIs(_ new: LogBounds, fork: Int64?, now: MonotonicTime) {
        let wasAttached = bounds != nil
        let head = ring.head
        bounds = new
        ring.raise(floor: new.floor)
        // A fork behind the ring leaves it as it is; but a page may have brought a stream further.
        let isKept = wasAttached && new.head == head && (fork ?? .max) > head
        if isKept, fork == nil { return }
        if !isKept { ring.reset(head: new.head) }
        if let fork {
            forEachMember { $0.historyForked(at: fork, head: head, now: now) }
        } else if wasAttached {
            cut(at: head, now: now)
        }
    }

    /// A page of the log has shown that the floor is higher than the node last heard.
    public func floorIs(_ floor: Int64) {
        guard let known = bounds, known.floor < floor else { return }
        bounds?.floor = floor
        ring.raise(floor: floor)
    }

    private func cut(at head: Int64, now: MonotonicTime) {
        forEachMember { $0.ringWasCut(at: head, now: now) }
    }
}
