import EventCore
import Foundation

/// `simulation [--seeds A...B] [--seconds N] [--keep FILE] [--trace SEED]`
///
/// Runs the kept seeds and then one after the other; the first that fails is printed, and added to the
/// kept ones.
@main
enum Main {
    static func main() throws {
        let arguments = CommandLine.arguments
        func value(_ name: String) -> String? {
            arguments.firstIndex(of: name).flatMap { arguments.dropFirst($0 + 1).first }
        }
        if let seed = value("--trace").flatMap({ UInt64($0) }) {
            let outcome = try Run(seed: seed, isTracing: true).run()
            print(outcome.trace.joined(separator: "\n"))
            print(outcome.violations.joined(separator: "\n"))
            exit(outcome.violations.isEmpty ? 0 : 1)
        }
        let keep = value("--keep")
        let kept = keep.flatMap { try? String(contentsOfFile: $0, encoding: .utf8) } ?? ""
        let keptSeeds = kept.split(separator: "\n").compactMap {
            UInt64($0.prefix { $0.isNumber })
        }
        let first = value("--first").flatMap { UInt64($0) } ?? 1
        let count = value("--seeds").flatMap { UInt64($0) } ?? 2000
        var totals: [String: Int] = [:]
        var steps = 0
        for seed in keptSeeds + Array(first..<first + count) {
            let outcome = try Run(seed: seed, isTracing: false).run()
            steps += outcome.steps
            totals.merge(outcome.counts) { $0 + $1 }
            guard outcome.violations.isEmpty else {
                print("seed \(seed): " + outcome.violations.joined(separator: "\n  "))
                if let keep, !keptSeeds.contains(seed) {
                    let row = "\(seed)  \(outcome.violations[0])\n"
                    try (kept + row).write(toFile: keep, atomically: true, encoding: .utf8)
                }
                exit(1)
            }
        }
        print(
            "\(keptSeeds.count) kept seeds and \(count) from \(first) on, \(steps) steps, no violation"
        )
        for (name, number) in totals.sorted(by: { $0.key < $1.key }) {
            print("  \(name): \(number)")
        }
    }
}
