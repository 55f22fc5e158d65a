/// Finds the members of a JSON object without decoding it.
///
/// The input is JSON that PostgreSQL has checked (types `json` and `jsonb`), so only its structure is
/// followed, never its validity; on anything else the result is `nil` or cut short, never a trap.
public struct JSONMembers {
    /// One member: its name, still escaped, and where its value stands.
    public struct Member: Equatable {
        /// The name between the quotes, escapes left in.
        public let name: Range<Int>
        /// The value, white space around it left out.
        public let value: Range<Int>
    }

    /// Returns the members of the object that `json` is; `nil` if it is no object.
    public static func find(in json: Span<UInt8>) -> [Member]? {
        var members: [Member] = []
        var index = skipBlanks(json, from: 0)
        guard index < json.count, json[index] == UInt8(ascii: "{") else { return nil }
        index = skipBlanks(json, from: index + 1)
        while index < json.count, json[index] == UInt8(ascii: "\"") {
            guard let nameEnd = endOfString(json, from: index) else { return nil }
            let colon = skipBlanks(json, from: nameEnd)
            guard colon < json.count, json[colon] == UInt8(ascii: ":") else { return nil }
            let valueStart = skipBlanks(json, from: colon + 1)
            guard let valueEnd = endOfValue(json, from: valueStart) else { return nil }
            members.append(Member(name: index + 1..<nameEnd - 1, value: valueStart..<valueEnd))
            index = skipBlanks(json, from: valueEnd)
            guard index < json.count, json[index] == UInt8(ascii: ",") else { break }
            index = skipBlanks(json, from: index + 1)
        }
        return members
    }

    private static func skipBlanks(_ json: Span<UInt8>, from start: Int) -> Int {
        var index = start
        while index < json.count, [0x20, 0x09, 0x0A, 0x0D].contains(json[index]) { index += 1 }
        return index
    }

    /// The index behind the closing quote of the string that begins at `start`.
    private static func endOfString(_ json: Span<UInt8>, from start: Int) -> Int? {
        var index = start + 1
        while index < json.count {
            switch json[index] {
            case UInt8(ascii: "\""): return index + 1
            case UInt8(ascii: "\\"): index += 2
            default: index += 1
            }
        }
        return nil
    }

    /// The index behind the value that begins at `start`.
    private static func endOfValue(_ json: Span<UInt8>, from start: Int) -> Int? {
        var index = start
        var depth = 0
        while index < json.count {
            switch json[index] {
            case UInt8(ascii: "\""):
                guard let end = endOfString(json, from: index) else { return nil }
                index = end
                if depth == 0 { return index }
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                if depth == 0 { return index }
                depth -= 1
                if depth == 0 { return index + 1 }
            case UInt8(ascii: ","), 0x20, 0x09, 0x0A, 0x0D:
                if depth == 0 { return index > start ? index : nil }
            default:
                break
            }
            index += 1
        }
        return depth == 0 && index > start ? index : nil
    }
}
