/// Why a request was turned away, though it could be read: what is counted.
public enum RefusalCause: Hashable, Sendable {
    /// It was not authenticated.
    case authentication(AuthenticationError.Cause)
    /// It met a limit, or lacks a grant.
    case access(AccessRefusal)
}

/// Why a request was turned away that was not to blame for how it said who it is.
public enum AccessRefusal: String, Sendable, CaseIterable {
    /// A further failure of an address that had too many.
    case authFailureRate = "auth_failure_rate"
    /// As many connections as there may be.
    case maxConnections = "max_connections"
    /// As many streams as one user may have.
    case maxConnectionsPerUser = "max_connections_per_user"
    /// As many streams as one address may have.
    case maxConnectionsPerAddress = "max_connections_per_address"
    /// An address that opens streams too fast.
    case connectRate = "connect_rate"
    /// A user who publishes too fast.
    case publishRate = "publish_rate"
    /// As many tickets as may be unused at once.
    case tickets
    /// A good token that lacks a scope, a context or an audience.
    case notGranted = "not_granted"
}
