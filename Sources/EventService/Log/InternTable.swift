/// Makes one value of equal bytes: event types and audiences repeat from row to row, and a shared value
/// costs a comparison where a new one costs an allocation for each of its strings.
///
/// A table of fixed size in which a newcomer takes the place of whoever has the same hash.
struct InternTable<Value> {
    private var entries = [(bytes: [UInt8], value: Value)?](repeating: nil, count: 512)
    /// Longer ones are rare, and would be dear to keep.
    private static var longest: Int { 512 }

    /// The value of some bytes, made by `make` if it is not known.
    mutating func value(
        of bytes: UnsafeRawBufferPointer, make: (UnsafeRawBufferPointer) -> Value
    ) -> Value {
        guard bytes.count <= Self.longest else { return make(bytes) }
        let slot = Self.hash(bytes) % entries.count
        if let entry = entries[slot], entry.bytes.count == bytes.count,
            entry.bytes.withUnsafeBytes({ $0.elementsEqual(bytes) })
        {
            return entry.value
        }
        let value = make(bytes)
        entries[slot] = ([UInt8](bytes), value)
        return value
    }

    /// FNV-1a over words of eight bytes.
    private static func hash(_ bytes: UnsafeRawBufferPointer) -> Int {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        var index = 0
        while index + 8 <= bytes.count {
            let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            hash = (hash ^ word) &* 0x100_0000_01b3
            hash ^= hash >> 29
            index += 8
        }
        while index < bytes.count {
            hash = (hash ^ UInt64(bytes[index])) &* 0x100_0000_01b3
            index += 1
        }
        return Int(truncatingIfNeeded: (hash ^ hash >> 32) & 0x7FFF_FFFF)
    }
}
