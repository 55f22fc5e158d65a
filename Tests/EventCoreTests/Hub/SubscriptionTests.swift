import EventCore
import TestSupport
import Testing

/// The row of a table moves from one audience to another; what capture writes then.
private func move(from old: Set<String>, to new: Set<String>) -> [(
    op: String, audience: Set<String>, hidden: Set<String>
)] {
    let both = old.intersection(new)
    var events: [(String, Set<String>, Set<String>)] = []
    if !old.subtracting(new).isEmpty { events.append(("leave", old, new)) }
    if !both.isEmpty || old == new { events.append(("update", both, [])) }
    if !new.subtracting(old).isEmpty { events.append(("enter", new, both)) }
    return events
}

@Suite struct Subscriptions {
    private static func labels(_ texts: some Sequence<String>) -> [AudienceLabel] {
        texts.sorted().map(AudienceLabel.init(unchecked:))
    }

    private static func subscription(
        _ held: [String], contexts: [String] = [], prefixes: [String] = [], everything: Bool = false
    ) throws -> Subscription {
        let grants = Grants(
            everything: everything, labels: Set(labels(held)), contextPrefixes: prefixes)
        return try Subscription(grants: grants, filter: EventFilter(contexts: contexts))
    }

    private static func sees(
        _ subscription: Subscription, _ audience: [String], hidden: [String] = []
    ) -> Bool {
        subscription.admits(
            type: "a.b", key: nil, audience: labels(audience), hiddenFrom: labels(hidden))
    }

    @Test func `nobody sees what has no audience, but a service without tokens`() throws {
        #expect(!Self.sees(try Self.subscription(["user:1"]), []))
        #expect(Self.sees(try Self.subscription([], everything: true), []))
    }

    @Test(arguments: [
        (["user:1"], true), (["user:2"], false), (["*"], true), (["context:a", "user:2"], false),
        (["context:x", "user:2"], true), (["session:s"], true), (["session:1"], false),
        (["context:p-9"], true), (["context:p"], false),
    ])
    func `an event is seen by whoever holds one of its labels`(audience: [String], seen: Bool)
        throws
    {
        let subscription = try Self.subscription(
            ["user:1", "session:s", "context:x"], prefixes: ["p-"])
        #expect(Self.sees(subscription, audience) == seen)
        #expect(!Self.sees(subscription, audience, hidden: ["user:1"]))
        #expect(Self.sees(subscription, audience, hidden: ["user:9"]) == seen)
    }

    @Test func `a filter narrows and never widens`() throws {
        #expect(throws: ContextNotGranted(name: "b")) {
            try Self.subscription(["context:a"], contexts: ["a", "b"])
        }
        let narrowed = try Self.subscription(["user:1", "context:a", "context:b"], contexts: ["a"])
        #expect(Self.sees(narrowed, ["context:a"]))
        #expect(Self.sees(narrowed, ["context:a", "user:2"]))
        #expect(!Self.sees(narrowed, ["context:b"]))
        #expect(!Self.sees(narrowed, ["user:1"]))
        #expect(!Self.sees(narrowed, ["*"]))
        let ofAll = try Self.subscription([], contexts: ["a"], everything: true)
        #expect(Self.sees(ofAll, ["context:a"]))
        #expect(!Self.sees(ofAll, []))
        #expect(!Self.sees(ofAll, ["user:1"]))
    }

    @Test(arguments: [
        ("task.created", "1", true), ("task.created", "2", true), ("task.created", "3", false),
        ("job.created", "1", false), ("note.added", "1", false),
    ])
    func `types of token and request, and keys, all have to match`(
        type: String, key: String, seen: Bool
    ) throws {
        let grants = Grants(
            everything: true,
            types: [TypePattern("task.*"), TypePattern("note.*")].compactMap { $0 })
        let filter = EventFilter(
            types: [TypePattern("task.*"), TypePattern("job.*")].compactMap { $0 },
            keys: ["1", "2"])
        let subscription = try Subscription(grants: grants, filter: filter)
        #expect(subscription.admits(type: type, key: key, audience: [], hiddenFrom: []) == seen)
        #expect(!subscription.admits(type: type, key: nil, audience: [], hiddenFrom: []))
    }

    /// Every move of a row between sets of four labels, for every holder of such a set.
    @Test func `whoever may see a row gets at most one event of its move, and the right one`()
        throws
    {
        let all = ["*", "user:1", "context:a", "context:b"]
        let sets = (0..<16).map { bits in
            Set(all.indices.filter { bits & 1 << $0 != 0 }.map { all[$0] })
        }
        for old in sets {
            for new in sets {
                for held in sets where !held.contains("*") {
                    let subscription = try Self.subscription(Array(held))
                    let reach = held.union(["*"])
                    let seen = move(from: old, to: new).filter {
                        Self.sees(subscription, Array($0.audience), hidden: Array($0.hidden))
                    }.map(\.op)
                    let (before, after) = (
                        !old.isDisjoint(with: reach), !new.isDisjoint(with: reach)
                    )
                    switch (before, after) {
                    case (false, false): #expect(seen == [])
                    case (true, false): #expect(seen == ["leave"])
                    case (false, true): #expect(seen == ["enter"])
                    case (true, true):
                        // By one label that stayed, or out by one and in by another.
                        let stayed = !old.intersection(new).isDisjoint(with: reach)
                        #expect(seen == [stayed ? "update" : "enter"])
                    }
                }
            }
        }
    }

    @Test func `SQL narrows by what it can`() throws {
        #expect(try Self.subscription(["user:1"]).narrowing == Narrowing(labels: ["*", "user:1"]))
        #expect(try Self.subscription([], everything: true).narrowing == .none)
        #expect(try Self.subscription(["user:1"], prefixes: ["x"]).narrowing.labels == nil)
        let filter = EventFilter(
            contexts: ["a"], types: [TypePattern("t_x.*")].compactMap { $0 }, keys: ["1"])
        #expect(
            try Subscription(grants: .all, filter: filter).narrowing
                == Narrowing(labels: ["context:a"], likePatterns: ["t\\_x.%"], keys: ["1"]))
    }
}

@Suite struct `Audience index` {
    private final class Member: Hashable {
        let name: Int
        init(_ name: Int) { self.name = name }
        static func == (a: Member, b: Member) -> Bool { a === b }
        func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
    }

    @Test func `members come and go, and whoever an event may concern is found`() throws {
        var generator = SeededGenerator(seed: 7)
        var index = AudienceIndex<Member>()
        var present: [Member: (Subscription.Reach, AudienceIndex<Member>.Membership)] = [:]
        let names = ["user:1", "user:2", "context:a", "context:ab", "*"]
        for step in 0..<3000 {
            if present.count < 40, Bool.random(using: &generator) {
                let member = Member(step)
                let labels = Set(
                    names.filter { _ in Bool.random(using: &generator) }.map(
                        AudienceLabel.init(unchecked:)))
                let reach: Subscription.Reach =
                    Int.random(in: 0..<10, using: &generator) == 0
                    ? .everything
                    : .labels(labels, contextPrefixes: Bool.random(using: &generator) ? ["a"] : [])
                present[member] = (reach, index.insert(member, reach: reach))
            } else if let (member, entry) = present.randomElement(using: &generator) {
                index.remove(entry.1)
                present[member] = nil
            }
            let audience = names.filter { _ in Bool.random(using: &generator) }.map(
                AudienceLabel.init(unchecked:))
            var found: Set<Member> = []
            index.forEach(concernedBy: audience) { found.insert($0) }
            let expected = present.filter { entry in
                switch entry.value.0 {
                case .everything: true
                case .labels(let labels, let prefixes):
                    audience.contains { label in
                        labels.contains(label)
                            || label.contextName.map { name in
                                prefixes.contains { name.hasPrefix($0) }
                            } ?? false
                    }
                }
            }
            #expect(found == Set(expected.keys))
        }
        for entry in present.values { index.remove(entry.1) }
        #expect(index.isEmpty)
    }
}

@Suite struct Rings {
    private struct Block: RingBlock, Equatable {
        let first: Int64
        let last: Int64
        var byteCount = 10
    }

    @Test func `blocks that go on are kept up to the bound`() {
        var ring = Ring<Block>(head: 100, maximumBytes: 30)
        for index in Int64(0)..<200 {
            let block = Block(first: 101 + index * 2, last: 102 + index * 2)
            #expect(ring.append(block) == .continued)
            #expect(ring.byteCount <= 30)
            #expect(ring.head == block.last)
            #expect(ring.low == max(100, block.last - 6))
        }
        #expect(ring.blocks(after: ring.low).map(\.first) == [495, 497, 499])
        #expect(ring.blocks(after: 497).map(\.first) == [497, 499], "the first holds 498")
        #expect(ring.blocks(after: 500).isEmpty)
    }

    @Test func `a block twice is known, one too far is a gap`() {
        var ring = Ring<Block>(head: 0, maximumBytes: 100)
        #expect(ring.append(Block(first: 1, last: 5)) == .continued)
        #expect(ring.append(Block(first: 1, last: 5)) == .known)
        #expect(ring.append(Block(first: 8, last: 9)) == .gap)
        #expect(ring.low == 7)
        #expect(ring.head == 9)
        #expect(ring.blocks(after: 7).map(\.first) == [8])
    }

    @Test func `a ring without room keeps nothing and still moves on`() {
        var ring = Ring<Block>(head: 0, maximumBytes: 0)
        #expect(ring.append(Block(first: 1, last: 5)) == .continued)
        #expect(ring.low == 5)
        #expect(ring.head == 5)
        #expect(ring.append(Block(first: 6, last: 6)) == .continued)
    }

    @Test func `what lies below the floor is forgotten`() {
        var ring = Ring<Block>(head: 0, maximumBytes: 100)
        for first in stride(from: Int64(1), to: 10, by: 3) {
            _ = ring.append(Block(first: first, last: first + 2))
        }
        ring.raise(floor: 6)
        #expect(ring.low == 5)
        #expect(ring.blocks(after: 5).map(\.first) == [4, 7])
        ring.raise(floor: 3)
        #expect(ring.low == 5, "a floor never falls")
        ring.raise(floor: 100)
        #expect(ring.low == 9)
        #expect(ring.byteCount == 0)
    }

    @Test func `a reset forgets everything`() {
        var ring = Ring<Block>(head: 0, maximumBytes: 100)
        _ = ring.append(Block(first: 1, last: 5))
        ring.reset(head: 3)
        #expect(ring.low == 3)
        #expect(ring.byteCount == 0)
        #expect(ring.append(Block(first: 4, last: 4)) == .continued)
    }
}
