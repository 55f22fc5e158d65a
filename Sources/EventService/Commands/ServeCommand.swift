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
        // One that is away may come back; one that nobody can read will not.
        if let fault = PQConnection.fault(in: configuration.databaseURL) {
            throw ConfigurationError(fault)
        }
        try check(configuration)
        let log = Log(level: configuration.logLevel, format: configuration.logFormat)
        if configuration.auth == .required, configuration.jwtSecret.isEmpty,
            configuration.jwtJWKS.isEmpty
        {
            log.warning(
                "service: neither jwt_secret nor jwt_jwks is set, so every request is refused")
        }
        let root = configuration.webRoot.isEmpty ? InstalledFiles.web : configuration.webRoot
        let files = root.map {
            StaticFiles(root: $0, demo: configuration.demo ?? (configuration.auth == .none))
        }
        let service = try Service(configuration, log: log, files: files ?? StaticFiles())
        service.run()
        return 0
    }

    /// Stops the start where the settings are sound one by one, but not together or not on this machine.
    static func check(_ configuration: Configuration) throws(ConfigurationError) {
        try checkInsecure(configuration)
        guard configuration.fanout == .postgres || configuration.redisURL != nil else {
            throw ConfigurationError("fanout: redis needs redis_url")
        }
        try checkKeys(configuration)
    }

    /// Keys that cannot be used stop the start, but for those of a URL, which may come later.
    private static func checkKeys(_ configuration: Configuration) throws(ConfigurationError) {
        guard configuration.auth == .required else { return }
        guard configuration.jwtSecret.isEmpty || !configuration.secretKeys.isEmpty else {
            throw ConfigurationError(
                "jwt_secret: HS256 needs a secret of at least \(VerificationKey.shortestSecret) bytes"
            )
        }
        if !configuration.jwtJWKS.isEmpty,
            case .file(let path) = try KeySource(configuration.jwtJWKS)
        {
            _ = try KeyFile.read(path, log: nil)
        }
    }

    /// Without tokens everyone who reaches the port sees everything: only this machine may.
    private static func checkInsecure(_ configuration: Configuration) throws(ConfigurationError) {
        guard configuration.auth == .none, !configuration.allowInsecure else { return }
        for address in [configuration.listen, configuration.opsListen] where !address.isLoopback {
            throw ConfigurationError(
                "auth=none shows everything to everyone who reaches \(address): listen on"
                    + " 127.0.0.1, set auth=required, or say allow_insecure=true")
        }
    }
}
