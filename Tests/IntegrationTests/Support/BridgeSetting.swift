import Foundation
import TestSupport

/// A configuration file for a service with bridges.
final class ConfigurationText: Sendable {
    let path: String

    init(_ json5: String) throws {
        path = FileManager.default.temporaryDirectory.path + "/es-\(UUID()).json5"
        try json5.write(toFile: path, atomically: true, encoding: .utf8)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }
}

extension ServiceProcess {
    /// Starts the service with a configuration file.
    convenience init(
        database: String, configuration: String, _ arguments: [String] = [],
        waitUntilReady: Bool = true
    ) throws {
        let file = try ConfigurationText(configuration)
        try self.init(
            database: database, ["--config", file.path] + arguments, waitUntilReady: waitUntilReady)
    }

    /// Waits until this line stands on the page of metrics.
    func waitForMetric(_ line: String) throws {
        try eventually(line) {
            try HTTPClient.get(opsPort, "/metrics").text.split(separator: "\n")
                .contains(Substring(line)) ? true : nil
        }
    }
}
