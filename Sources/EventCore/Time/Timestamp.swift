/// A moment on the database's clock, to the microsecond.
public struct Timestamp: Hashable, Comparable, Sendable {
    /// Microseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
    public let microseconds: Int64

    /// Creates a moment from microseconds since 1970.
    public init(microseconds: Int64) {
        self.microseconds = microseconds
    }

    /// Creates a moment from PostgreSQL's binary `timestamptz`: microseconds since 2000-01-01.
    public init(postgres microseconds: Int64) {
        self.microseconds = microseconds &+ 946_684_800_000_000
    }

    /// Earlier than.
    public static func < (left: Self, right: Self) -> Bool {
        left.microseconds < right.microseconds
    }

    private static let secondsADay: Int64 = 86_400

    /// The beginning of the year 1: RFC 3339 has a year 0, PostgreSQL's calendar has none.
    public static let firstYear = Timestamp(
        microseconds: daysSince1970(year: 1, month: 1, day: 1) * secondsADay * 1_000_000)
}

extension Timestamp {
    /// Reads an RFC 3339 time; digits of the second beyond the sixth are dropped.
    ///
    /// `2026-11-23T21:04:05Z`, `2026-11-23t21:04:05.123+01:00`. A blank may stand for the `T`. The
    /// second 60 is read as the next minute's first.
    public init?(rfc3339 text: String) {
        var scanner = DigitScanner(Array(text.utf8))
        guard let year = scanner.number(digits: 4), scanner.skip("-"),
            let month = scanner.number(digits: 2), (1...12).contains(month), scanner.skip("-"),
            let day = scanner.number(digits: 2), (1...Self.days(of: month, in: year)).contains(day),
            scanner.skip("Tt "),
            let hour = scanner.number(digits: 2), hour <= 23, scanner.skip(":"),
            let minute = scanner.number(digits: 2), minute <= 59, scanner.skip(":"),
            let second = scanner.number(digits: 2), second <= 60,
            let fraction = scanner.fraction(), let offset = scanner.offset(), scanner.isAtEnd
        else { return nil }
        let days = Self.daysSince1970(year: year, month: month, day: day)
        let seconds = days * Self.secondsADay + hour * 3600 + minute * 60 + second - offset * 60
        self.init(microseconds: seconds * 1_000_000 + fraction)
    }

    /// Appends the moment as RFC 3339 in UTC with six digits of the second.
    public func append(to bytes: inout [UInt8]) {
        let (day, microsecondOfDay) = microseconds.flooringDivision(
            by: Self.secondsADay * 1_000_000)
        let (year, month, dayOfMonth) = Self.civil(daysSince1970: day)
        let second = microsecondOfDay / 1_000_000
        bytes.appendDecimal(year, width: 4)
        bytes.append(UInt8(ascii: "-"))
        bytes.appendDecimal(month, width: 2)
        bytes.append(UInt8(ascii: "-"))
        bytes.appendDecimal(dayOfMonth, width: 2)
        bytes.append(UInt8(ascii: "T"))
        bytes.appendDecimal(second / 3600, width: 2)
        bytes.append(UInt8(ascii: ":"))
        bytes.appendDecimal(second / 60 % 60, width: 2)
        bytes.append(UInt8(ascii: ":"))
        bytes.appendDecimal(second % 60, width: 2)
        bytes.append(UInt8(ascii: "."))
        bytes.appendDecimal(microsecondOfDay % 1_000_000, width: 6)
        bytes.append(UInt8(ascii: "Z"))
    }

    // The civil calendar in closed form: years are counted from March, so that the leap day is the
    // last of its year, and in eras of 400 years, which all have 146,097 days.

    private static func daysSince1970(year: Int64, month: Int64, day: Int64) -> Int64 {
        let (era, yearOfEra) = (month <= 2 ? year - 1 : year).flooringDivision(by: 400)
        let dayOfYear = (153 * ((month + 9) % 12) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    private static func civil(daysSince1970: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let (era, dayOfEra) = (daysSince1970 + 719_468).flooringDivision(by: 146_097)
        let yearOfEra =
            (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
    }

    private static func days(of month: Int64, in year: Int64) -> Int64 {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }
}

/// Writes moments that mostly lie within the same second.
struct TimestampWriter {
    private var second = Int64.min
    /// `2026-11-23T21:04:05.`
    private var text: [UInt8] = []

    /// Appends a moment as `Timestamp.append(to:)` does.
    mutating func append(_ time: Timestamp, to bytes: inout [UInt8]) {
        let (second, fraction) = time.microseconds.flooringDivision(by: 1_000_000)
        if second != self.second {
            self.second = second
            text.removeAll(keepingCapacity: true)
            time.append(to: &text)
            text.removeLast(7)
        }
        bytes.append(contentsOf: text)
        bytes.appendDecimal(fraction, width: 6)
        bytes.append(UInt8(ascii: "Z"))
    }
}

extension Timestamp {
    /// The moment as HTTP's `Date` has it (RFC 9110, section 5.6.7): `Mon, 23 Nov 2026 21:04:05 GMT`.
    public var httpDate: String {
        let (day, microsecondOfDay) = microseconds.flooringDivision(
            by: Self.secondsADay * 1_000_000)
        let (year, month, dayOfMonth) = Self.civil(daysSince1970: day)
        let second = microsecondOfDay / 1_000_000
        let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        let months = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ]
        var bytes: [UInt8] = []
        bytes.append(contentsOf: weekdays[Int(day.flooringDivision(by: 7).remainder)].utf8)
        bytes.append(", ")
        bytes.appendDecimal(dayOfMonth, width: 2)
        bytes.append(contentsOf: " \(months[Int(month - 1)]) \(year) ".utf8)
        bytes.appendDecimal(second / 3600, width: 2)
        bytes.append(":")
        bytes.appendDecimal(second / 60 % 60, width: 2)
        bytes.append(":")
        bytes.appendDecimal(second % 60, width: 2)
        bytes.append(" GMT")
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension Timestamp: CustomStringConvertible {
    /// RFC 3339 in UTC with six digits of the second.
    public var description: String {
        var bytes: [UInt8] = []
        append(to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension Int64 {
    fileprivate func flooringDivision(by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }
}

/// Reads fixed numbers of digits, one after the other.
private struct DigitScanner {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) {
        rest = bytes[...]
    }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func number(digits count: Int) -> Int64? {
        guard rest.count >= count else { return nil }
        var value: Int64 = 0
        for digit in rest.prefix(count) {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
            value = value * 10 + Int64(digit - UInt8(ascii: "0"))
        }
        rest = rest.dropFirst(count)
        return value
    }

    mutating func skip(_ oneOf: StaticString) -> Bool {
        guard let first = rest.first, oneOf.description.utf8.contains(first) else { return false }
        rest = rest.dropFirst()
        return true
    }

    /// `.123…` in microseconds, 0 without one, `nil` for a point without a digit.
    mutating func fraction() -> Int64? {
        guard skip(".") else { return 0 }
        var value: Int64 = 0
        var count = 0
        while let digit = number(digits: 1) {
            if count < 6 { value = value * 10 + digit }
            count += 1
        }
        guard count > 0 else { return nil }
        for _ in min(count, 6)..<6 { value *= 10 }
        return value
    }

    /// `Z` or `±HH:MM` in minutes.
    mutating func offset() -> Int64? {
        if skip("Zz") { return 0 }
        // In a query string an unescaped plus arrives as a blank.
        let sign: Int64 = skip("+ ") ? 1 : skip("-") ? -1 : 0
        guard sign != 0, let hours = number(digits: 2), hours <= 23, skip(":"),
            let minutes = number(digits: 2), minutes <= 59
        else { return nil }
        return sign * (hours * 60 + minutes)
    }
}
