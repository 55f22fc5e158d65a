import FoundationEssentials
import Glibc

/// Where the files lie that come with the executable.
enum InstalledFiles {
    /// The folder of the migrations.
    static var migrations: String? {
        find(installed: "share/event-service/migrations", checkout: "Migrations")
    }

    /// The folder of the browser modules.
    static var web: String? {
        find(installed: "share/event-service/web", checkout: "web/dist")
    }

    /// Looks below the executable's prefix, beside it, and in the checkout that it was built in.
    private static func find(installed: String, checkout: String) -> String? {
        guard let executable = path(of: "/proc/self/exe") else { return nil }
        var folder = parent(of: executable)
        let beside = folder + "/" + (installed.split(separator: "/").last.map(String.init) ?? "")
        var candidates = [parent(of: folder) + "/" + installed, beside]
        while folder.count > 1 {
            // A checkout is known by its manifest, so that a folder of the same name elsewhere is not
            // taken for it.
            if FileManager.default.fileExists(atPath: folder + "/Package.swift") {
                candidates.append(folder + "/" + checkout)
                break
            }
            folder = parent(of: folder)
        }
        return candidates.first { FileManager.default.fileExists(atPath: $0) }
    }

    private static func parent(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
    }

    private static func path(of link: String) -> String? {
        guard let resolved = realpath(link, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}
