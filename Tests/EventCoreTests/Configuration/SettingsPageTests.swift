import EventCore
import Foundation
import TestSupport
import Testing

@Suite struct `Settings page` {
    @Test func `the documented settings are those that there are, both ways`() throws {
        let page = GeneratedSection(path: "docs/settings.md", name: "settings")
        try page.check(Self.table)
    }

    private static var table: String {
        let rows = Setting.all.map { setting in
            let secret = setting.isSecret ? " May stand in a file: `\(setting.name)_file`." : ""
            let initial = setting.defaultText.isEmpty ? "–" : setting.defaultText
            return
                "| `\(setting.name)` | \(initial) | \(setting.summary).\(secret) | \(setting.allowed) |\n"
        }
        return "\n| setting | default | what it does | allowed |\n| --- | --- | --- | --- |\n"
            + rows.joined() + "\n"
    }

    @Test func `the example file names every setting that has a default, and no other`() throws {
        let text = try Repository.text("Config/event-service.example.json5")
        let named = text.split(separator: "\n").compactMap { line -> String? in
            guard line.hasPrefix("  ") else { return nil }
            // What is commented out counts, what lies deeper does not.
            var rest = line.dropFirst(2)
            if rest.hasPrefix("// ") { rest = rest.dropFirst(3) }
            let name = String(rest.prefix { $0 != ":" })
            return name.allSatisfy { $0.isLowercase || $0 == "_" } ? name : nil
        }
        for name in named {
            let base = name.hasSuffix("_file") ? String(name.dropLast(5)) : name
            #expect(Setting.named(base) != nil, "\(name) is no setting")
        }
        for setting in Setting.all {
            #expect(
                named.contains(setting.name) || named.contains(setting.name + "_file"),
                "\(setting.name) is not in the example")
        }
    }
}
