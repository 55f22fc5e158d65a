import EventCore
import TestSupport

/// Virtual time, seeded chance, and what is to happen when.
///
/// Nothing in a run comes from anywhere else, so that a seed is a run: the same steps in the same order.
final class World {
    private struct Step {
        let time: Int64
        let number: Int
        let action: () -> Void
    }

    private(set) var now = MonotonicTime(nanoseconds: 1_000_000_000)
    private var heap: [Step] = []
    private var lastNumber = 0
    private var generator: SeededGenerator
    /// What was found to be wrong.
    private(set) var violations: [String] = []
    /// How often each fault was injected, and each thing worth counting happened.
    private(set) var counts: [String: Int] = [:]
    /// The last things that happened, for whoever looks at a seed.
    private(set) var trace: [String] = []
    let isTracing: Bool

    init(seed: UInt64, isTracing: Bool) {
        generator = SeededGenerator(seed: seed)
        self.isTracing = isTracing
    }

    /// The database's clock: Unix seconds.
    var unixSeconds: Int64 { Self.begin + now.nanoseconds / 1_000_000_000 }

    private static let begin: Int64 = 1_764_000_000

    /// When the database's clock begins a second.
    func time(unixSeconds: Int64) -> MonotonicTime {
        MonotonicTime(nanoseconds: (unixSeconds - Self.begin) * 1_000_000_000)
    }

    // MARK: Chance

    func chance(_ probability: Double) -> Bool {
        Double.random(in: 0..<1, using: &generator) < probability
    }

    func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &generator) }

    func unit() -> Double { Double.random(in: 0..<1, using: &generator) }

    func pick<Element>(_ elements: [Element]) -> Element? {
        elements.randomElement(using: &generator)
    }

    // MARK: Time

    /// Does something after a random number of microseconds.
    func after(_ microseconds: ClosedRange<Int>, _ action: @escaping () -> Void) {
        at(now + .microseconds(number(microseconds)), action)
    }

    /// Does something at a time; what was said first is done first.
    func at(_ time: MonotonicTime, _ action: @escaping () -> Void) {
        lastNumber += 1
        heap.append(Step(time: max(time, now).nanoseconds, number: lastNumber, action: action))
        var index = heap.count - 1
        while index > 0, precedes(heap[index], heap[(index - 1) / 2]) {
            heap.swapAt(index, (index - 1) / 2)
            index = (index - 1) / 2
        }
    }

    private func precedes(_ left: Step, _ right: Step) -> Bool {
        (left.time, left.number) < (right.time, right.number)
    }

    /// Takes the next step; false if there is none, or something was wrong.
    func step() -> Bool {
        guard violations.isEmpty, let first = heap.first else { return false }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            var index = 0
            while true {
                var least = index
                for child in [2 * index + 1, 2 * index + 2]
                where child < heap.count && precedes(heap[child], heap[least]) {
                    least = child
                }
                guard least != index else { break }
                heap.swapAt(index, least)
                index = least
            }
        }
        now = MonotonicTime(nanoseconds: first.time)
        first.action()
        return true
    }

    // MARK: Findings

    func violation(_ text: String) {
        violations.append(text)
        note("VIOLATION " + text)
    }

    func count(_ name: String, _ number: Int = 1) {
        counts[name, default: 0] += number
    }

    func note(_ text: @autoclosure () -> String) {
        guard isTracing else { return }
        trace.append("\(now.nanoseconds / 1000) \(text())")
    }
}
