/// Finds the subscribers that an event may concern by its labels, so that an event costs what it
/// reaches and not what is connected.
///
/// A member stands in one list for each label, or context prefix, under which events reach it. Its
/// place in each is kept in the `Membership` that it holds, so that leaving is constant time for each
/// list, however long that is.
public struct AudienceIndex<Member: AnyObject> {
    /// The members under one label.
    fileprivate final class List {
        /// Apart from their places, so that going through them touches nothing else.
        var members: ContiguousArray<Member> = []
        var places: ContiguousArray<(membership: Membership, slot: Int)> = []
        /// How the index finds the list again when it has become empty.
        let name: Name

        init(name: Name) {
            self.name = name
        }
    }

    fileprivate enum Name: Hashable {
        case label(AudienceLabel)
        case contextPrefix(ExactText)
        case everything
    }

    /// A member's places in the index; held by the member until it leaves.
    public final class Membership {
        fileprivate var places: [(list: List, index: Int)] = []

        fileprivate init() {}
    }

    private var lists: [Name: List] = [:]
    private var prefixes: [ExactText] = []

    /// Creates an index without members.
    public init() {}

    /// Whether nobody is in the index.
    public var isEmpty: Bool { lists.isEmpty }

    /// Adds a member under everything that reaches it.
    public mutating func insert(_ member: Member, reach: Subscription.Reach) -> Membership {
        let membership = Membership()
        switch reach {
        case .everything:
            add(member, membership, to: .everything)
        case .labels(let labels, let contextPrefixes):
            for label in labels { add(member, membership, to: .label(label)) }
            for prefix in Set(contextPrefixes.map(ExactText.init)) {
                add(member, membership, to: .contextPrefix(prefix))
            }
        }
        return membership
    }

    private mutating func add(_ member: Member, _ membership: Membership, to name: Name) {
        let list: List
        if let known = lists[name] {
            list = known
        } else {
            list = List(name: name)
            lists[name] = list
            if case .contextPrefix(let prefix) = name { prefixes.append(prefix) }
        }
        membership.places.append((list, list.members.count))
        list.members.append(member)
        list.places.append((membership, membership.places.count - 1))
    }

    /// Takes a member out of every list that it stands in.
    public mutating func remove(_ membership: Membership) {
        for (list, index) in membership.places {
            // The last of the list takes the place that becomes free.
            let member = list.members.removeLast()
            let place = list.places.removeLast()
            if index < list.members.count {
                list.members[index] = member
                list.places[index] = place
                place.membership.places[place.slot].index = index
            }
            guard list.members.isEmpty else { continue }
            lists[list.name] = nil
            if case .contextPrefix(let prefix) = list.name { prefixes.removeAll { $0 == prefix } }
        }
        membership.places = []
    }

    /// Calls `body` with every member that an event of this audience concerns: all of them hold one of its
    /// labels. With one that stands under several of them it is called several times. Who joins or leaves
    /// meanwhile may be called or not.
    public func forEach(
        concernedBy audience: [AudienceLabel], _ body: (Member) -> Void
    ) {
        if let list = lists[.everything] { list.forEach(body) }
        for label in audience {
            if let list = lists[.label(label)] { list.forEach(body) }
            guard !prefixes.isEmpty, let name = label.contextName else { continue }
            for prefix in prefixes where name.begins(with: prefix.text) {
                lists[.contextPrefix(prefix)]?.forEach(body)
            }
        }
    }
}

extension AudienceIndex.List {
    fileprivate func forEach(_ body: (Member) -> Void) {
        // The array as it is now: one who leaves meanwhile leaves another.
        let members = members
        for member in members { body(member) }
    }
}
