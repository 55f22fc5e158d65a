import EventCore

/// Raises the floor of the log, and later drops what lies below it.
///
/// Every node does it, the database lets one at a time. What is dropped in a round is what the round
/// before left below the floor: a page that was being read meanwhile has long ended.
final class Retention {
    private let pool: ConnectionPool
    private let reader: LogReader
    private let keep: Duration
    private let interval: Duration
    private let log: Log
    private let onFloor: (Int64) -> Void
    private var timer: LoopTimer?
    /// The floor that the round before reached, of the log whose newest epoch this is.
    private var reached: (epoch: Int64, floor: Int64) = (0, 0)

    init(
        loop: EventLoop, pool: ConnectionPool, reader: LogReader, keep: Duration, log: Log,
        onFloor: @escaping (Int64) -> Void
    ) {
        self.onFloor = onFloor
        self.pool = pool
        self.reader = reader
        self.keep = keep
        self.log = log
        interval = min(max(keep / 10, .seconds(1)), .seconds(60))
        timer = LoopTimer(loop) { [unowned self] _ in raiseFloor() }
        timer?.set(after: interval)
    }

    private var keepInterval: String { "\(keep.wholeMilliseconds) milliseconds" }

    private func raiseFloor() {
        timer?.set(after: interval)
        let history = reader.history
        let query = Query(
            "raise the floor",
            "SELECT \(LogReader.newestEpoch), event_service.raise_floor($1::interval)",
            [keepInterval])
        pool.run(query) { [weak self] outcome in
            guard let self else { return }
            switch consume outcome {
            case .failed(let error):
                log.debug("retention: not done", ["error": error.description])
            case .rows(let rows):
                // The floor of another log is not this node's.
                let (epoch, floor) = (rows.int64(0, 0), rows.int64(0, 1))
                guard reader.finds(epoch, since: history) else { return }
                onFloor(floor)
                if epoch != reached.epoch { reached = (epoch, 0) }
                sweep(below: reached.floor)
                if floor > reached.floor {
                    log.debug("retention: floor raised", ["floor": String(floor)])
                }
                reached.floor = floor
            }
        }
    }

    private func sweep(below floor: Int64) {
        guard floor > 0 else { return }
        let query = Query(
            "drop what has expired", "SELECT event_service.sweep($1, $2::interval)",
            [String(floor), keepInterval], timeout: .seconds(60))
        pool.run(query) { [weak self] outcome in
            guard let self else { return }
            switch consume outcome {
            case .failed(let error):
                log.warning("retention: not done", ["error": error.description])
            case .rows(let rows):
                if rows.bool(0, 0) { sweep(below: floor) }
            }
        }
    }
}
