import Glibc

/// JSON text under way: bytes are put where there is room for them, and become an array at the end.
package struct JSONText: ~Copyable {
    private var base: UnsafeMutablePointer<UInt8>
    private var capacity: Int
    private var count = 0

    package init(capacity: Int = 1024) {
        self.capacity = max(64, capacity)
        base = .allocate(capacity: self.capacity)
    }

    deinit { base.deallocate() }

    package var bytes: [UInt8] { [UInt8](UnsafeBufferPointer(start: base, count: count)) }
    package var text: String { String(decoding: UnsafeBufferPointer(start: base, count: count), as: UTF8.self) }

    package func append(to out: inout [UInt8]) {
        out.append(contentsOf: UnsafeBufferPointer(start: base, count: count))
    }

    @inline(__always)
    private mutating func reserve(_ more: Int) {
        if capacity - count < more { grow(more) }
    }

    @inline(never)
    private mutating func grow(_ more: Int) {
        capacity = max(2 * capacity, count + more)
        let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
        memcpy(larger, base, count)
        base.deallocate()
        base = larger
    }

    package mutating func put(_ byte: UInt8) {
        reserve(1)
        base[count] = byte
        count &+= 1
    }

    package mutating func put(_ bytes: UnsafeBufferPointer<UInt8>) {
        guard let start = bytes.baseAddress else { return }
        reserve(bytes.count)
        memcpy(base + count, start, bytes.count)
        count &+= bytes.count
    }

    package mutating func put(_ bytes: [UInt8]) { bytes.withUnsafeBufferPointer { put($0) } }

    /// Text as it is.
    package mutating func put(word: StaticString) {
        put(UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount))
    }

    package mutating func put(_ value: JSON) {
        switch value {
        case .null: put(word: "null")
        case .bool(let flag): put(word: flag ? "true" : "false")
        case .int(let number): put(number)
        case .double(let number):
            var text = JSON.number(number)
            text.withUTF8 { put($0) }
        case .string(let text): put(quoted: text)
        case .array(let elements):
            put(UInt8(ascii: "["))
            for place in 0..<elements.count {
                if place > 0 { put(UInt8(ascii: ",")) }
                put(elements[place])
            }
            put(UInt8(ascii: "]"))
        case .object(let object):
            put(UInt8(ascii: "{"))
            for place in 0..<object.members.count {
                if place > 0 { put(UInt8(ascii: ",")) }
                put(quoted: object.members[place].key)
                put(UInt8(ascii: ":"))
                put(object.members[place].value)
            }
            put(UInt8(ascii: "}"))
        }
    }

    private mutating func put(_ number: Int64) {
        reserve(20)
        var rest = number.magnitude
        if number < 0 {
            base[count] = UInt8(ascii: "-")
            count &+= 1
        }
        var digits = 1
        var limit: UInt64 = 10
        while digits < 19, rest >= limit {
            digits &+= 1
            limit &*= 10
        }
        var place = count &+ digits
        count = place
        repeat {
            place &-= 1
            base[place] = UInt8(truncatingIfNeeded: 0x30 &+ rest % 10)
            rest /= 10
        } while rest > 0
    }

    /// A string in its quotation marks.
    package mutating func put(quoted text: String) {
        var text = text
        text.withUTF8 { put(quoted: $0) }
    }

    /// The same behind letters that need no escape.
    package mutating func put(_ prefix: StaticString, quoted text: String) {
        put(UInt8(ascii: "\""))
        put(word: prefix)
        var text = text
        text.withUTF8 { bytes in
            if let start = bytes.baseAddress, Self.isPlain(start, bytes.count) { put(bytes) } else { escape(bytes) }
        }
        put(UInt8(ascii: "\""))
    }

    private mutating func put(quoted bytes: UnsafeBufferPointer<UInt8>) {
        guard let start = bytes.baseAddress, Self.isPlain(start, bytes.count) else {
            put(UInt8(ascii: "\""))
            escape(bytes)
            put(UInt8(ascii: "\""))
            return
        }
        reserve(bytes.count + 2)
        base[count] = UInt8(ascii: "\"")
        memcpy(base + count + 1, start, bytes.count)
        base[count + 1 + bytes.count] = UInt8(ascii: "\"")
        count &+= bytes.count &+ 2
    }

    /// Whether nothing needs an escape. Looks at eight bytes at a time.
    private static func isPlain(_ start: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let tops: UInt64 = 0x8080_8080_8080_8080
        let raw = UnsafeRawPointer(start)
        var place = 0
        while place &+ 8 <= count {
            let word = raw.loadUnaligned(fromByteOffset: place, as: UInt64.self)
            let quotes = word ^ (ones &* 0x22)
            let slashes = word ^ (ones &* 0x5C)
            // A byte's top bit is set where it was below 0x20, or zero after the exclusive or.
            let found =
                ((word &- ones &* 0x20) & ~word) | ((quotes &- ones) & ~quotes) | ((slashes &- ones) & ~slashes)
            if found & tops != 0 { return false }
            place &+= 8
        }
        while place < count {
            let byte = start[place]
            if byte < 0x20 || byte == 0x22 || byte == 0x5C { return false }
            place &+= 1
        }
        return true
    }

    private static let hexDigits = Array("0123456789abcdef".utf8)

    /// Runs without an escape are copied whole.
    private mutating func escape(_ bytes: UnsafeBufferPointer<UInt8>) {
        var start = 0
        for place in 0..<bytes.count {
            let byte = bytes[place]
            if byte >= 0x20, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") { continue }
            put(UnsafeBufferPointer(rebasing: bytes[start..<place]))
            start = place + 1
            put(UInt8(ascii: "\\"))
            switch byte {
            case 0x0A: put(UInt8(ascii: "n"))
            case 0x0D: put(UInt8(ascii: "r"))
            case 0x09: put(UInt8(ascii: "t"))
            case 0..<0x20:
                put(word: "u00")
                put(Self.hexDigits[Int(byte >> 4)])
                put(Self.hexDigits[Int(byte & 15)])
            default: put(byte)
            }
        }
        put(UnsafeBufferPointer(rebasing: bytes[start...]))
    }
}
