// swift-tools-version: 6.3
import PackageDescription

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]

let package = Package(
    name: "event-service",
    products: [
        .executable(name: "event-service", targets: ["EventService"]),
        .executable(name: "event-service-load", targets: ["LoadDriver"]),
        .executable(name: "simulation", targets: ["Simulation"]),
    ],
    targets: [
        .systemLibrary(name: "CLinux"),
        .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(name: "CJose", pkgConfig: "jose", providers: [.apt(["libjose-dev"])]),
        .systemLibrary(
            name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        // Without pkg-config: the flags it gives make the package manager warn.
        .systemLibrary(name: "CHiredis", providers: [.apt(["libhiredis-dev"])]),
        .systemLibrary(name: "CRDKafka", providers: [.apt(["librdkafka-dev"])]),

        // Decides. No socket, no thread, no clock: see Tests/EventCoreTests/TidyTests.swift.
        .target(name: "EventCore", swiftSettings: strict + [.strictMemorySafety()]),
        // Acts.
        .executableTarget(
            name: "EventService",
            dependencies: [
                "EventCore", "CLinux", "CLibPQ", "CJose", "CCurl", "CHiredis", "CRDKafka",
            ],
            swiftSettings: strict),
        // Loads a running service from outside and counts what comes.
        .executableTarget(
            name: "LoadDriver", dependencies: ["EventCore", "CLinux"], path: "bench/LoadDriver",
            swiftSettings: strict),

        // A program, not a test target: built for release it gets through thousands of seeds.
        .executableTarget(
            name: "Simulation", dependencies: ["EventCore", "TestSupport"],
            path: "Tests/Simulation", exclude: ["seeds.txt"], swiftSettings: strict),
        .target(
            name: "TestSupport", dependencies: ["EventCore", "CJose"], path: "Tests/TestSupport",
            swiftSettings: strict),
        .testTarget(
            name: "EventCoreTests", dependencies: ["EventCore", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "EventServiceTests", dependencies: ["EventService", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "LoadDriverTests", dependencies: ["LoadDriver"], swiftSettings: strict),
        .testTarget(
            name: "IntegrationTests", dependencies: ["EventService", "TestSupport"],
            swiftSettings: strict),
    ]
)

// libFuzzer brings its own main(), so its targets exist only where they are asked for.
if Context.environment["EVENT_SERVICE_FUZZ"] != nil {
    for parser in ["HTTP", "Stream"] {
        package.targets.append(
            .executableTarget(
                name: "Fuzz\(parser)", dependencies: ["EventCore"], path: "Tests/Fuzz/\(parser)",
                swiftSettings: strict + [.unsafeFlags(["-parse-as-library"])]))
        package.products.append(.executable(name: "Fuzz\(parser)", targets: ["Fuzz\(parser)"]))
    }
}

// Who runs some tests need not wait until the others are compiled: dev/test.
if let part = Context.environment["EVENT_SERVICE_TESTS"] {
    let others =
        switch part {
        case "unit": ["Simulation", "IntegrationTests"]
        case "integration":
            [
                "Simulation", "LoadDriver", "EventCoreTests", "EventServiceTests",
                "LoadDriverTests",
            ]
        default: fatalError("EVENT_SERVICE_TESTS is unit or integration")
        }
    package.targets.removeAll { others.contains($0.name) }
    package.products.removeAll { product in
        (product as? Product.Executable)?.targets.contains { others.contains($0) } == true
    }
}
