/// What one bridge has done, and is doing.
public struct BridgeReport: Sendable {
    /// What it is told apart by: unique on a node.
    public var name: String
    /// What it counts; what is missing counts as 0.
    public var counts: [Count: Int]
    /// For how long its thread did not wait.
    public var busy: Duration

    /// Creates a report.
    public init(name: String, counts: [Count: Int], busy: Duration) {
        self.name = name
        self.counts = counts
        self.busy = busy
    }

    /// One thing that a bridge counts: the name of its metric without `event_service_bridge_`.
    public enum Count: String, CaseIterable, Sendable {
        /// Messages that came in.
        case received = "received_total"
        /// Events that they became.
        case added = "added_total"
        /// Events that went out.
        case sent = "sent_total"
        /// Messages that the settings leave out.
        case dropped = "dropped_total"
        /// Batches that were sent again.
        case retried = "retried_total"
        /// Dead letters.
        case deadLettered = "dead_lettered_total"
        /// Times that something may have been missed.
        case missed = "missed_total"
        /// What is still to be done.
        case lag
        /// 1 while the other side is there, else 0.
        case connected
        /// 1 while this node does the work, else 0.
        case active

        fileprivate var metric: Metric {
            let (kind, help) = kindAndHelp
            return Metric("bridge_" + rawValue, kind, labels: ["bridge"], help)
        }

        private var kindAndHelp: (Metric.Kind, String) {
            switch self {
            case .received: (.counter, "Messages that came in.")
            case .added: (.counter, "Events that they became; a repeat becomes none.")
            case .sent: (.counter, "Events that went out; what was sent again counts again.")
            case .dropped: (.counter, "Messages that the settings leave out.")
            case .retried: (.counter, "Batches that were sent again.")
            case .deadLettered: (.counter, "Messages that could not become an event.")
            case .missed:
                (.counter, "Times that something may have been missed of which nobody can know.")
            case .lag: (.gauge, "What is still to be done: messages, or positions.")
            case .connected: (.gauge, "1 while the other side is there, else 0.")
            case .active: (.gauge, "1 while this node does the work, 0 while another does.")
            }
        }
    }
}

extension ServiceReport.Group {
    static let bridges = Self(
        title: "Bridges", metrics: BridgeReport.Count.allCases.map(\.metric)
    ) { report, page in
        for count in BridgeReport.Count.allCases {
            page.add(count.metric) { samples in
                for bridge in report.bridges {
                    samples.sample(bridge.name, value: bridge.counts[count] ?? 0)
                }
            }
        }
    }
}
