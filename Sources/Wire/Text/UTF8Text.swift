/// Bytes that should be UTF-8 (RFC 3629 §4).
package enum UTF8Text {
    /// Puts `!` in the place of every byte that is not part of a well-formed sequence.
    package static func mend(_ bytes: UnsafeMutablePointer<UInt8>, _ count: Int) {
        var place = 0
        while place < count {
            if bytes[place] < 0x80 {
                place += 1
                continue
            }
            let length = sequence(bytes + place, count - place)
            if length == 0 { bytes[place] = 33 }
            place += max(1, length)
        }
    }

    /// The length of the well-formed sequence of more than one byte at the start; 0 when there is none.
    private static func sequence(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int {
        let first = bytes[0]
        let length = first >= 0xC2 && first <= 0xDF ? 2 : first >= 0xE0 && first <= 0xEF ? 3 : first >= 0xF0 ? 4 : 0
        if length == 0 || first > 0xF4 || length > count { return 0 }
        for place in 1..<length where bytes[place] & 0xC0 != 0x80 { return 0 }
        let second = bytes[1]
        switch first {
        case 0xE0: return second >= 0xA0 ? length : 0
        case 0xED: return second <= 0x9F ? length : 0
        case 0xF0: return second >= 0x90 ? length : 0
        case 0xF4: return second <= 0x8F ? length : 0
        default: return length
        }
    }
}
