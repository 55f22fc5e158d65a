/// What was counted since `measure`.
struct Tally {
    /// Events delivered, over all streams.
    var events = 0
    var bytes = 0
    var heartbeats = 0
    var resets = 0
    /// Streams that the server ended as planned.
    var ends = 0
    /// Streams that broke, and were opened anew.
    var breaks = 0
    var reconnects = 0
    /// Requests that were answered with another status than 200.
    var refused: [Int: Int] = [:]
    /// Events whose id was not above the one before.
    var inversions = 0
    /// Positions that did not come, counted with `--dense` only.
    var gaps = 0
    var latency = LatencyHistogram()
    /// Until the last of the streams had the event, for events that all of them got.
    var completion = LatencyHistogram()
    /// How many streams have an event, by its time; gone once all have it.
    private var arrivals: [Int64: Int] = [:]

    /// An event of this time has come to one of so many streams.
    mutating func arrived(_ time: Int64, now: Int64, streams: Int) {
        latency.record(Int(now - time))
        guard streams > 1 else { return completion.record(Int(now - time)) }
        let count = (arrivals[time] ?? 0) + 1
        if count < streams {
            arrivals[time] = count
        } else {
            arrivals[time] = nil
            completion.record(Int(now - time))
        }
    }

    /// When the newest event was read, in microseconds since 1970.
    var lastEventAt: Int64 = 0
}
