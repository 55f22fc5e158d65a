import Testing

@testable import EventCore

@Suite struct `Page cache` {
    /// A page behind `after` whose block takes 128 bytes.
    private func page(after: Int64, scanned: Int64) -> LogPage {
        LogPage(
            head: 100, floor: 1, scanned: scanned,
            block: FrameBlock(EncodedBatch(first: after + 1, last: scanned)))
    }

    @Test func `a page is found as far as it was read`() {
        var cache = PageCache(maximumBytes: 1000)
        #expect(cache.isEmpty)
        #expect(cache.page(after: 0, upTo: 1) == nil)
        cache.keep(page(after: 0, scanned: 7), after: 0)
        #expect(cache.page(after: 0, upTo: 7)?.scanned == 7)
        #expect(cache.page(after: 0, upTo: 8) == nil)
        #expect(cache.page(after: 1, upTo: 7) == nil)
        #expect(cache.contains(after: 0))
        #expect(!cache.contains(after: 7))
    }

    @Test func `a page that was read again takes the place of the first`() {
        var cache = PageCache(maximumBytes: 300)
        cache.keep(page(after: 0, scanned: 7), after: 0)
        cache.keep(page(after: 10, scanned: 20), after: 10)
        cache.keep(page(after: 0, scanned: 9), after: 0)
        #expect(cache.page(after: 0, upTo: 9)?.scanned == 9)
        #expect(cache.page(after: 10, upTo: 20) != nil)
    }

    @Test(arguments: [(0, 1), (128, 1), (256, 2), (300, 2), (384, 3)])
    func `what was kept first goes first, but one page stays`(bytes: Int, count: Int) {
        var cache = PageCache(maximumBytes: bytes)
        let starts: [Int64] = [0, 10, 20]
        for start in starts { cache.keep(page(after: start, scanned: start + 10), after: start) }
        #expect(starts.filter { cache.contains(after: $0) } == starts.suffix(count))
    }

    @Test func `a page that nobody wants for a whole while goes`() {
        var cache = PageCache(maximumBytes: 1000)
        cache.keep(page(after: 0, scanned: 10), after: 0)
        cache.keep(page(after: 10, scanned: 20), after: 10)
        cache.removeUnwanted()
        #expect(cache.contains(after: 0) && cache.contains(after: 10), "they have just come")
        _ = cache.page(after: 10, upTo: 20)
        _ = cache.page(after: 0, upTo: 11)
        cache.removeUnwanted()
        #expect(!cache.contains(after: 0), "a page that was of no use is not wanted")
        #expect(cache.contains(after: 10))
        cache.removeUnwanted()
        #expect(cache.isEmpty)
    }

    @Test func `nothing is left of another history`() {
        var cache = PageCache(maximumBytes: 1000)
        cache.keep(page(after: 0, scanned: 10), after: 0)
        cache.removeAll()
        #expect(cache.isEmpty)
        #expect(cache.page(after: 0, upTo: 1) == nil)
    }
}
