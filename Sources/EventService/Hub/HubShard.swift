import EventCore

/// Somebody on this loop who waits for events: a stream, or a request for history that waits.
class HubMember {
    let subscription: Subscription
    fileprivate var membership: AudienceIndex<HubMember>.Membership?
    /// Whether events of the present block were delivered.
    fileprivate var isTouched = false

    init(subscription: Subscription) {
        self.subscription = subscription
    }

    /// An event that the member sees. Nothing may join or leave the hub before the block has ended.
    func deliver(_ frame: EncodedFrame, of block: FrameBlock) {}

    /// All events of a block were delivered that brought this member any.
    func blockEnded() {}

    /// The ring begins anew: what this live member has not got, up to the head, it must read itself.
    ///
    /// - Parameter head: the ring's head before.
    func ringWasCut(at head: Int64) {}

    /// The history of the log forked.
    ///
    /// - Parameters:
    ///   - position: the first position that may hold another event than before.
    ///   - head: the ring's head before.
    func historyForked(at position: Int64, head: Int64) {}

    /// What `/readyz` says has changed.
    func healthChanged() {}

    /// The service stops: the member has this long to end.
    func drain(over duration: Duration) {}
}

/// The subscribers of one loop, and the newest events.
///
/// Belongs to the loop's thread like all that it holds. Blocks come in the order of their positions; a
/// block that does not go on from the head shows that some were left out, and the streams then read the
/// log for themselves.
final class HubShard {
    /// The bounds of the log as far as this loop has come; `nil` before the node is attached.
    private(set) var bounds: LogBounds?
    private(set) var ring: Ring<FrameBlock>
    private var index = AudienceIndex<HubMember>()
    private var members: [ObjectIdentifier: HubMember] = [:]
    private let ringBytes: Int

    init(ringBytes: Int) {
        self.ringBytes = ringBytes
        ring = Ring(head: 0, maximumBytes: ringBytes)
    }

    // MARK: Members

    /// Adds a member that hears of gaps and forks, though not yet of events.
    func join(_ member: HubMember) {
        members[ObjectIdentifier(member)] = member
    }

    /// Delivers events to a member from here on.
    func goLive(_ member: HubMember) {
        guard member.membership == nil else { return }
        member.membership = index.insert(member, reach: member.subscription.reach)
    }

    /// Delivers no more events to a member.
    func fallBehind(_ member: HubMember) {
        guard let membership = member.membership else { return }
        index.remove(membership)
        member.membership = nil
    }

    /// Takes a member out.
    func leave(_ member: HubMember) {
        fallBehind(member)
        members[ObjectIdentifier(member)] = nil
    }

    /// Whether nobody waits for anything.
    var isEmpty: Bool { members.isEmpty }

    /// Tells every member that what `/readyz` says has changed.
    func healthChanged() {
        for member in members.values { member.healthChanged() }
    }

    /// Has every member end within this time.
    func drain(over duration: Duration) {
        for member in members.values { member.drain(over: duration) }
    }

    // MARK: Events

    /// Takes the next block and delivers its events.
    func receive(_ block: FrameBlock) {
        guard bounds != nil else { return }
        let head = ring.head
        switch ring.append(block) {
        case .known:
            return
        case .gap:
            bounds?.head = ring.head
            cut(at: head)
            return
        case .continued:
            bounds?.head = ring.head
        }
        var touched: [HubMember] = []
        for frame in block.frames {
            index.forEach(concernedBy: frame.envelope.audience) { member in
                guard member.subscription.admits(frame.envelope) else { return }
                member.deliver(frame, of: block)
                if !member.isTouched {
                    member.isTouched = true
                    touched.append(member)
                }
            }
        }
        for member in touched {
            member.isTouched = false
            member.blockEnded()
        }
    }

    /// The node attached, or the bounds of the log moved.
    func logIs(_ new: LogBounds, fork: Int64?) {
        let wasAttached = bounds != nil
        let head = ring.head
        bounds = new
        ring.raise(floor: new.floor)
        if wasAttached, new.head == head, fork == nil { return }
        ring.reset(head: new.head)
        if let fork {
            for member in members.values { member.historyForked(at: fork, head: head) }
        } else if wasAttached {
            cut(at: head)
        }
    }

    /// A page of the log has shown that the floor is higher than the node last heard.
    func floorIs(_ floor: Int64) {
        guard let known = bounds, known.floor < floor else { return }
        bounds?.floor = floor
        ring.raise(floor: floor)
    }

    private func cut(at head: Int64) {
        for member in members.values { member.ringWasCut(at: head) }
    }
}
