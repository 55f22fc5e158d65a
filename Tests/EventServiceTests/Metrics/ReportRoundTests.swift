import EventCore
import Testing

@testable import EventService

@Suite struct `Report rounds` {
    /// Runs a loop that asks some threads, of which a few answer, until the round has ended.
    private func partsOf(_ answers: Int, expecting: Int) throws -> (parts: [Int], after: Duration) {
        let loop = try EventLoop()
        let mailbox = try Mailbox<WorkerMessage>()
        let rounds = ReportRounds(loop: loop, replies: mailbox)
        let reader = try MailboxReader(mailbox, on: loop) { message in
            if case .roundComplete(let number) = message { rounds.ended(number) }
        }
        var result: [Int]?
        let began = MonotonicClock.now()
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
        withExtendedLifetime(reader) { loop.run() }
        let after = MonotonicClock.now() - began
        #expect(loop.timerCount == 0)
        return (try #require(result), after)
    }

    @Test func `a round ends when all have answered`() throws {
        let (parts, after) = try partsOf(3, expecting: 3)
        #expect(parts == [0, 1, 2])
        #expect(after < ReportRounds.patience)
    }

    @Test func `a thread that hangs does not hold up the others' numbers`() throws {
        let (parts, after) = try partsOf(2, expecting: 3)
        #expect(parts == [0, 1])
        #expect(after >= ReportRounds.patience)
    }
}
