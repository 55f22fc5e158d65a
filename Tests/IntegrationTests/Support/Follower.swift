import EventCore
import Foundation
import Synchronization
import TestSupport

@testable import EventService

/// What a client that may see every event makes of its streams: ids without a hole, but where it was told.
struct Following {
    /// Where it stands.
    private(set) var last: Cursor?
    /// The ids that the database gave to the events, as they came.
    private(set) var events: [Int64] = []
    private(set) var resets = 0
    /// How many positions it was told that it missed.
    private(set) var missed: Int64 = 0
    /// What is not as the contract says.
    private(set) var faults: [String] = []
    private var isResetDue = false

    mutating func failed(_ error: any Error) {
        faults.append("\(error)")
    }

    mutating func take(_ message: EventStreamParser.Message) {
        guard let cursor = Cursor(message.lastEventID) else {
            if message.type != "stream.health" { faults.append("\(message.type) has no id") }
            return
        }
        switch message.type {
        case "stream.open":
            isResetDue = message.json["resumed"] as? String == "gap"
            if let last, !isResetDue, cursor != last {
                faults.append("\(last) begins at \(cursor)")
            }
            last = last ?? cursor
        case "stream.reset":
            reset(message.json, to: cursor)
            if !faults.isEmpty { faults.append("reset: \(message.data)") }
        case "stream.health":
            break
        default:
            let isEvent = !message.type.hasPrefix("stream.")
            let expected = (last?.position ?? 0) + (isEvent ? 1 : 0)
            if isResetDue || cursor.position != expected {
                faults.append("\(message.type) at \(cursor), not \(expected)")
            }
            last = cursor
            if isEvent {
                // {"event_id":"…
                events.append(Int64(message.data.dropFirst(13).prefix { $0.isNumber }) ?? 0)
            }
        }
    }

    /// Only what has really expired is said to be, and `earliest` is where the rest begins.
    private mutating func reset(_ told: [String: Any], to cursor: Cursor) {
        let requested = Cursor(told["requested"] as? String ?? "")?.position ?? .max
        let earliest = Cursor(told["earliest"] as? String ?? "")?.position ?? .min
        if told["reason"] as? String != "expired" { faults.append("not expired") }
        if requested >= earliest { faults.append("there is still what was asked for") }
        if cursor.position != earliest { faults.append("it does not go on at the earliest") }
        missed += cursor.position - (last?.position ?? 0)
        resets += 1
        isResetDue = false
        last = cursor
    }
}

/// Something that has happened, for a thread that waits for it.
final class Flag: Sendable {
    private let state = Atomic(false)

    var isRaised: Bool { state.load(ordering: .relaxed) }

    func raise() { state.store(true, ordering: .relaxed) }
}

/// A client on a thread of its own, that reads from the earliest event on.
final class Follower: Sendable {
    private let state = Mutex(Following())
    private let isStopped = Flag()
    private let thread = Mutex<WriterThread?>(nil)

    /// What it has seen so far.
    var following: Following { state.withLock { $0 } }

    /// - Parameters:
    ///   - ports: of the nodes to which it connects in turn.
    ///   - mortal: whether a node may be away for a while.
    ///   - pauses: for how many milliseconds it reads and rests in turn, and whether it is cut then.
    init(
        _ ports: [UInt16], mortal: Bool = false,
        pauses: [(read: Int, rest: Int, isCut: Bool)] = [(100, 0, false)]
    ) {
        let thread = WriterThread { [self] in
            var (round, attempt) = (0, 0)
            while !isStopped.isRaised {
                attempt += 1
                do {
                    try read(ports[attempt % ports.count], pauses, &round)
                } catch {
                    if !mortal { state.withLock { $0.failed(error) } }
                    usleep(100_000)
                }
            }
        }
        self.thread.withLock { $0 = thread }
    }

    private func read(
        _ port: UInt16, _ pauses: [(read: Int, rest: Int, isCut: Bool)], _ round: inout Int
    ) throws {
        let last = following.last.map { "\($0)" }
        let stream = try StreamClient(
            port, "gap=earliest" + (last == nil ? "&since=earliest" : ""), lastEventID: last,
            isSlow: true)
        guard stream.answer.status == 200 else { throw TestFailure(stream.answer.text) }
        while !stream.isEnded && !isStopped.isRaised {
            let (read, rest, isCut) = pauses[round % pauses.count]
            round += 1
            let end = Date().addingTimeInterval(Double(read) / 1000)
            while Date() < end, !stream.isEnded, !isStopped.isRaised {
                stream.readMore(milliseconds: 20)
                let messages = stream.takeWaiting()
                state.withLock { state in for message in messages { state.take(message) } }
            }
            usleep(UInt32(rest) * 1000)
            if isCut { break }
        }
    }

    /// Ends the client.
    func stop() throws {
        isStopped.raise()
        try thread.withLock { $0 }?.join()
    }
}
