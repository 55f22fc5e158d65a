import TestSupport
import Testing

@testable import EventCore

@Suite struct `Intake of messages` {
    private static let tasks = PartitionName(topic: "tasks", partition: 0)
    private static let others = PartitionName(topic: "tasks", partition: 1)

    private static func item(
        _ offset: Int64, of partition: PartitionName? = tasks, bytes: Int = 10,
        outcome: MappingOutcome? = nil
    ) -> IntakeItem {
        IntakeItem(
            outcome
                ?? .event(
                    BridgedEvent(
                        type: "a.b", key: "k", audience: [.everyone], data: Array("\(offset)".utf8),
                        deduplicationKey: "d\(offset)")),
            source: "s:\(offset)", message: [UInt8](repeating: 0x31, count: bytes),
            place: partition.map { .init(partition: $0, offset: offset, stamp: offset * 10) },
            receipt: "r\(offset)")
    }

    private static func queue(_ limits: IntakeQueue.Limits = .init()) -> IntakeQueue {
        var queue = IntakeQueue(source: "g", limits: limits)
        queue.assign(tasks, next: nil)
        queue.assign(others, next: 7)
        return queue
    }

    /// The data of a batch, as PostgreSQL reads them.
    private static func data(_ batch: IntakeBatch?) -> String { batch?.parameters[1] ?? "none" }

    @Test func `a batch says what it holds and where it believes each partition to stand`() {
        var queue = Self.queue()
        queue.add(Self.item(0))
        queue.add(Self.item(7, of: Self.others, outcome: .dropped))
        queue.add(Self.item(2))
        queue.add(Self.item(9, of: Self.others, outcome: .deadLetter("no \"type\"")))
        let batch = queue.nextBatch()
        #expect(
            batch?.parameters == [
                "[{\"type\":\"a.b\",\"audience\":[\"*\"],\"key\":\"k\",\"dedup_key\":\"d0\"}"
                    + ",{\"type\":\"a.b\",\"audience\":[\"*\"],\"key\":\"k\",\"dedup_key\":\"d2\"}]",
                "{\"0\",\"2\"}",
                "[{\"source\":\"s:9\",\"reason\":\"no \\\"type\\\"\",\"message\":\"1111111111\"}]",
                "[{\"source\":\"g\",\"topic\":\"tasks\",\"partition\":0,\"next\":3,\"stamp\":20}"
                    + ",{\"source\":\"g\",\"topic\":\"tasks\",\"partition\":1,\"expected\":7,\"next\":10,\"stamp\":90}]",
            ])
        #expect(queue.nextBatch() == nil, "one at a time")
        #expect(queue.committed() == ["r0", "r7", "r2", "r9"])
        #expect(queue.isEmpty)
        queue.add(Self.item(3))
        #expect(
            queue.nextBatch()?.offsets == [
                .init(partition: Self.tasks, expected: 3, next: 4, stamp: 30)
            ])
    }

    @Test func `what comes while a batch is under way waits for the next`() {
        var queue = Self.queue()
        queue.add(Self.item(0))
        #expect(Self.data(queue.nextBatch()) == "{\"0\"}")
        queue.add(Self.item(1))
        queue.add(Self.item(2))
        #expect(queue.nextBatch() == nil)
        _ = queue.committed()
        #expect(Self.data(queue.nextBatch()) == "{\"1\",\"2\"}")
    }

    @Test func `a batch that failed is sent again, with what has come meanwhile`() {
        var queue = Self.queue()
        queue.add(Self.item(0))
        _ = queue.nextBatch()
        queue.add(Self.item(1))
        queue.failed()
        #expect(Self.data(queue.nextBatch()) == "{\"0\",\"1\"}")
    }

    @Test func `batches and the queue have bounds`() {
        var limits = IntakeQueue.Limits()
        limits.messages = 4
        limits.batchMessages = 3
        limits.batchBytes = 1000
        var queue = Self.queue(limits)
        #expect(queue.nextBatch() == nil)
        for offset in 0..<3 { queue.add(Self.item(Int64(offset))) }
        #expect(!queue.isFull && !queue.hasRoom)
        queue.add(Self.item(3, bytes: 5000))
        queue.add(Self.item(4))
        #expect(queue.isFull)
        #expect(Self.data(queue.nextBatch()) == "{\"0\",\"1\",\"2\"}")
        _ = queue.committed()
        #expect(
            Self.data(queue.nextBatch()) == "{\"3\"}", "one that is larger than a batch goes alone")
        _ = queue.committed()
        #expect(queue.hasRoom)
    }

    @Test func `bytes fill the queue as messages do`() {
        var limits = IntakeQueue.Limits()
        limits.bytes = 10_000
        var queue = Self.queue(limits)
        queue.add(Self.item(0, bytes: 9000))
        #expect(!queue.isFull && !queue.hasRoom)
        queue.add(Self.item(1, bytes: 9000))
        #expect(queue.isFull)
        _ = queue.nextBatch()
        _ = queue.committed()
        #expect(queue.isEmpty && queue.hasRoom)
    }

    /// Whichever of so many is bad, it is found, and all others are taken in, in their order.
    @Test(arguments: [1, 2, 3, 5, 8, 100, 1000])
    func `what the database takes for bad is found and becomes a dead letter`(count: Int) {
        var random = SeededGenerator(seed: UInt64(count))
        let bad = Set((0..<3).map { _ in Int64.random(in: 0..<Int64(count), using: &random) })
        var queue = Self.queue()
        for offset in 0..<Int64(count) { queue.add(Self.item(offset, bytes: 3)) }
        var taken: [String] = []
        var attempts = 0
        var found: [String] = []
        while attempts < 200, let batch = queue.nextBatch() {
            attempts += 1
            if bad.contains(where: { batch.parameters[1].contains("\"\($0)\"") }) {
                if let letter = queue.foundBad(reason: "refused") { found.append(letter.source) }
            } else {
                taken += queue.committed()
            }
        }
        #expect(found == bad.sorted().map { "s:\($0)" })
        #expect(taken == (0..<count).map { "r\($0)" })
    }

    // MARK: Partitions that move

    @Test func `what waits of a revoked partition is for the other`() {
        var queue = Self.queue()
        queue.add(Self.item(0))
        queue.add(Self.item(7, of: Self.others))
        _ = queue.nextBatch()
        queue.add(Self.item(1))
        queue.add(Self.item(8, of: Self.others))
        queue.revoke(Self.tasks)
        #expect(queue.count == 3, "what is under way stays until its fate is known")
        queue.failed()
        #expect(Self.data(queue.nextBatch()) == "{\"7\",\"8\"}")
        _ = queue.committed()
        // Given back, with what the other has done.
        queue.assign(Self.tasks, next: 5)
        queue.add(Self.item(5))
        #expect(queue.nextBatch()?.offsets.first?.expected == 5)
    }

    @Test func `what was under way of a partition that went and came back is not there twice`() {
        var queue = Self.queue()
        queue.add(Self.item(0))
        queue.add(Self.item(7, of: Self.others))
        _ = queue.nextBatch()
        queue.revoke(Self.tasks)
        queue.failed()
        queue.assign(Self.tasks, next: nil)
        queue.add(Self.item(0))
        #expect(Self.data(queue.nextBatch()) == "{\"7\",\"0\"}")
    }

    @Test func `what the database takes for bad is no dead letter where the partition went`() {
        var queue = Self.queue()
        queue.add(Self.item(0))
        _ = queue.nextBatch()
        queue.revoke(Self.tasks)
        #expect(queue.foundBad(reason: "bad") == nil)
        #expect(queue.isEmpty)
    }

    @Test func `a batch whose answer was lost is not taken for another's work`() {
        var queue = Self.queue()
        queue.add(Self.item(0))
        queue.add(Self.item(1))
        _ = queue.nextBatch()
        queue.failed()
        queue.add(Self.item(2))
        _ = queue.nextBatch()
        #expect(queue.stands(Self.tasks, at: 2) == .skip(2))
        #expect(Self.data(queue.nextBatch()) == "{\"2\"}")
        _ = queue.committed()
        queue.add(Self.item(3))
        #expect(
            queue.nextBatch()?.offsets == [
                .init(partition: Self.tasks, expected: 3, next: 4, stamp: 30)
            ])
    }

    @Test func `a partition that another node has taken further goes on there`() {
        var queue = Self.queue()
        for offset in 0..<3 { queue.add(Self.item(Int64(offset))) }
        queue.add(Self.item(7, of: Self.others))
        _ = queue.nextBatch()
        #expect(queue.stands(Self.tasks, at: 10) == .skip(10))
        #expect(Self.data(queue.nextBatch()) == "{\"7\"}")
    }

    @Test func `a database that is an older copy of itself gets again what it lost`() {
        var queue = Self.queue()
        queue.add(Self.item(7, of: Self.others))
        _ = queue.nextBatch()
        _ = queue.committed()
        queue.add(Self.item(8, of: Self.others))
        _ = queue.nextBatch()
        #expect(queue.stands(Self.others, at: 7) == .seek(7))
        #expect(queue.isEmpty)
        queue.add(Self.item(7, of: Self.others))
        #expect(queue.nextBatch()?.offsets.first?.expected == 7)
        // It has never heard of the partition.
        #expect(queue.stands(Self.others, at: nil) == .seek(nil))
        #expect(queue.stands(PartitionName(topic: "gone", partition: 0), at: 3) == .none)
    }

    @Test func `a queue that was full tells that there is room also when all of it is another's`() {
        var limits = IntakeQueue.Limits()
        limits.messages = 4
        for (next, correction) in [
            (9, IntakeQueue.Correction.skip(9)), (nil, .seek(nil)),
        ] as [(Int64?, IntakeQueue.Correction)] {
            var queue = Self.queue(limits)
            for offset in 0..<4 { queue.add(Self.item(Int64(offset))) }
            #expect(queue.isFull)
            #expect(queue.emptied() == false, "nothing has left it")
            _ = queue.nextBatch()
            #expect(queue.stands(Self.tasks, at: next) == correction)
            #expect(queue.isEmpty)
            #expect(queue.emptied() == true, "else its source waits for ever")
            #expect(queue.emptied() == false, "said once")
        }
    }

    @Test func `a dead letter is text, however it came`() {
        var bytes: [UInt8] = []
        DeadLetter(source: "s", reason: "r", message: [0x61, 0x00, 0xFF, 0x22, 0x0A]).appendJSON(
            to: &bytes)
        #expect(
            String(decoding: bytes, as: UTF8.self)
                == "{\"source\":\"s\",\"reason\":\"r\",\"message\":\"a\u{FFFD}\u{FFFD}\\\"\\n\"}")
        bytes = []
        DeadLetter(source: "s", reason: "r", message: [UInt8](repeating: 0x61, count: 2 << 20))
            .appendJSON(to: &bytes)
        #expect(bytes.count == DeadLetter.maximumBytes + 40)
    }
}
