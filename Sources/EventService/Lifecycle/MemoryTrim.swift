import CLinux
import EventCore

/// Gives back to the system what a burst has left free in the allocator's arenas.
///
/// glibc keeps what was freed in the middle of an arena. A storm of streams that catch up needs tens of
/// megabytes for a second; without this they would stay for ever, and look like a leak.
final class MemoryTrim {
    private var timer: LoopTimer?

    private static let interval = Duration.seconds(30)
    /// Less than this is kept: what is free at the ends of the arenas is about as much.
    private static let allowance = 256 << 10

    init(on loop: EventLoop) {
        timer = LoopTimer(loop) { [unowned self] _ in
            timer?.set(after: Self.interval)
            let memory = mallinfo2()
            if memory.fordblks > Self.allowance { malloc_trim(0) }
        }
        timer?.set(after: Self.interval)
    }
}
