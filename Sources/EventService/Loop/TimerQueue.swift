import EventCore

/// Something that wants to be called at a time. It has one timer; setting it again moves it.
protocol TimerHandler: AnyObject {
    /// Kept for the queue: where the handler stands in it, -1 if it does not.
    var timerIndex: Int { get set }

    /// The time has come.
    func timerFired(now: MonotonicTime)
}

/// The timers of one loop: a heap, with each handler knowing its place, so that moving and removing one
/// among n costs log n steps and no search.
struct TimerQueue {
    private var heap: [(deadline: MonotonicTime, handler: any TimerHandler)] = []

    /// When the first timer is due.
    var nextDeadline: MonotonicTime? { heap.first?.deadline }

    /// How many timers are set.
    var count: Int { heap.count }

    /// Sets or moves the timer of a handler.
    mutating func set(_ handler: any TimerHandler, at deadline: MonotonicTime) {
        let index = handler.timerIndex
        if index < 0 {
            handler.timerIndex = heap.count
            heap.append((deadline, handler))
            siftUp(heap.count - 1)
        } else {
            heap[index].deadline = deadline
            siftUp(index)
            siftDown(handler.timerIndex)
        }
    }

    /// Takes back the timer of a handler, if it has one.
    mutating func cancel(_ handler: any TimerHandler) {
        let index = handler.timerIndex
        guard index >= 0 else { return }
        handler.timerIndex = -1
        let last = heap.removeLast()
        guard index < heap.count else { return }
        heap[index] = last
        last.handler.timerIndex = index
        siftUp(index)
        siftDown(last.handler.timerIndex)
    }

    /// Takes out the first handler that is due.
    mutating func popDue(now: MonotonicTime) -> (any TimerHandler)? {
        guard let first = heap.first, first.deadline <= now else { return nil }
        cancel(first.handler)
        return first.handler
    }

    private mutating func siftUp(_ start: Int) {
        var index = start
        while index > 0 {
            let parent = (index - 1) / 2
            guard heap[index].deadline < heap[parent].deadline else { return }
            swap(index, parent)
            index = parent
        }
    }

    private mutating func siftDown(_ start: Int) {
        var index = start
        while true {
            let left = 2 * index + 1
            guard left < heap.count else { return }
            let right = left + 1
            let isRight = right < heap.count && heap[right].deadline < heap[left].deadline
            let child = isRight ? right : left
            guard heap[child].deadline < heap[index].deadline else { return }
            swap(index, child)
            index = child
        }
    }

    private mutating func swap(_ a: Int, _ b: Int) {
        heap.swapAt(a, b)
        heap[a].handler.timerIndex = a
        heap[b].handler.timerIndex = b
    }
}
