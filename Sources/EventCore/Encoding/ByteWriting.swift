extension [UInt8] {
    /// Appends the bytes of a constant.
    @inlinable
    public mutating func append(_ text: StaticString) {
        text.withUTF8Buffer { unsafe append(contentsOf: $0) }
    }

    /// Appends a number in decimal.
    public mutating func appendDecimal(_ value: Int64) {
        appendDecimal(value, width: 1)
    }

    /// Appends a number in decimal, with leading zeros up to a width of at most 20 digits.
    public mutating func appendDecimal(_ value: Int64, width: Int) {
        if value < 0 { append(UInt8(ascii: "-")) }
        unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
            var rest = value.magnitude
            var index = 20
            while rest > 0 || index > 20 - width {
                index -= 1
                unsafe digits[index] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
            }
            unsafe append(contentsOf: digits[index...])
        }
    }

    /// Appends a number in hexadecimal.
    mutating func appendHexadecimal(_ value: UInt8) {
        append(Self.hexadecimal(value >> 4))
        append(Self.hexadecimal(value & 15))
    }

    /// Appends a JSON string, quotes included (RFC 8259, section 7).
    public mutating func appendJSONString(_ text: some StringProtocol) {
        append(UInt8(ascii: "\""))
        let start = count
        append(contentsOf: text.utf8)
        let isPlain = self[start...].containsNone {
            $0 < 0x20 || $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\")
        }
        if !isPlain { escape(from: start) }
        append(UInt8(ascii: "\""))
    }

    private mutating func escape(from start: Int) {
        let plain = Array(self[start...])
        removeSubrange(start...)
        for byte in plain {
            switch byte {
            case UInt8(ascii: "\""): append("\\\"")
            case UInt8(ascii: "\\"): append("\\\\")
            case 0x0A: append("\\n")
            case 0x0D: append("\\r")
            case 0x09: append("\\t")
            case 0..<0x20:
                append("\\u00")
                appendHexadecimal(byte)
            default: append(byte)
            }
        }
    }

    /// Appends JSON with the line ends that may stand between its tokens made blanks: a line end would
    /// end the `data` field of the frame. Within strings JSON has none (RFC 8259, section 7).
    mutating func appendOnOneLine(_ json: Span<UInt8>) {
        let start = count
        unsafe json.withUnsafeBufferPointer { unsafe append(contentsOf: $0) }
        let isLineEnd: (UInt8) -> Bool = { $0 == 0x0A || $0 == 0x0D }
        guard !self[start...].containsNone(where: isLineEnd) else { return }
        for index in start..<count where isLineEnd(self[index]) { self[index] = 0x20 }
    }

    /// Appends `,"name":`, which begins every member of a JSON object but the first.
    public mutating func appendMemberName(_ name: String) {
        append(UInt8(ascii: ","))
        appendJSONString(name)
        append(UInt8(ascii: ":"))
    }

    /// Appends a JSON array of strings.
    public mutating func appendJSONStrings(_ texts: [String]) {
        append(UInt8(ascii: "["))
        for (index, text) in texts.enumerated() {
            if index > 0 { append(UInt8(ascii: ",")) }
            appendJSONString(text)
        }
        append(UInt8(ascii: "]"))
    }

    /// A hexadecimal digit, from 0 to 15.
    public static func hexadecimal(_ digit: UInt8) -> UInt8 {
        digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
    }
}

extension ArraySlice<UInt8> {
    /// Whether no byte meets a condition. Looks at all of them, without a branch for each, so that the
    /// compiler does many at once.
    @inline(__always)
    fileprivate func containsNone(where condition: (UInt8) -> Bool) -> Bool {
        unsafe withUnsafeBufferPointer { bytes in
            var found = false
            for index in bytes.indices { found = unsafe condition(bytes[index]) || found }
            return !found
        }
    }
}
