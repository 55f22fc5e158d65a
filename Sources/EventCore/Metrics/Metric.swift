/// One metric of the service: what `/metrics` says of it, and what `docs/metrics.md` does.
public struct Metric: Sendable, Equatable {
    /// What a metric is to Prometheus.
    public enum Kind: String, Sendable {
        /// It only rises, and begins at zero when the service starts.
        case counter
        /// It goes up and down.
        case gauge
        /// Observations, counted by how large they are.
        case histogram
    }

    /// The name; the unit last, and `_total` behind that of a counter.
    public let name: String
    /// What it is to Prometheus.
    public let kind: Kind
    /// The names of its labels.
    public let labels: [String]
    /// What it says.
    public let help: String

    init(_ name: String, _ kind: Kind, labels: [String] = [], _ help: String) {
        self.name = "event_service_" + name
        self.kind = kind
        self.labels = labels
        self.help = help
    }
}

/// Writes a page of metrics in the text format of Prometheus, version 0.0.4.
///
/// Every metric is announced once and its samples follow it, so a metric of which there is nothing to
/// say yet is still on the page.
public struct MetricsPage: Sendable {
    /// The type of the page.
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// The page.
    public private(set) var bytes: [UInt8] = []

    /// Creates an empty page.
    public init() {
        bytes.reserveCapacity(32 << 10)
    }

    /// Adds a metric of one sample.
    public mutating func add(_ metric: Metric, _ value: Int) {
        add(metric) { $0.sample(value) }
    }

    /// Adds a metric of one sample.
    public mutating func add(_ metric: Metric, seconds: Duration) {
        add(metric) { $0.sample(seconds: seconds) }
    }

    /// Adds a metric, with the samples that `body` writes.
    public mutating func add(_ metric: Metric, _ body: (inout Samples) -> Void) {
        bytes.append("# HELP ")
        bytes.append(contentsOf: metric.name.utf8)
        bytes.append(" ")
        bytes.append(contentsOf: metric.help.utf8)
        bytes.append("\n# TYPE ")
        bytes.append(contentsOf: metric.name.utf8)
        bytes.append(" ")
        bytes.append(contentsOf: metric.kind.rawValue.utf8)
        bytes.append("\n")
        var samples = Samples(metric)
        body(&samples)
        bytes.append(contentsOf: samples.bytes)
    }

    /// The samples of one metric.
    public struct Samples {
        private let metric: Metric
        fileprivate var bytes: [UInt8] = []

        fileprivate init(_ metric: Metric) {
            self.metric = metric
        }

        /// Adds a sample.
        ///
        /// - Parameter values: those of the metric's labels, in their order.
        public mutating func sample(_ values: String..., value: Int) {
            begin("", values)
            bytes.appendDecimal(Int64(value))
            bytes.append("\n")
        }

        /// Adds the sample of a metric without labels.
        public mutating func sample(_ value: Int) {
            sample(value: value)
        }

        /// Adds a sample that is a duration.
        public mutating func sample(_ values: String..., seconds: Duration) {
            begin("", values)
            bytes.appendDecimalSeconds(seconds)
            bytes.append("\n")
        }

        /// Adds the buckets, the sum and the count of a histogram.
        public mutating func sample(_ values: String..., histogram: LatencyHistogram) {
            var count = 0
            for (index, bound) in LatencyHistogram.bounds.enumerated() {
                count += histogram.counts[index]
                var text: [UInt8] = []
                text.appendDecimalSeconds(bound)
                bucket(values, upTo: String(decoding: text, as: UTF8.self), count)
            }
            bucket(values, upTo: "+Inf", histogram.count)
            begin("_sum", values)
            bytes.appendDecimalSeconds(histogram.sum)
            bytes.append("\n")
            begin("_count", values)
            bytes.appendDecimal(Int64(histogram.count))
            bytes.append("\n")
        }

        private mutating func bucket(_ values: [String], upTo bound: String, _ count: Int) {
            begin("_bucket", values, upTo: bound)
            bytes.appendDecimal(Int64(count))
            bytes.append("\n")
        }

        private mutating func begin(
            _ suffix: StaticString, _ values: [String], upTo bound: String? = nil
        ) {
            precondition(
                values.count == metric.labels.count, "a value for each label of \(metric.name)")
            let labels = zip(metric.labels, values) + (bound.map { [("le", $0)] } ?? [])
            bytes.append(contentsOf: metric.name.utf8)
            bytes.append(suffix)
            for (index, (name, value)) in labels.enumerated() {
                bytes.append(index == 0 ? UInt8(ascii: "{") : UInt8(ascii: ","))
                bytes.append(contentsOf: name.utf8)
                bytes.append("=\"")
                bytes.appendLabelValue(value)
                bytes.append("\"")
            }
            bytes.append(contentsOf: labels.isEmpty ? " ".utf8 : "} ".utf8)
        }
    }
}

extension [UInt8] {
    /// Appends a duration in seconds, without zeros at its end.
    fileprivate mutating func appendDecimalSeconds(_ duration: Duration) {
        let nanoseconds = duration.wholeNanoseconds
        if nanoseconds < 0 { append(UInt8(ascii: "-")) }
        appendDecimal(Int64(nanoseconds.magnitude / 1_000_000_000))
        var rest = Int64(nanoseconds.magnitude % 1_000_000_000)
        guard rest > 0 else { return }
        var width = 9
        while rest % 10 == 0 {
            rest /= 10
            width -= 1
        }
        append(UInt8(ascii: "."))
        appendDecimal(rest, width: width)
    }

    /// Appends the value of a label: a backslash, a quote and a line end are escaped.
    fileprivate mutating func appendLabelValue(_ text: String) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): append("\\\\")
            case UInt8(ascii: "\""): append("\\\"")
            case 0x0A: append("\\n")
            default: append(byte)
            }
        }
    }
}
