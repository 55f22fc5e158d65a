import EventCore

/// An application that writes to watched rows, in transactions of all kinds.
final class Writer {
    private let world: World
    private let database: Database
    private(set) var isAtWork = false
    var isStopped = false

    init(world: World, database: Database) {
        self.world = world
        self.database = database
    }

    func start() {
        world.after(100...20_000) { [self] in begin() }
    }

    private func begin() {
        guard !isStopped else { return }
        guard let transaction = database.begin() else { return start() }
        isAtWork = true
        write(transaction, left: world.number(1...6), isLong: world.chance(0.05))
    }

    private func write(_ transaction: Transaction, left: Int, isLong: Bool) {
        let delay = isLong ? 50_000...900_000 : 20...3000
        world.after(delay) { [self] in
            // A crash has ended it.
            guard database.transactions[transaction.xid] === transaction else { return next() }
            guard left > 0 else { return end(transaction) }
            let key = "\(world.number(1...8))"
            if database.isFree(key, for: transaction) {
                let labels = ["user:a", "user:b", "context:x", "*"].compactMap { AudienceLabel($0) }
                let audience = labels.filter { _ in world.chance(0.4) }
                let before = transaction.rows
                database.write(key, audience: audience, in: transaction)
                if world.chance(0.1) {
                    // ROLLBACK TO SAVEPOINT: the rows are gone, their numbers are used up.
                    world.count("savepoints rolled back")
                    transaction.rows = before
                }
            }
            write(transaction, left: left - 1, isLong: isLong)
        }
    }

    private func end(_ transaction: Transaction) {
        if world.chance(0.15) {
            world.count("transactions rolled back")
            database.rollBack(transaction)
        } else {
            world.count("transactions committed")
            database.commit(transaction, isAsynchronous: world.chance(0.2))
        }
        next()
    }

    private func next() {
        isAtWork = false
        start()
    }
}
