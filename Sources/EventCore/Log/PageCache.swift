/// The newest shared pages of the log, for streams that catch up near each other.
///
/// Bounded by bytes: what was kept first goes first. After a storm nobody asks for them any more; so a
/// page that nobody wanted for a while goes, too.
public struct PageCache: Sendable {
    private var pages: [(after: Int64, page: LogPage, isWanted: Bool)] = []
    private let maximumBytes: Int

    /// Creates an empty cache; one page is kept however large it is.
    public init(maximumBytes: Int) {
        self.maximumBytes = maximumBytes
    }

    /// Whether nothing is kept.
    public var isEmpty: Bool { pages.isEmpty }

    /// Whether the page that begins behind a position is kept.
    public func contains(after position: Int64) -> Bool {
        pages.contains { $0.after == position }
    }

    /// The page that begins behind a position, if it is complete up to another.
    public mutating func page(after position: Int64, upTo needed: Int64) -> LogPage? {
        guard let index = pages.firstIndex(where: { $0.after == position }),
            pages[index].page.scanned >= needed
        else { return nil }
        pages[index].isWanted = true
        return pages[index].page
    }

    /// Keeps a page, in place of an older one that began behind the same position.
    public mutating func keep(_ page: LogPage, after position: Int64) {
        pages.removeAll { $0.after == position }
        pages.append((position, page, true))
        var bytes = pages.reduce(0) { $0 + $1.page.block.byteCount }
        while bytes > maximumBytes, pages.count > 1 {
            bytes -= pages.removeFirst().page.block.byteCount
        }
    }

    /// Gives up the pages that were neither kept nor asked for since the last call.
    public mutating func removeUnwanted() {
        pages.removeAll { !$0.isWanted }
        for index in pages.indices { pages[index].isWanted = false }
    }

    /// Gives up all pages.
    public mutating func removeAll() {
        pages = []
    }
}
