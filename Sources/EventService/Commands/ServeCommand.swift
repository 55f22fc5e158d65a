import EventCore

extension Command {
    /// `event-service serve`
    static let serve = Command(
        name: "serve", summary: "runs the service", options: ConfigurationFile.options()
    ) { arguments in
        let configuration = try ConfigurationFile.load(
            arguments, settings: ConfigurationFile.options())
        try checkInsecure(configuration)
        let log = Log(level: configuration.logLevel, format: configuration.logFormat)
        if configuration.auth == .required, configuration.jwtSecret.isEmpty {
            log.warning("service: no key for tokens is set, so every request is refused")
        }
        let root = configuration.webRoot.isEmpty ? InstalledFiles.web : configuration.webRoot
        let files = root.map {
            StaticFiles(root: $0, demo: configuration.demo ?? (configuration.auth == .none))
        }
        let service = try Service(configuration, log: log, files: files ?? StaticFiles())
        service.run()
        return 0
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
