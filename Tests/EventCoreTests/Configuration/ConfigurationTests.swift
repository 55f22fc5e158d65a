import EventCore
import TestSupport
import Testing

@Suite struct `Settings` {
    private static func resolve(
        file: [String: SettingValue] = [:], environment: [String: String] = [:],
        flags: [(String, String)] = [], warnings: (String) -> Void = { _ in }
    ) throws(ConfigurationError) -> Configuration {
        let sources = ConfigurationSources(
            file: file, fileName: "f.json5", environment: environment, flags: flags)
        return try sources.resolve(
            secret: { path throws(ConfigurationError) in
                guard path == "/secret" else {
                    throw ConfigurationError("\(path): the file cannot be read")
                }
                return "from the file"
            }, warn: warnings)
    }

    private static func message(
        file: [String: SettingValue] = [:], environment: [String: String] = [:],
        flags: [(String, String)] = []
    ) -> ConfigurationError? {
        #expect(throws: ConfigurationError.self) {
            try resolve(file: file, environment: environment, flags: flags)
        }
    }

    @Test func `of three sources the later wins`() throws {
        let file: [String: SettingValue] = [
            "heartbeat": .text("1s"), "drain": .text("1s"), "workers": .text("1"),
        ]
        let environment = ["EVENT_SERVICE_HEARTBEAT": "2s", "EVENT_SERVICE_DRAIN": "2s"]
        let configuration = try Self.resolve(
            file: file, environment: environment, flags: [("heartbeat", "3s")])
        #expect(configuration.heartbeat == .seconds(3))
        #expect(configuration.drain == .seconds(2))
        #expect(configuration.workers == 1)
    }

    @Test func `every setting has its three names, and takes its own default`() throws {
        for setting in Setting.all {
            #expect(setting.variable == "EVENT_SERVICE_" + setting.name.uppercased())
            #expect(!setting.flag.contains("_"))
            #expect(
                setting.name != "port" && !setting.name.hasPrefix("service_"),
                "Kubernetes sets such variables")
        }
        let settable = Setting.all.filter {
            !$0.defaultText.contains(" ") && !$0.defaultText.isEmpty
        }
        #expect(settable.count > 20)
        let configuration = try Self.resolve(
            file: Dictionary(
                uniqueKeysWithValues: settable.map { ($0.name, .text($0.defaultText)) }))
        #expect(String(describing: configuration) == String(describing: Configuration()))
    }

    @Test(arguments: [
        ("listen", "8080"), ("listen", "host"), ("listen", "::1:80"), ("listen", "h:65536"),
        ("listen", "h:-1"),
        ("listen", "a b:1"), ("auth", "maybe"), ("auth", ""), ("heartbeat", "15"),
        ("heartbeat", "0"),
        ("heartbeat", "2h"), ("heartbeat", "1.5s"), ("heartbeat", "-1s"), ("heartbeat", " 1s"),
        ("max_connections", "0"),
        ("max_connections", "ten"), ("max_connections", "99999999999999999999"),
        ("ring_bytes", "64kb"),
        ("ring_bytes", "1MB"), ("ring_bytes", "99999999GiB"), ("max_head_bytes", "10"),
        ("demo", "yes"),
        ("allow_insecure", "1"), ("log_level", "loud"), ("log_format", "xml"),
        ("batch_max_delay", "0"),
        ("retention", "forever"), ("workers", "-1"),
    ])
    func `a bad value is named with what is allowed, wherever it stands`(
        name: String, value: String
    ) throws {
        let allowed = try #require(Setting.named(name)).allowed
        let setting = try #require(Setting.named(name))
        for (message, source) in [
            (Self.message(file: [name: .text(value)]), "\(name) in f.json5"),
            (Self.message(environment: [setting.variable: value]), setting.variable),
            (Self.message(flags: [(String(setting.flag.dropFirst(2)), value)]), setting.flag),
        ] {
            #expect(
                message?.description
                    == "\(source): \"\(value)\" is not allowed; allowed is \(allowed)")
        }
    }

    @Test(arguments: [
        ("250ms", Duration.milliseconds(250)), ("15s", .seconds(15)), ("15m", .seconds(900)),
        ("2h", .seconds(7200)),
        ("7d", .seconds(604_800)), ("0", .zero),
    ])
    func `durations are read and written the same`(text: String, duration: Duration) {
        #expect(DurationText.parse(text) == duration)
        #expect(DurationText.text(duration) == text)
    }

    @Test func `an unknown name stops the start, an unknown variable only warns`() throws {
        #expect(
            Self.message(file: ["heart_beat": .text("1s")])?.description
                == "heart_beat in f.json5: there is no such setting; the nearest is heartbeat")
        let flag = Self.message(flags: [("max-conections", "1")])
        #expect(
            flag?.description
                == "--max-conections: there is no such setting; the nearest is --max-connections")
        #expect(flag?.isUsage == true)
        var warnings: [String] = []
        _ = try Self.resolve(
            environment: ["EVENT_SERVICE_PORT": "tcp://10.0.0.1:80", "EVENT_SERVICE_LISTN": "x"],
            warnings: { warnings.append($0) })
        #expect(warnings.count == 2)
        #expect(warnings.first?.hasSuffix("the nearest is EVENT_SERVICE_LISTEN") == true)
    }

    @Test func `a secret may stand in a file and is never shown`() throws {
        #expect(
            try Self.resolve(environment: ["EVENT_SERVICE_JWT_SECRET_FILE": "/secret"]).jwtSecret
                == "from the file")
        #expect(
            try Self.resolve(flags: [("database-url-file", "/secret")]).databaseURL
                == "from the file")
        #expect(
            Self.message(file: ["jwt_secret_file": .text("/none")])?.description.contains("/none")
                == true)
        let list = Self.message(file: ["jwt_secret": .list([.text("hunter2")])])
        #expect(list?.description.contains("hunter2") == false)
        #expect(Self.message(file: ["listen_file": .text("/secret")]) != nil, "no secret")
    }

    @Test func `an object may stand in a variable or a flag`() throws {
        let text = "{ sinks: [{ topic: 'events', types: ['*'] }] }"
        #expect(try Self.resolve(environment: ["EVENT_SERVICE_KAFKA": text]).kafka.sinks.count == 1)
        #expect(try Self.resolve(flags: [("kafka", text)]).kafka.sinks.count == 1)
        let problem = "not JSON5: line 1, column 10: a value is missing here; texts stand in quotes"
        #expect(
            Self.message(environment: ["EVENT_SERVICE_KAFKA": "{ sinks: }"])?.description
                == "EVENT_SERVICE_KAFKA: \(problem)")
        let flag = Self.message(flags: [("kafka", "{ sinks: }")])
        #expect(flag?.description == "--kafka: \(problem)")
        #expect(flag?.isUsage == true)
    }

    @Test func `DATABASE_URL is the database unless the setting says another`() throws {
        #expect(try Self.resolve(environment: ["DATABASE_URL": "a"]).databaseURL == "a")
        let both = ["DATABASE_URL": "a", "EVENT_SERVICE_DATABASE_URL": "b"]
        #expect(try Self.resolve(environment: both).databaseURL == "b")
        #expect(
            try Self.resolve(file: ["database_url": .text("c")], environment: ["DATABASE_URL": "a"])
                .databaseURL == "c")
    }

    @Test(arguments: [
        ("127.0.0.1:80", true), ("localhost:80", true), ("[::1]:80", true), (":0", true),
        ("127.9.9.9:1", true),
        ("0.0.0.0:80", false), ("[::]:80", false), ("10.0.0.1:80", false),
        ("127.0.0.1.evil.example:80", false),
        ("127.evil.0.1:80", false), ("localhost.evil.example:80", false),
    ])
    func `loopback is known`(text: String, isLoopback: Bool) throws {
        #expect(try #require(ListenAddress(text)).isLoopback == isLoopback)
    }
}

@Suite struct `Command arguments` {
    private static let options = [
        CommandOption("url", value: "URL", help: ""), CommandOption("json", help: ""),
        CommandOption("type", value: "TYPE", isRepeatable: true, help: ""),
        CommandOption("demo", value: "VALUE", valueIsOptional: true, help: ""),
    ]

    @Test func `options are read in all their forms`() throws {
        let arguments = try CommandArguments(
            ["--url", "a", "--type=b,c", "--json", "--type", "d", "--demo"], options: Self.options)
        #expect(arguments.value(of: "url") == "a")
        #expect(arguments.list(of: "type") == ["b", "c", "d"])
        #expect(arguments.has("json"))
        #expect(arguments.value(of: "demo") == "true")
        #expect(
            try CommandArguments(["--demo", "false"], options: Self.options).value(of: "demo")
                == "false")
        #expect(
            try CommandArguments(["--demo", "--json"], options: Self.options).value(of: "demo")
                == "true")
        #expect(try CommandArguments(["--url="], options: Self.options).value(of: "url") == "")
    }

    @Test(arguments: [
        ["--ulr", "a"], ["--url"], ["url"], ["--"], ["-j"], ["--json=1"],
        ["--url", "a", "--url", "b"],
    ])
    func `anything else is bad usage`(_ arguments: [String]) {
        let error = #expect(throws: ConfigurationError.self) {
            try CommandArguments(arguments, options: Self.options)
        }
        #expect(error?.isUsage == true)
    }
}

@Suite struct `Example of a configuration` {
    @Test func `the example is read as it stands`() throws {
        let file = try JSON5Reader.object(Repository.text("Config/event-service.example.json5"))
        let sources = ConfigurationSources(file: file, fileName: "example")
        let configuration = try sources.resolve(
            secret: { path throws(ConfigurationError) in "what \(path) holds" }, warn: { _ in })
        #expect(configuration.jwtSecret == "what /run/secrets/jwt_secret holds")
        #expect(configuration.maxConnections == 10_000)
    }

    @Test func `the example names every setting, with its default`() throws {
        let text = try Repository.text("Config/event-service.example.json5")
        for setting in Setting.all {
            let line = try #require(
                text.split(separator: "\n").first { line in
                    ["  ", "  // "].contains { line.hasPrefix("\($0)\(setting.name): ") }
                        || line.hasPrefix("  \(setting.name)_file: ")
                }, "\(setting.name)")
            guard !setting.isSecret, !line.hasPrefix("  //"), !setting.defaultText.contains(" ")
            else { continue }
            let value = line.split(separator: ": ")[1].split(separator: ",")[0]
            #expect(
                value == setting.defaultText || value == "\"\(setting.defaultText)\"",
                "\(setting.name)")
        }
    }
}
