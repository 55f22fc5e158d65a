public import Foundation

/// The checkout that the tests run in.
public enum Repository {
    /// Its folder.
    public static let root: URL = {
        var folder = URL(fileURLWithPath: #filePath)
        while !FileManager.default.fileExists(atPath: folder.path + "/Package.swift") {
            folder.deleteLastPathComponent()
        }
        return folder
    }()

    /// The text of a file, by its path from the root.
    public static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
    }

    /// The files below a folder whose names end so, by their paths from the root.
    public static func files(below folder: String, ending: String) -> [String] {
        let base = root.appendingPathComponent(folder).path
        let paths = FileManager.default.enumerator(atPath: base)?.compactMap { $0 as? String } ?? []
        return paths.filter { $0.hasSuffix(ending) }.map { folder + "/" + $0 }.sorted()
    }
}
