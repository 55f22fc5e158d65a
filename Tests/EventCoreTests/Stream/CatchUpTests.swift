import EventCore
import TestSupport
import Testing

@Suite struct `Catching up` {
    @Test func `within the ring a stream needs no page`() {
        var catchUp = CatchUp(position: 50)
        #expect(
            catchUp.next(ringLow: 40, ringHead: 60, socketIsDrained: true)
                == .deliverFromRing(after: 50))
        catchUp.delivered(upTo: 60)
        #expect(catchUp.next(ringLow: 40, ringHead: 60, socketIsDrained: true) == .becomeLive)
        #expect(catchUp.isLive)
        #expect(
            catchUp.next(ringLow: 40, ringHead: 70, socketIsDrained: true) == .none,
            "the hub delivers")
    }

    @Test func `at the ring's head a stream is live at once`() {
        var catchUp = CatchUp(position: 60)
        #expect(catchUp.next(ringLow: 40, ringHead: 60, socketIsDrained: true) == .becomeLive)
    }

    @Test func `behind the ring a stream asks for one page at a time`() {
        var catchUp = CatchUp(position: 10)
        #expect(
            catchUp.next(ringLow: 40, ringHead: 60, socketIsDrained: true)
                == .requestPage(after: 10))
        #expect(catchUp.next(ringLow: 40, ringHead: 60, socketIsDrained: true) == .none)
        catchUp.pageArrived(upTo: 30)
        #expect(
            catchUp.next(ringLow: 40, ringHead: 60, socketIsDrained: false) == .none,
            "the socket first")
        #expect(
            catchUp.next(ringLow: 40, ringHead: 60, socketIsDrained: true)
                == .requestPage(after: 30))
        catchUp.pageFailed()
        #expect(
            catchUp.next(ringLow: 40, ringHead: 60, socketIsDrained: true)
                == .requestPage(after: 30))
        catchUp.pageArrived(upTo: 40)
        #expect(
            catchUp.next(ringLow: 40, ringHead: 60, socketIsDrained: true)
                == .deliverFromRing(after: 40))
    }

    @Test func `a page may run ahead of the ring`() {
        var catchUp = CatchUp(position: 10)
        _ = catchUp.next(ringLow: 40, ringHead: 60, socketIsDrained: true)
        catchUp.pageArrived(upTo: 75)
        #expect(catchUp.next(ringLow: 40, ringHead: 60, socketIsDrained: true) == .becomeLive)
        #expect(catchUp.position == 75, "what the ring gets up to here was delivered")
    }

    @Test func `a stream that falls behind begins where it was`() {
        var catchUp = CatchUp(position: 60)
        _ = catchUp.next(ringLow: 40, ringHead: 60, socketIsDrained: true)
        catchUp.fellBehind(at: 80)
        #expect(!catchUp.isLive)
        #expect(
            catchUp.next(ringLow: 70, ringHead: 90, socketIsDrained: true)
                == .deliverFromRing(after: 80))
        catchUp.restarted(at: 5)
        #expect(
            catchUp.next(ringLow: 70, ringHead: 90, socketIsDrained: true) == .requestPage(after: 5)
        )
        catchUp.restarted(at: 90)
        catchUp.pageArrived(upTo: 20)
        #expect(catchUp.position == 90, "a page for what was given up moves nothing back")
    }

    /// A log that grows, a ring that forgets, a socket that is full now and then, pages that fail.
    @Test(arguments: 0..<300 as Range<UInt64>)
    func `whatever happens, each event is delivered once and in order`(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var head: Int64 = .random(in: 0...50, using: &generator)
        var (ringLow, ringHead) = (head, head)
        var catchUp = CatchUp(position: .random(in: 0...head, using: &generator))
        var delivered: [Int64] = []
        let first = catchUp.position + 1
        var pageIsUnderWay = false

        func deliver(_ range: ClosedRange<Int64>?) {
            delivered += range.map(Array.init) ?? []
        }
        for _ in 0..<400 {
            switch Int.random(in: 0..<7, using: &generator) {
            case 0:
                head += .random(in: 1...5, using: &generator)
            case 1 where head > ringHead:
                // A block reaches the ring, and the hub delivers it to a live stream.
                let last = Int64.random(in: ringHead + 1...head, using: &generator)
                if catchUp.isLive, last > catchUp.position {
                    deliver(max(ringHead, catchUp.position) + 1...last)
                    catchUp.delivered(upTo: last)
                }
                ringHead = last
            case 2:
                ringLow = .random(in: ringLow...ringHead, using: &generator)
            case 3 where catchUp.isLive:
                catchUp.fellBehind(at: max(ringHead, catchUp.position))
            case 4 where pageIsUnderWay:
                pageIsUnderWay = false
                if Bool.random(using: &generator) {
                    let last = min(head, catchUp.position + .random(in: 1...10, using: &generator))
                    deliver(last > catchUp.position ? catchUp.position + 1...last : nil)
                    catchUp.pageArrived(upTo: last)
                } else {
                    catchUp.pageFailed()
                }
            default:
                switch catchUp.next(
                    ringLow: ringLow, ringHead: ringHead,
                    socketIsDrained: .random(using: &generator))
                {
                case .requestPage(let after):
                    #expect(after == catchUp.position)
                    pageIsUnderWay = true
                case .deliverFromRing(let after):
                    #expect(after >= ringLow)
                    let last = Int64.random(in: after + 1...ringHead, using: &generator)
                    deliver(after + 1...last)
                    catchUp.delivered(upTo: last)
                case .becomeLive, .none:
                    break
                }
            }
        }
        #expect(delivered == Array(first..<first + Int64(delivered.count)))
        #expect(catchUp.isLive ? catchUp.position >= delivered.last ?? 0 : true)
    }
}

@Suite struct `Idle streams` {
    private static let policy = IdlePolicy(heartbeat: .seconds(15))
    private static let start = MonotonicTime.zero + .seconds(1000)

    @Test(
        arguments: [
            (14, 0, 0, IdlePolicy.Due.nothing(until: start + .seconds(15))), (15, 0, 0, .heartbeat),
            (15, 0, 9_999, .heartbeat), (15, 0, 10_000, .cursor), (15, 290, 1, .cursor),
            (15, 284, 1, .heartbeat),
            (15, 10_000, 0, .heartbeat),
        ] as [(Int, Int, Int64, IdlePolicy.Due)])
    func `a heartbeat comes after silence, a cursor when much has passed unseen`(
        silent: Int, earlier: Int, passed: Int64, due: IdlePolicy.Due
    ) {
        let now = Self.start + .seconds(silent)
        let lastID = MonotonicTime(
            nanoseconds: Self.start.nanoseconds - Int64(earlier) * 1_000_000_000)
        #expect(
            Self.policy.due(
                now: now, lastWrite: Self.start, lastID: (lastID, 100), position: 100 + passed)
                == due)
    }
}

@Suite struct `Deduplication window` {
    @Test func `the newest ids are remembered, the oldest forgotten`() {
        var window = DeduplicationWindow(capacity: 3)
        let first = [1, 2, 3, 2, 1].map { window.insert($0) }
        #expect(first == [true, true, true, false, false])
        let second = [4, 1, 4, 3].map { window.insert($0) }
        #expect(second == [true, true, false, false], "4 made 1 be forgotten, and 1 made 2 be")
        window.removeAll()
        let again = window.insert(4)
        #expect(again)
    }
}

@Suite struct `Back-off` {
    @Test func `delays are random below a bound that doubles`() {
        let backoff = Backoff(first: .milliseconds(100), maximum: .seconds(5))
        #expect(backoff.delay(failures: 1, random: 0) == .zero)
        #expect(backoff.delay(failures: 1, random: 0.5) == .milliseconds(50))
        #expect(backoff.delay(failures: 4, random: 0.5) == .milliseconds(400))
        #expect(backoff.delay(failures: 1000, random: 0.5) == .milliseconds(2500))
    }
}
