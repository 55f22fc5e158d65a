/// What all threads have reported for one page of metrics.
public struct ServiceReport: Sendable {
    /// The workers.
    public var workers: [WorkerReport]
    /// The database thread; `nil` if it has never answered.
    public var database: DatabaseReport?
    /// Threads that did not answer in time: what is said of them is what they said last.
    public var silent: Set<String>
    /// The listening sockets.
    public var connections: ConnectionReport
    /// Who was turned away, though the request could be read.
    public var refusals: [RefusalCause: Int]
    /// The bridges.
    public var bridges: [BridgeReport]
    /// The process.
    public var process: ProcessReport
    /// The version of the service.
    public var version: String

    /// Creates a report.
    public init(
        workers: [WorkerReport], database: DatabaseReport?, silent: Set<String>,
        connections: ConnectionReport, refusals: [RefusalCause: Int],
        bridges: [BridgeReport], process: ProcessReport,
        version: String
    ) {
        self.workers = workers
        self.database = database
        self.silent = silent
        self.connections = connections
        self.refusals = refusals
        self.bridges = bridges
        self.process = process
        self.version = version
    }

    /// The page.
    public var page: MetricsPage {
        var page = MetricsPage()
        for group in Self.groups { group.write(self, &page) }
        return page
    }

    /// All metrics, in the order of the page.
    public static var metrics: [Metric] { groups.flatMap(\.metrics) }

    /// Metrics that belong together.
    public struct Group: Sendable {
        /// What they are about.
        public let title: String
        /// The metrics.
        public let metrics: [Metric]
        let write: @Sendable (ServiceReport, inout MetricsPage) -> Void
    }

    /// All metrics by what they are about.
    public static let groups: [Group] = [
        .streams, .requests, .events, .log, .sequencing, .queries, .bridges, .process,
    ]

    fileprivate var streams: StreamGauges {
        workers.reduce(into: StreamGauges()) { $0.add($1.streams) }
    }

    fileprivate var counts: StreamCounts {
        workers.reduce(into: StreamCounts()) { $0.add($1.counts) }
    }

    fileprivate var requests: RequestCounts {
        workers.reduce(into: RequestCounts()) { $0.add($1.requests) }
    }

    fileprivate var loops: [LoopReport] {
        workers.map(\.loop) + (database.map { [$0.loop] } ?? [])
    }
}

extension Metric {
    static let streams = Metric("streams", .gauge, "Streams that are open.")
    static let catchingUp = Metric(
        "streams_catching_up", .gauge,
        "Open streams that are not live: they read what they have missed, or are too slow.")
    static let backlogBytes = Metric(
        "streams_backlog_bytes", .gauge, "Bytes that wait to be sent to all streams.")
    static let lowestPosition = Metric(
        "streams_lowest_position", .gauge,
        "Position of the stream that is furthest behind; the node's head while all are live.")
    static let opened = Metric(
        "streams_opened_total", .counter, labels: ["resumed"],
        "Streams that began, by how they joined on to what the client had.")
    static let ended = Metric(
        "streams_ended_total", .counter, labels: ["reason"],
        "Streams that ended; client: it went, or its connection broke.")
    static let resets = Metric(
        "streams_reset_total", .counter, labels: ["reason"],
        "Times that the client of an open stream was told that what it holds is void.")
    static let fellBehind = Metric(
        "streams_fell_behind_total", .counter,
        "Times that max_backlog_bytes waited for a stream, which then read on from the log.")

    static let connections = Metric(
        "connections", .gauge, "Connections that are open on the public listener.")
    static let connectionsMaximum = Metric(
        "connections_max", .gauge, "The setting max_connections, or what descriptors allow.")
    static let dropped = Metric(
        "connections_dropped_total", .counter,
        "Connections that were closed without an answer, far past the cap.")
    static let requests = Metric(
        "http_requests_total", .counter, labels: ["route", "status"],
        "Requests that were answered; a stream is one with its first byte.")
    static let refusals = Metric(
        "http_refusals_total", .counter, labels: ["reason"],
        "Requests that were answered with a problem, by its type.")

    static let authenticationFailures = Metric(
        "authentication_failures_total", .counter, labels: ["reason"],
        "Requests that were not authenticated, by what was wrong with the token.")
    static let accessRefusals = Metric(
        "access_refusals_total", .counter, labels: ["cause"],
        "Requests that met a limit, by its setting, or whose good token lacks a grant.")

    static let captured = Metric(
        "events_captured_total", .counter,
        "Events that transactions wrote in this database, those that rolled back included.")
    static let sequenced = Metric(
        "events_sequenced_total", .counter, "Events to which this node gave a position.")
    static let delivered = Metric(
        "events_delivered_total", .counter, "Events that were sent, counted for each stream.")
    static let replayed = Metric(
        "events_replayed_total", .counter, labels: ["source"],
        "Those of them that a stream got later than live: from memory, or by a query.")
    static let latency = Metric(
        "event_latency_seconds", .histogram, labels: ["stage"],
        "From capture within the transaction to the position, and to the sockets of a worker.")

    static let inboxEvents = Metric(
        "inbox_events", .gauge,
        "Committed events that have no position yet; 100000 means that many or more.")
    static let inboxAge = Metric(
        "inbox_oldest_seconds", .gauge, "For how long the first of them has waited.")
    static let logHead = Metric("log_head_position", .gauge, "The last position of the log.")
    static let logFloor = Metric(
        "log_floor_position", .gauge, "The lowest position that the log keeps.")
    static let logBytes = Metric(
        "log_bytes", .gauge, "What the log and its indexes take on the database's disk.")
    static let nodeHead = Metric(
        "node_head_position", .gauge, "The last position that this node has handed to streams.")
    static let nodeLag = Metric(
        "node_lag_events", .gauge, "How many positions this node is behind the log.")
    static let ringBytes = Metric(
        "ring_bytes", .gauge, "What the newest events take in memory, in all workers.")

    static let ready = Metric("ready", .gauge, "1 while /readyz says 200, else 0.")
    static let listenerConnected = Metric(
        "listener_connected", .gauge, "1 while the listener is attached to the log, else 0.")
    static let listenerVerified = Metric(
        "listener_verified", .gauge, "1 while the listener hears its own probe, else 0.")
    static let listenerProbe = Metric(
        "listener_last_probe_timestamp_seconds", .gauge,
        "When the listener last heard its own probe, in Unix time; 0: never.")
    static let listenerLosses = Metric(
        "listener_losses_total", .counter,
        "Times that the listener's connection was lost or could not be opened.")
    static let pump = Metric(
        "sequencer_pump", .gauge, "1 while this node sequences for all, else 0.")
    static let parked = Metric(
        "sequencer_parked", .gauge, "1 while the pump sleeps until a writer notifies it, else 0.")
    static let ticks = Metric(
        "sequencer_ticks_total", .counter, "Batches that this node sequenced.")
    static let listenerPages = Metric(
        "listener_pages_total", .counter,
        "Pages of the log that the listener read: what it neither sequenced nor was passed.")
    static let fanoutConnected = Metric(
        "fanout_connected", .gauge,
        "1 while batches can be passed on between nodes, else 0; without fanout=redis 0.")
    static let fanoutBatches = Metric(
        "fanout_batches_total", .counter, labels: ["outcome"],
        "Batches that this node passed on, could not pass on, or took from another node.")
    static let clockOffset = Metric(
        "database_clock_offset_seconds", .gauge,
        "How far the database's clock is ahead of this machine's.")

    static let queries = Metric(
        "database_queries_total", .counter, labels: ["operation", "outcome"],
        "Queries through the pool, by what they are for.")
    static let queryDuration = Metric(
        "database_query_seconds", .histogram, "How long they took once they were sent.")
    static let queriesWaiting = Metric(
        "database_queries_waiting", .gauge, "Queries that wait for a connection.")
    static let poolConnections = Metric(
        "database_connections", .gauge, "Connections of the pool, beside the listening one.")
    static let keptPages = Metric(
        "log_pages_kept_total", .counter,
        "Pages of the log that were answered without a query, from those kept in memory.")

    static let loopBusy = Metric(
        "loop_busy_seconds_total", .counter, labels: ["loop"],
        "For how long a thread did not wait; its rate is the busy share.")
    static let loopAnswers = Metric(
        "loop_answers", .gauge, labels: ["loop"],
        "1 if the thread has reported within a second, 0 if its numbers are old.")
    static let processor = Metric(
        "process_cpu_seconds_total", .counter, "Processor time, of all threads.")
    static let resident = Metric(
        "process_resident_memory_bytes", .gauge, "Memory that is resident.")
    static let descriptors = Metric("process_open_fds", .gauge, "Descriptors that are open.")
    static let descriptorsMaximum = Metric(
        "process_max_fds", .gauge, "Descriptors that may be open.")
    static let started = Metric(
        "process_start_time_seconds", .gauge, "When the process started, in Unix time.")
    static let build = Metric(
        "build_info", .gauge, labels: ["version"], "1, with the version of the service.")
}

extension ServiceReport.Group {
    static let streams = Self(
        title: "Streams",
        metrics: [
            .streams, .catchingUp, .backlogBytes, .lowestPosition, .opened, .ended, .resets,
            .fellBehind,
        ]
    ) { report, page in
        let (streams, counts) = (report.streams, report.counts)
        page.add(.streams, streams.open)
        page.add(.catchingUp, streams.catchingUp)
        page.add(.backlogBytes, streams.backlogBytes)
        let head = report.database?.listener.head ?? 0
        page.add(.lowestPosition, Int(streams.lowestPosition ?? head))
        page.add(.opened) { samples in
            for resumed in [StreamStart.Resumed.fresh, .complete, .gap] {
                samples.sample(resumed.rawValue, value: counts.opened[resumed] ?? 0)
            }
        }
        page.add(.ended) { samples in
            for ending in StreamCounts.Ending.allCases {
                samples.sample(ending.name, value: counts.ended[ending] ?? 0)
            }
        }
        page.add(.resets) { samples in
            for reason in ResetReason.allCases {
                samples.sample(reason.rawValue, value: counts.resets[reason] ?? 0)
            }
        }
        page.add(.fellBehind, counts.fellBehind)
    }

    static let requests = Self(
        title: "Connections and requests",
        metrics: [
            .connections, .connectionsMaximum, .dropped, .requests, .refusals,
            .authenticationFailures, .accessRefusals,
        ]
    ) { report, page in
        page.add(.connections, report.connections.open)
        page.add(.connectionsMaximum, report.connections.maximum)
        page.add(.dropped, report.connections.dropped)
        let requests = report.requests
        page.add(.requests) { samples in
            let sorted = requests.answered.sorted {
                ($0.key.route, $0.key.status) < ($1.key.route, $1.key.status)
            }
            for (key, count) in sorted {
                samples.sample(key.route, String(key.status), value: count)
            }
        }
        page.add(.refusals) { samples in
            for (reason, count) in requests.refused.sorted(by: { $0.key < $1.key }) {
                samples.sample(reason, value: count)
            }
        }
        page.add(.authenticationFailures) { samples in
            for cause in AuthenticationError.Cause.allCases {
                samples.sample(
                    cause.rawValue, value: report.refusals[.authentication(cause)] ?? 0)
            }
        }
        page.add(.accessRefusals) { samples in
            for cause in AccessRefusal.allCases {
                samples.sample(cause.rawValue, value: report.refusals[.access(cause)] ?? 0)
            }
        }
    }

    static let events = Self(
        title: "Events", metrics: [.captured, .sequenced, .delivered, .replayed, .latency]
    ) { report, page in
        let counts = report.counts
        let listener = report.database?.listener ?? ListenerReport()
        page.add(.captured) { samples in
            if let log = report.database?.log { samples.sample(Int(log.captured)) }
        }
        page.add(.sequenced, listener.sequenced)
        page.add(.delivered, counts.deliveredToEnded + report.streams.delivered)
        page.add(.replayed) { samples in
            for source in ReplaySource.allCases {
                samples.sample(source.rawValue, value: counts.replayed[source] ?? 0)
            }
        }
        page.add(.latency) { samples in
            samples.sample("sequenced", histogram: listener.latency)
            samples.sample("written", histogram: counts.written)
        }
    }

    static let log = Self(
        title: "Inbox and log",
        metrics: [
            .inboxEvents, .inboxAge, .logHead, .logFloor, .logBytes, .nodeHead, .nodeLag,
            .ringBytes,
        ]
    ) { report, page in
        let log = report.database?.log
        func add(_ metric: Metric, _ value: Int64?) {
            page.add(metric) { samples in if let value { samples.sample(Int(value)) } }
        }
        add(.inboxEvents, log?.inboxEvents)
        page.add(.inboxAge) { samples in
            if let log { samples.sample(seconds: log.inboxAge) }
        }
        add(.logHead, log?.head)
        add(.logFloor, log?.floor)
        add(.logBytes, log?.bytes)
        let head = report.database?.listener.head ?? 0
        page.add(.nodeHead, Int(head))
        page.add(.nodeLag) { samples in
            if let log { samples.sample(Int(max(0, log.head - head))) }
        }
        page.add(.ringBytes, report.workers.reduce(0) { $0 + $1.ringBytes })
    }

    static let sequencing = Self(
        title: "Listener and sequencer",
        metrics: [
            .ready, .listenerConnected, .listenerVerified, .listenerProbe, .listenerLosses, .pump,
            .parked, .ticks, .listenerPages, .fanoutConnected, .fanoutBatches, .clockOffset,
        ]
    ) { report, page in
        let listener = report.database?.listener ?? ListenerReport()
        page.add(.ready, report.workers.allSatisfy(\.unready.isEmpty) ? 1 : 0)
        page.add(.listenerConnected, listener.isAttached ? 1 : 0)
        page.add(.listenerVerified, listener.isVerified ? 1 : 0)
        page.add(.listenerProbe, Int((listener.lastProbe?.microseconds ?? 0) / 1_000_000))
        page.add(.listenerLosses, listener.losses)
        page.add(.pump, listener.isPump ? 1 : 0)
        page.add(.parked, listener.isParked ? 1 : 0)
        page.add(.ticks, listener.ticks)
        page.add(.listenerPages, listener.pages)
        let fanout = listener.fanout ?? FanoutReport()
        page.add(.fanoutConnected, fanout.isConnected ? 1 : 0)
        page.add(.fanoutBatches) { samples in
            samples.sample("sent", value: fanout.sent)
            samples.sample("unsent", value: fanout.unsent)
            samples.sample("taken", value: fanout.taken)
        }
        page.add(.clockOffset, seconds: listener.clockOffset)
    }

    static let queries = Self(
        title: "Queries",
        metrics: [.queries, .queryDuration, .queriesWaiting, .poolConnections, .keptPages]
    ) { report, page in
        let database = report.database
        let queries = database?.queries ?? QueryCounts()
        page.add(.queries) { samples in
            let sorted = queries.done.sorted {
                ($0.key.operation, $0.key.outcome) < ($1.key.operation, $1.key.outcome)
            }
            for (key, count) in sorted {
                samples.sample(key.operation, key.outcome, value: count)
            }
        }
        page.add(.queryDuration) { $0.sample(histogram: queries.durations) }
        page.add(.queriesWaiting, database?.waiting ?? 0)
        page.add(.poolConnections, database?.connections ?? 0)
        page.add(.keptPages, database?.keptPages ?? 0)
    }

    static let process = Self(
        title: "Process",
        metrics: [
            .loopBusy, .loopAnswers, .processor, .resident, .descriptors, .descriptorsMaximum,
            .started, .build,
        ]
    ) { report, page in
        page.add(.loopBusy) { samples in
            for loop in report.loops { samples.sample(loop.name, seconds: loop.busy) }
            for bridge in report.bridges { samples.sample(bridge.name, seconds: bridge.busy) }
        }
        page.add(.loopAnswers) { samples in
            for loop in report.loops {
                samples.sample(loop.name, value: report.silent.contains(loop.name) ? 0 : 1)
            }
        }
        let process = report.process
        page.add(.processor, seconds: process.processor)
        page.add(.resident, process.residentBytes)
        page.add(.descriptors, process.descriptors)
        page.add(.descriptorsMaximum, process.maximumDescriptors)
        page.add(.started, Int(process.started.microseconds / 1_000_000))
        page.add(.build) { $0.sample(report.version, value: 1) }
    }
}

extension QueryCounts.Key {
    fileprivate var outcome: String { isAnswered ? "answered" : "failed" }
}
