/// The `Host` field.
public enum HostName {
    /// The host without its port, and an IPv6 address without its brackets.
    public static func withoutPort(_ host: String) -> String {
        if host.hasPrefix("["), let end = host.firstIndex(of: "]") {
            return String(host[host.index(after: host.startIndex)..<end])
        }
        return String(host.prefix { $0 != ":" })
    }
}
