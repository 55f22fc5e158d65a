import EventCore

/// What really happened, kept beside everything that can fail.
final class Truth {
    private var lastSerial = 0
    /// The event that was given each id.
    private(set) var events: [Cursor: Captured] = [:]
    /// The history as it stood in each epoch.
    private(set) var histories: [Int64: EpochHistory] = [:]
    /// How often the database's history forked.
    private(set) var forks = 0
    /// The highest floor that there ever was.
    private(set) var highestFloor: Int64 = 1

    func newSerial() -> Int {
        lastSerial += 1
        return lastSerial
    }

    func opened(_ epoch: Int64, _ history: EpochHistory?, _ world: World) {
        world.count("epochs opened")
        if let other = histories[epoch], other != history {
            world.violation("epoch \(epoch) was opened in two histories")
        }
        histories[epoch] = history
    }

    func forked() {
        forks += 1
    }

    func raised(floor: Int64) {
        highestFloor = max(highestFloor, floor)
    }

    /// An event was given an id, durably. An id stands for one event for ever.
    func sequenced(_ row: Captured, at cursor: Cursor?, _ world: World) {
        guard let cursor else { return world.violation("an event was sequenced without an epoch") }
        if let other = events[cursor], other.serial != row.serial {
            world.violation(
                "\(cursor) stood for write \(other.serial), and stands for \(row.serial)")
        }
        events[cursor] = row
        world.count("events sequenced")
    }

    /// The events of a stretch of the history of an epoch, both ends left out, that are for somebody.
    func missed(
        between low: Int64, and high: Int64, in epoch: Int64, for subscription: Subscription
    ) -> [Cursor] {
        guard let history = histories[epoch], low + 1 < high else { return [] }
        return (low + 1..<high).map { history.cursor(at: $0) }.filter { cursor in
            guard let row = events[cursor] else { return false }
            return subscription.admits(
                type: "sim.updated", key: row.key, audience: row.audience, hiddenFrom: [])
        }
    }
}
