import EventCore
import Testing

@Suite struct `Epoch history` {
    static func history(_ entries: (Int64, Int64)...) throws -> EpochHistory {
        try #require(EpochHistory(entries.map { .init(epoch: $0.0, firstPosition: $0.1) }))
    }

    @Test func `an epoch covers its positions and those before it stay what they were`() throws {
        let history = try Self.history((1000, 1), (2000, 101), (3000, 101), (4000, 151))
        #expect([0, 1, 100].allSatisfy { history.epoch(of: $0) == 1000 })
        #expect([101, 150].allSatisfy { history.epoch(of: $0) == 3000 })
        #expect(history.epoch(of: 151) == 4000)
        #expect(history.contains(Cursor(epoch: 1000, position: 100)))
        #expect(!history.contains(Cursor(epoch: 1000, position: 101)))
        #expect(
            !history.contains(Cursor(epoch: 2000, position: 101)), "nothing was ever given in it")
        #expect(!history.contains(Cursor(epoch: 3000, position: 100)))
        #expect(!history.contains(Cursor(epoch: 999, position: 1)))
    }

    @Test func `a fork is the first position that may differ`() throws {
        let first = try Self.history((1000, 1))
        let second = try Self.history((1000, 1), (2000, 101))
        #expect(first.fork(from: first) == nil)
        #expect(second.fork(from: first) == 101)
        #expect(
            try Self.history((1000, 1), (3000, 120)).fork(from: second) == 101,
            "our 101 … 119 were another's")
        #expect(try Self.history((1000, 1), (3000, 90)).fork(from: second) == 90)
        #expect(first.fork(from: second) == 101, "an older copy took over")
        #expect(try Self.history((5000, 1)).fork(from: first) == 1)
    }

    @Test func `there is no history without an epoch`() {
        #expect(EpochHistory([]) == nil)
    }
}

@Suite struct `Where a stream begins` {
    static func bounds(floor: Int64 = 51) throws -> LogBounds {
        LogBounds(
            history: try `Epoch history`.history((1000, 1), (2000, 101)), head: 200, floor: floor)
    }

    @Test(arguments: [
        ("now", StreamStart(position: 200, resumed: .fresh)),
        ("earliest", StreamStart(position: 50, resumed: .fresh)),
        ("2000-200", StreamStart(position: 200, resumed: .complete)),
        ("2000-101", StreamStart(position: 101, resumed: .complete)),
        ("1000-100", StreamStart(position: 100, resumed: .complete)),
        ("1000-50", StreamStart(position: 50, resumed: .complete)),
        ("1000-49", StreamStart(position: 200, resumed: .gap, reset: .expired)),
        ("1000-0", StreamStart(position: 200, resumed: .gap, reset: .expired)),
        ("2000-201", StreamStart(position: 200, resumed: .gap, reset: .ahead)),
        ("1000-101", StreamStart(position: 200, resumed: .gap, reset: .unknownEpoch)),
        ("3000-1", StreamStart(position: 200, resumed: .gap, reset: .unknownEpoch)),
    ])
    func `a since is served or reset`(since: String, start: StreamStart) throws {
        let request = try #require(StartRequest(since: since))
        #expect(try Self.bounds().start(request, gap: .head) == start)
    }

    @Test(arguments: [
        "", "0", "abc", "1000", "1000-", "2000-200 ", "-1", "2026-11-23T00:00:00Z", "now",
    ])
    func `an unreadable Last-Event-ID is malformed`(_ id: String) throws {
        let start = try Self.bounds().start(StartRequest(lastEventID: id), gap: .head)
        #expect(start == StreamStart(position: 200, resumed: .gap, reset: .malformed))
    }

    @Test func `after a reset the stream goes on where the client asked for`() throws {
        #expect(try Self.bounds().start(.malformed("x"), gap: .earliest).position == 50)
    }

    @Test func `a time is the position before it, unless that was dropped`() throws {
        let time = StartRequest.time(Timestamp(microseconds: 1))
        #expect(try Self.bounds().start(time, gap: .head, positionBefore: 120).position == 120)
        #expect(try Self.bounds().start(time, gap: .head, positionBefore: 50).reset == nil)
        #expect(try Self.bounds().start(time, gap: .head, positionBefore: 49).reset == .expired)
        #expect(try Self.bounds().start(time, gap: .head, positionBefore: nil).reset == .expired)
        let whole = try Self.bounds(floor: 1).start(time, gap: .head, positionBefore: nil)
        #expect(whole == StreamStart(position: 0, resumed: .fresh))
    }

    @Test func `an empty log is served`() throws {
        let bounds = LogBounds(history: try `Epoch history`.history((1000, 1)), head: 0, floor: 1)
        #expect(bounds.start(.now, gap: .head) == StreamStart(position: 0, resumed: .fresh))
        #expect(bounds.start(.earliest, gap: .head).position == 0)
        #expect(bounds.headCursor.description == "1000-0")
        let after = StartRequest.after(Cursor(epoch: 1000, position: 0))
        #expect(bounds.start(after, gap: .head).resumed == .complete)
    }
}

@Suite struct `Parameters of a stream` {
    private static func parameters(_ query: String, id: String? = nil) throws -> StreamParameters {
        var parser = HTTPRequestParser(limits: .init(headBytes: 4096, bodyBytes: 0))
        let field = id.map { "Last-Event-ID: \($0)\r\n" } ?? ""
        parser.append(Array("GET /?\(query) HTTP/1.1\r\nHost: a\r\n\(field)\r\n".utf8))
        let request = try #require(try parser.next())
        return try StreamParameters(request, query: try #require(QueryString(request.query)))
    }

    @Test func `the header wins over last_event_id, and that over since`() throws {
        let all = "since=earliest&last_event_id=1-1"
        #expect(try Self.parameters(all, id: "1-2").start == .after(Cursor(epoch: 1, position: 2)))
        #expect(try Self.parameters(all).start == .after(Cursor(epoch: 1, position: 1)))
        #expect(try Self.parameters(all, id: "").start == .after(Cursor(epoch: 1, position: 1)))
        #expect(try Self.parameters("since=earliest").start == .earliest)
        #expect(try Self.parameters("since=earliest&last_event_id=").start == .earliest)
        #expect(try Self.parameters("").start == .now)
        #expect(try Self.parameters("since=earliest", id: "x").start == .malformed("x"))
    }

    @Test func `filters are read from lists`() throws {
        let parameters = try Self.parameters(
            "context=a,b&context=c&type=task.*,x.y&key=1,2&gap=earliest")
        #expect(parameters.filter.contexts == ["a", "b", "c"])
        #expect(parameters.filter.types.map(\.text) == ["task.*", "x.y"])
        #expect(Set(parameters.filter.keys) == ["1,2", "1", "2"])
        #expect(parameters.gap == .earliest)
    }

    @Test(arguments: [
        "since=x", "since=", "since=x&last_event_id=1-1", "gap=x", "gap=", "type=a%20b", "type=*x",
        "since=now&since=now",
        "gap=head&gap=head",
    ])
    func `a bad parameter is a 400 that names it`(_ query: String) throws {
        let problem = #expect(throws: Problem.self) { try Self.parameters(query) }
        #expect(problem?.status == 400)
        #expect(problem?.detail.hasPrefix(String(query.prefix { $0 != "=" })) == true)
    }

    @Test(arguments: [
        ("limit=1&wait=0", 1, 0), ("limit=1000&wait=30", 1000, 30_000), ("wait=0.5", 100, 500),
        ("wait=250ms", 100, 250), ("wait=1.5e-1", 100, 150), ("wait=1e-300", 100, 0), ("", 100, 0),
    ])
    func `history takes limit and wait`(query: String, limit: Int, milliseconds: Int) throws {
        let parameters = try HistoryParameters(query: try #require(QueryString(query)))
        #expect(parameters.limit == limit)
        #expect(parameters.wait == .milliseconds(milliseconds))
    }

    @Test(arguments: [
        "limit=0", "limit=1001", "limit=x", "limit=", "limit=-1", "wait=31", "wait=-1", "wait=x",
        "wait=", "wait=1e9", "wait=nan", "wait=inf", "wait=0x1", "wait=-1e-9", "wait=e",
        "wait=1e1e1", "limit=1&limit=1",
    ])
    func `history refuses what is out of range`(_ query: String) throws {
        let parsed = try #require(QueryString(query))
        let problem = #expect(throws: Problem.self) { try HistoryParameters(query: parsed) }
        #expect(problem?.status == 400)
    }
}
