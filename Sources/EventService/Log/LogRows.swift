import EventCore

/// Reads the rows that `advance()`, `replay()` and `event_at()` return.
struct LogRows {
    private var types = InternTable<String>()
    private var audiences = InternTable<[AudienceLabel]>()

    /// The columns of an event in their order, from `column` on: position, event_id, at, bytes, op,
    /// conflate, type, key, audience, hidden_from, data, traceparent.
    mutating func event(_ rows: borrowing Rows, _ row: Int, from column: Int) -> Event {
        Event(
            envelope(rows, row, from: column),
            data: rows.isNull(row, column + 10) ? [] : rows.bytes(row, column + 10))
    }

    /// The same without the data.
    private mutating func envelope(_ rows: borrowing Rows, _ row: Int, from column: Int)
        -> EventEnvelope
    {
        EventEnvelope(
            position: rows.int64(row, column),
            eventID: rows.int64(row, column + 1),
            time: Timestamp(postgres: rows.int64(row, column + 2)),
            // A letter that this version does not know can only come from a newer migration.
            operation: EventOperation(rawValue: rows.byte(row, column + 4)) ?? .publish,
            conflates: rows.bool(row, column + 5),
            type: rows.withBytes(row, column + 6) { bytes in
                types.value(of: bytes) { String(decoding: $0, as: UTF8.self) }
            },
            key: rows.isNull(row, column + 7) ? nil : rows.text(row, column + 7),
            audience: labels(rows, row, column + 8),
            hiddenFrom: labels(rows, row, column + 9),
            traceParent: rows.isNull(row, column + 11)
                ? nil : TraceParent(rows.text(row, column + 11)))
    }

    private mutating func labels(
        _ rows: borrowing Rows, _ row: Int, _ column: Int
    ) -> [AudienceLabel] {
        rows.withBytes(row, column) { bytes in
            audiences.value(of: bytes) {
                Rows.textArray($0).map(AudienceLabel.init(unchecked:))
            }
        }
    }

    /// Encodes the events of all rows that have one, without a copy of their data in between.
    mutating func encode(
        _ rows: borrowing Rows, from column: Int, by encoder: EventEncoder, history: EpochHistory,
        to batch: inout EncodedBatch
    ) {
        var size = 0
        for row in 0..<rows.count { size += rows.length(row, column + 10) }
        batch.reserve(frames: rows.count, bytes: size)
        for row in 0..<rows.count where !rows.isNull(row, column) {
            let envelope = self.envelope(rows, row, from: column)
            rows.withBytes(row, column + 10) { data in
                data.withMemoryRebound(to: UInt8.self) {
                    encoder.append(envelope, data: $0.span, history: history, to: &batch)
                }
            }
        }
    }

    /// The rows of `attach()` and `bounds()`, from `column` on: epoch, first_position, head, floor; `nil`
    /// if there are none.
    static func bounds(_ rows: borrowing Rows, from column: Int = 0) -> LogBounds? {
        var entries: [EpochHistory.Entry] = []
        for row in 0..<rows.count {
            entries.append(
                EpochHistory.Entry(
                    epoch: rows.int64(row, column), firstPosition: rows.int64(row, column + 1)))
        }
        guard let history = EpochHistory(entries) else { return nil }
        return LogBounds(
            history: history, head: rows.int64(0, column + 2), floor: rows.int64(0, column + 3))
    }

    /// The sum of the data of all events, as `bytes` says.
    static func byteCount(_ events: [Event]) -> Int {
        events.reduce(0) { $0 + $1.data.count }
    }
}
