import CJose
import EventCore

/// JSON that libjose reads, owned.
final class JoseJSON {
    let pointer: UnsafeMutablePointer<json_t>

    /// Takes over a value; `nil` for the null pointer of a failed call.
    init?(owning pointer: UnsafeMutablePointer<json_t>?) {
        guard let pointer else { return nil }
        self.pointer = pointer
    }

    /// An object of texts.
    init?(_ members: [String: String]) {
        guard let object = json_object() else { return nil }
        pointer = object
        for (name, value) in members { set(name, value.utf8) }
    }

    deinit {
        cjose_release(pointer)
    }

    /// Sets a member of an object to a text in UTF-8.
    func set(_ name: String, _ text: some Collection<UInt8>) {
        let bytes = Array(text)
        json_object_set_new(
            pointer, name,
            bytes.withUnsafeBytes {
                json_stringn($0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count)
            })
    }

    /// Reads JSON; `nil` for anything else, and for an object with two members of one name: two readers
    /// could take different ones.
    static func value(of bytes: [UInt8]) -> JSONValue? {
        let document = bytes.withUnsafeBytes {
            JoseJSON(
                owning: json_loadb(
                    $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count,
                    Int(JSON_REJECT_DUPLICATES), nil))
        }
        return document.map { value(of: $0.pointer) }
    }

    private static func value(of json: UnsafeMutablePointer<json_t>) -> JSONValue {
        switch json.pointee.type {
        case JSON_OBJECT:
            var members: [String: JSONValue] = [:]
            var iterator = json_object_iter(json)
            while let current = iterator {
                if let value = json_object_iter_value(current) {
                    members[String(cString: json_object_iter_key(current))] = Self.value(of: value)
                }
                iterator = json_object_iter_next(json, current)
            }
            return .object(members)
        case JSON_ARRAY:
            return .array(
                (0..<json_array_size(json)).compactMap { json_array_get(json, $0).map(value(of:)) })
        case JSON_STRING:
            return .string(json_string_value(json).map { String(cString: $0) } ?? "")
        case JSON_INTEGER:
            return .integer(Int64(json_integer_value(json)))
        case JSON_REAL:
            return .number(json_real_value(json))
        case JSON_TRUE:
            return .bool(true)
        case JSON_FALSE:
            return .bool(false)
        default:
            return .null
        }
    }
}
