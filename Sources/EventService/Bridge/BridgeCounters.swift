import EventCore
import Synchronization

/// What one bridge counts. Its thread writes, anybody reads.
final class BridgeCounters: Sendable {
    /// Such as `redis:event-service:in`: unique on a node.
    let name: String

    /// Messages that came in.
    let received = Atomic<Int>(0)
    /// Events that they became; a repeat becomes none.
    let added = Atomic<Int>(0)
    /// Events that went out.
    let sent = Atomic<Int>(0)
    /// Messages that the settings leave out.
    let dropped = Atomic<Int>(0)
    /// Batches that were sent again.
    let retried = Atomic<Int>(0)
    /// Dead letters.
    let deadLettered = Atomic<Int>(0)
    /// How often something may have been missed that nobody can know of.
    let missed = Atomic<Int>(0)
    /// What is still to be done: messages that wait, or positions up to the head.
    let lag = Atomic<Int>(0)
    /// 1 while the other side is there, else 0.
    let connected = Atomic<Int>(0)
    /// 1 while this node does the work, else 0: another does.
    let active = Atomic<Int>(0)
    /// For how many nanoseconds the thread did not wait.
    let busy = Atomic<Int>(0)

    init(name: String) {
        self.name = name
    }

    /// What it says on a page of metrics.
    var report: BridgeReport {
        func value(_ counter: borrowing Atomic<Int>) -> Int { counter.load(ordering: .relaxed) }
        return BridgeReport(
            name: name,
            counts: [
                .received: value(received), .added: value(added), .sent: value(sent),
                .dropped: value(dropped), .retried: value(retried),
                .deadLettered: value(deadLettered), .missed: value(missed), .lag: value(lag),
                .connected: value(connected), .active: value(active),
            ], busy: .nanoseconds(value(busy)))
    }

    /// The other side is there, or is not; returns whether that is news.
    func note(isConnected: Bool) -> Bool {
        let value = isConnected ? 1 : 0
        return connected.exchange(value, ordering: .relaxed) != value
    }

    /// Says what came of the bridge.
    func logEnd(to log: Log) {
        func text(_ counter: borrowing Atomic<Int>) -> String {
            String(counter.load(ordering: .relaxed))
        }
        log.info(
            "bridge: stopped",
            [
                "bridge": name, "received": text(received), "added": text(added),
                "sent": text(sent), "dropped": text(dropped), "retried": text(retried),
                "dead_lettered": text(deadLettered), "missed": text(missed),
            ])
    }
}

extension Atomic<Int> {
    /// Adds to a counter of which nothing else depends.
    func increase(by count: Int = 1) {
        add(count, ordering: .relaxed)
    }

    /// Sets a gauge.
    func set(_ value: Int) {
        store(value, ordering: .relaxed)
    }
}
