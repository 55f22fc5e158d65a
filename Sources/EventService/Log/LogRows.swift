import EventCore

/// Reads the rows that `advance()`, `replay()` and `event_at()` return.
enum LogRows {
    /// The columns of an event in their order, from `column` on: position, event_id, at, bytes, op,
    /// conflate, type, key, audience, hidden_from, data.
    static func event(_ rows: borrowing Rows, _ row: Int, from column: Int) -> Event {
        Event(
            position: rows.int64(row, column),
            eventID: rows.int64(row, column + 1),
            time: Timestamp(postgres: rows.int64(row, column + 2)),
            // A letter that this version does not know can only come from a newer migration.
            operation: EventOperation(rawValue: rows.byte(row, column + 4)) ?? .publish,
            conflates: rows.bool(row, column + 5),
            type: rows.text(row, column + 6),
            key: rows.isNull(row, column + 7) ? nil : rows.text(row, column + 7),
            audience: rows.textArray(row, column + 8).map(AudienceLabel.init(unchecked:)),
            hiddenFrom: rows.textArray(row, column + 9).map(AudienceLabel.init(unchecked:)),
            data: rows.isNull(row, column + 10) ? [] : rows.bytes(row, column + 10))
    }

    /// The rows of `attach()`: epoch, first_position, head, floor; `nil` if there are none.
    static func bounds(_ rows: borrowing Rows) -> LogBounds? {
        var entries: [EpochHistory.Entry] = []
        for row in 0..<rows.count {
            entries.append(
                EpochHistory.Entry(epoch: rows.int64(row, 0), firstPosition: rows.int64(row, 1)))
        }
        guard let history = EpochHistory(entries) else { return nil }
        return LogBounds(history: history, head: rows.int64(0, 2), floor: rows.int64(0, 3))
    }

    /// The sum of the data of all events, as `bytes` says.
    static func byteCount(_ events: [Event]) -> Int {
        events.reduce(0) { $0 + $1.data.count }
    }
}
