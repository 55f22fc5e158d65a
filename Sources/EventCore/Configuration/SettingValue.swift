/// What a source gave for a setting.
public enum SettingValue: Sendable, Equatable {
    /// A text, a number or a truth value, as it was written.
    case text(String)
    /// A list; in variables and flags the elements are separated by commas.
    case list([SettingValue])
    /// An object, by the names of its members.
    case object([String: SettingValue])

    /// The value of a setting that is not a list.
    var single: String? {
        if case .text(let text) = self { text } else { nil }
    }

    /// The elements of a list, or of a text with commas between them; empty ones left out.
    var elements: [String] {
        switch self {
        case .text(let text):
            text.split(separator: ",").map { $0.trimmingBlanks() }.filter { !$0.isEmpty }
        // What is no text is no element of anything either, and is refused as one.
        case .list(let list): list.map { $0.single ?? $0.shown }
        case .object: [shown]
        }
    }

    /// The value as an error message shows it.
    var shown: String {
        switch self {
        case .text(let text): "\"\(text)\""
        case .list(let list): "a list of \(list.count)"
        case .object: "an object"
        }
    }
}

/// Sizes in settings: `64KiB`, `1MiB`, plain bytes.
enum ByteSize {
    private static let units: [(suffix: String, shift: Int)] = [
        ("KiB", 10), ("MiB", 20), ("GiB", 30),
    ]

    static func parse(_ text: String) -> Int? {
        let unit = units.first { text.hasSuffix($0.suffix) }
        let digits = text.dropLast(unit?.suffix.count ?? 0)
        guard digits.allSatisfy(\.isNumber), let number = Int(digits) else { return nil }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: 1 << (unit?.shift ?? 0))
        return overflow ? nil : bytes
    }

    static func text(_ bytes: Int) -> String {
        let unit = units.last { bytes > 0 && bytes % (1 << $0.shift) == 0 }
        return unit.map { "\(bytes >> $0.shift)\($0.suffix)" } ?? "\(bytes)"
    }
}

/// Durations in settings: `250ms`, `15s`, `15m`, `2h`, `7d`, `0`.
public enum DurationText {
    private static let units: [(suffix: String, milliseconds: Int64)] = [
        ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000),
    ]

    /// Reads a duration.
    public static func parse(_ text: String) -> Duration? {
        if text == "0" { return .zero }
        guard let unit = units.first(where: { text.hasSuffix($0.suffix) }) else { return nil }
        let digits = text.dropLast(unit.suffix.count)
        guard !digits.isEmpty, digits.allSatisfy({ $0.isASCII && $0.isNumber }),
            let number = Int64(digits)
        else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: unit.milliseconds)
        return overflow ? nil : .milliseconds(product)
    }

    /// Writes a duration in the largest unit that leaves no rest.
    public static func text(_ duration: Duration) -> String {
        let milliseconds = duration.wholeMilliseconds
        guard milliseconds != 0 else { return "0" }
        let unit = units.last { milliseconds % $0.milliseconds == 0 } ?? units[0]
        return "\(milliseconds / unit.milliseconds)\(unit.suffix)"
    }
}
