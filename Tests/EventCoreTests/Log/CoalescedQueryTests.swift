import EventCore
import Testing

/// A query in a box, for expectations cannot change a value.
private final class Asking {
    private var query = CoalescedQuery<Int>()

    func asks(_ waiter: Int) -> Bool { query.asked(by: waiter) }

    func answered() -> (waiters: [Int], isSentAgain: Bool) { query.answered() }
}

@Suite struct CoalescedQueries {
    @Test func `the first who asks has the query sent, and is answered`() {
        let query = Asking()
        #expect(query.asks(1))
        let (waiters, isSentAgain) = query.answered()
        #expect(waiters == [1])
        #expect(!isSentAgain)
    }

    @Test func `who asks while it is in flight is answered by the next alone`() {
        let query = Asking()
        #expect(query.asks(1))
        for waiter in 2...10_000 { #expect(!query.asks(waiter)) }
        var outcome = query.answered()
        #expect(outcome.waiters == [1])
        #expect(outcome.isSentAgain, "one query for all the others")
        #expect(!query.asks(10_001), "one is in flight")
        outcome = query.answered()
        #expect(outcome.waiters == Array(2...10_000))
        #expect(outcome.isSentAgain)
        outcome = query.answered()
        #expect(outcome.waiters == [10_001])
        #expect(!outcome.isSentAgain)
    }

    @Test func `after all are answered the next who asks has it sent again`() {
        let query = Asking()
        for waiter in 1...3 {
            #expect(query.asks(waiter))
            #expect(query.answered().waiters == [waiter])
        }
    }

    @Test func `an outcome that nobody waits for answers nobody`() {
        let query = Asking()
        let (waiters, isSentAgain) = query.answered()
        #expect(waiters.isEmpty && !isSentAgain)
        #expect(query.asks(1))
    }
}
