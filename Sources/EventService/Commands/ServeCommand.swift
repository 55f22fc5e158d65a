import EventCore

extension Command {
    /// `event-service serve`
    static let serve = Command(
        name: "serve", summary: "runs the service",
        options: ConfigurationFile.options() + [MappingSamples.option]
    ) { arguments in
        let configuration = try ConfigurationFile.load(
            arguments, settings: ConfigurationFile.options())
        if let code = try MappingSamples.show(arguments, configuration) { return code }
        try checkInsecure(configuration)
        // One that is away may come back; one that nobody can read will not.
        if let fault = PQConnection.fault(in: configuration.databaseURL) {
            throw ConfigurationError(fault)
        }
        guard configuration.fanout == .postgres || configuration.redisURL != nil else {
            throw ConfigurationError("fanout: redis needs redis_url")
        }
        let log = Log(level: configuration.logLevel, format: configuration.logFormat)
        try checkKeys(configuration, log: log)
        let root = configuration.webRoot.isEmpty ? InstalledFiles.web : configuration.webRoot
        let files = root.map {
            StaticFiles(root: $0, demo: configuration.demo ?? (configuration.auth == .none))
        }
        let service = try Service(configuration, log: log, files: files ?? StaticFiles())
        service.run()
        return 0
    }

    /// Keys that cannot be used stop the start, but for those of a URL, which may come later.
    private static func checkKeys(
        _ configuration: Configuration, log: Log
    ) throws(ConfigurationError) {
        guard configuration.auth == .required else { return }
        guard configuration.jwtSecret.isEmpty || !configuration.secretKeys.isEmpty else {
            throw ConfigurationError(
                "jwt_secret: HS256 needs a secret of at least \(VerificationKey.shortestSecret) bytes"
            )
        }
        if !configuration.jwtJWKS.isEmpty {
            if case .file(let path) = try KeySource(configuration.jwtJWKS) {
                _ = try KeyFile.read(path, log: nil)
            }
        } else if configuration.jwtSecret.isEmpty {
            log.warning(
                "service: neither jwt_secret nor jwt_jwks is set, so every request is refused")
        }
    }

    /// Without tokens everyone who reaches the port sees everything: only this machine may.
    private static func checkInsecure(_ configuration: Configuration) throws(ConfigurationError) {
        guard configuration.auth == .none, !configuration.allowInsecure,
            !configuration.listen.isLoopback
        else { return }
        throw ConfigurationError(
            "auth=none shows everything to everyone who reaches \(configuration.listen): listen on"
                + " 127.0.0.1, set auth=required, or say allow_insecure=true")
    }
}
