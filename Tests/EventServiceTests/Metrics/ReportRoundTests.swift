import EventCore
import Testing

@testable import EventService

@Suite struct `Report rounds` {
    /// Runs a loop that asks some threads, of which a few answer, until the round has ended: because the
    /// last of them answered, or later.
    private func partsOf(
        _ answers: Int, expecting: Int
    ) throws -> (parts: [Int], isComplete: Bool, after: Duration) {
        let loop = try EventLoop()
        let mailbox = try Mailbox<WorkerMessage>()
        let rounds = ReportRounds(loop: loop, replies: mailbox)
        var isComplete = false
        let reader = try MailboxReader(mailbox, on: loop) { message in
            guard case .roundComplete(let number) = message else { return }
            isComplete = true
            rounds.ended(number)
        }
        var result: [Int]?
        var began = loop.now
        // In a turn of the loop, whose time is what timers count from.
        let start = LoopTimer(loop) { now in
            began = now
            rounds.begin(
                expecting: expecting,
                ask: { (round: ReportRound<Int>) in
                    for number in 0..<answers { round.add(number) }
                },
                completion: { parts in
                    #expect(result == nil, "it ends once")
                    result = parts
                    loop.stop()
                })
        }
        start.set(after: .zero)
        withExtendedLifetime(reader) { loop.run() }
        #expect(loop.timerCount == 0)
        return (try #require(result), isComplete, MonotonicClock.now() - began)
    }

    @Test func `a round ends when all have answered`() throws {
        let (parts, isComplete, _) = try partsOf(3, expecting: 3)
        #expect(parts == [0, 1, 2])
        #expect(isComplete)
    }

    @Test func `a thread that hangs does not hold up the others' numbers`() throws {
        let (parts, isComplete, after) = try partsOf(2, expecting: 3)
        #expect(parts == [0, 1])
        #expect(!isComplete)
        #expect(after >= ReportRounds.patience)
    }
}
