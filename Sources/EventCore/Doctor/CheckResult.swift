/// What one check of `event-service doctor` found.
public struct CheckResult: Sendable, Equatable {
    /// What was checked, in one word.
    public let name: String
    /// What was found.
    public let finding: String
    /// What mends it; `nil`: nothing needs mending.
    public let mend: String?

    /// A check that found all well.
    public static func ok(_ name: String, _ finding: String) -> CheckResult {
        CheckResult(name: name, finding: finding, mend: nil)
    }

    /// A check that found a fault, and what mends it.
    public static func fault(_ name: String, _ finding: String, mend: String) -> CheckResult {
        CheckResult(name: name, finding: finding, mend: mend)
    }

    /// Whether nothing needs mending.
    public var isOK: Bool { mend == nil }

    /// The line that is printed: `ok` or `FAIL`, the name, what was found, and the mend.
    public var line: String {
        let column = name + String(repeating: " ", count: max(0, Self.nameWidth - name.count))
        let text = "\(isOK ? "ok  " : "FAIL") \(column) \(finding)"
        return mend.map { "\(text); mend: \($0)" } ?? text
    }

    private static let nameWidth = 11
}
