/// Which events of a stretch of the log a slow stream can do without: those of which a later one of the
/// same type and key stands in the stretch and is for it too.
///
/// Only events that were captured with `conflate` are ever left out.
struct Conflation {
    private struct Topic: Hashable {
        let type: String
        let key: String?
    }

    private var newest: [Topic: Int64] = [:]

    /// Looks at the frames of a stretch, in order of position.
    init(_ frames: some Sequence<EncodedFrame>, for subscription: Subscription) {
        for frame in frames where frame.envelope.conflates && subscription.admits(frame.envelope) {
            newest[Topic(type: frame.envelope.type, key: frame.envelope.key)] = frame.position
        }
    }

    /// Whether a frame of the stretch can be left out.
    func supersedes(_ frame: EncodedFrame) -> Bool {
        guard frame.envelope.conflates, !newest.isEmpty,
            let last = newest[Topic(type: frame.envelope.type, key: frame.envelope.key)]
        else { return false }
        return last > frame.position
    }
}
