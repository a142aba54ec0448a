/// Why bytes are not JSON, and where.
package struct JSONFault: Error, Hashable, CustomStringConvertible {
    package enum Reason: String, Sendable {
        case unexpectedEnd = "unexpected end of input"
        case unexpectedByte = "unexpected character"
        case badEscape = "invalid escape in string"
        case badNumber = "invalid number"
        case badUTF8 = "string is not valid UTF-8"
        case controlCharacter = "control character in string"
        case tooDeep = "nested too deeply"
        case trailing = "data after the value"
    }
    package let reason: Reason
    package let offset: Int
    package var description: String { "\(reason.rawValue) at byte \(offset)" }
}

extension JSON {
    /// Parses one JSON text.
    ///
    /// - Parameter bytes: the whole text, UTF-8.
    /// - Throws: `JSONFault` with the offset of the first byte that does not fit.
    /// - Source: RFC 8259. Nesting deeper than 512 is refused.
    package init(parsing bytes: [UInt8]) throws(JSONFault) {
        self = try JSONParser.parse(bytes).value
    }

    package init(parsing text: String) throws(JSONFault) {
        try self.init(parsing: Array(text.utf8))
    }

    /// Parses and also tells the paths of members that stand twice in one object; the last one counts.
    /// - Parameter deepest: objects and lists within each other.
    package init(
        parsing bytes: [UInt8], duplicates: inout [String], deepest: Int = JSON.deepest
    ) throws(JSONFault) {
        let first = try JSONParser.parse(bytes, deepest: deepest)
        self = first.value
        // Nearly no text has any: only then is it read again, with an eye on where things stand.
        if first.hasDuplicates { duplicates += try JSONParser.parse(bytes, findsDuplicates: true).duplicates }
    }

    /// What is nested deeper is not read, so that what walks a tree may call itself.
    package static let deepest = 512
}

/// Elements under way to their array. They move there all at once, so that an array has the size it needs.
private struct ElementStack<Element>: ~Copyable {
    private var base: UnsafeMutablePointer<Element>
    private var capacity: Int
    private(set) var count = 0

    init(capacity: Int) {
        base = .allocate(capacity: capacity)
        self.capacity = capacity
    }

    deinit {
        base.deinitialize(count: count)
        base.deallocate()
    }

    mutating func push(_ element: consuming Element) {
        if count == capacity { grow() }
        (base + count).initialize(to: element)
        count += 1
    }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<Element>.allocate(capacity: 2 * capacity)
        larger.moveInitialize(from: base, count: count)
        base.deallocate()
        base = larger
        capacity *= 2
    }

    /// Takes away what stands from a place on.
    mutating func take(from start: Int) -> [Element] {
        let length = count - start
        if length == 0 { return [] }
        let (from, end) = (base + start, start)
        count = end
        return [Element](unsafeUninitializedCapacity: length) { space, filled in
            space.baseAddress?.moveInitialize(from: from, count: length)
            filled = length
        }
    }

    func elements(from start: Int) -> UnsafeBufferPointer<Element> {
        UnsafeBufferPointer(start: base + start, count: count - start)
    }

    func pointer(at place: Int) -> UnsafeMutablePointer<Element> { base + place }
}

private struct JSONParser: ~Copyable {
    let base: UnsafePointer<UInt8>
    let count: Int
    let deepest: Int
    var place = 0
    /// Whether the paths of members that stand twice are to be told; otherwise only that there are some.
    let findsDuplicates: Bool
    var hasDuplicates = false
    var path: [Step] = []
    var duplicates: [String] = []
    var members = ElementStack<JSONObject.Member>(capacity: 32)
    var elements = ElementStack<JSON>(capacity: 16)

    /// Where the parser is; written out only when there is something to tell.
    enum Step {
        case member(String)
        case element(Int)
    }

    var pathText: String {
        var parts: [String] = []
        for step in path {
            switch step {
            case .member(let key): parts.append(key)
            case .element(let index): parts.append("[\(index)]")
            }
        }
        return parts.joined(separator: ".")
    }

    struct Parsed {
        let value: JSON
        let hasDuplicates: Bool
        let duplicates: [String]
    }

    static func parse(
        _ bytes: [UInt8], findsDuplicates: Bool = false, deepest: Int = JSON.deepest
    ) throws(JSONFault) -> Parsed {
        let parsed = bytes.withUnsafeBufferPointer { buffer -> Result<Parsed, JSONFault> in
            guard let base = buffer.baseAddress else { return .failure(JSONFault(reason: .unexpectedEnd, offset: 0)) }
            var parser = JSONParser(
                base: base, count: buffer.count, findsDuplicates: findsDuplicates, deepest: deepest)
            do throws(JSONFault) {
                let value = try parser.value(depth: 0)
                parser.skipSpace()
                if parser.place != parser.count { throw parser.fault(.trailing) }
                let (hasDuplicates, duplicates) = (parser.hasDuplicates, parser.duplicates)
                return .success(Parsed(value: value, hasDuplicates: hasDuplicates, duplicates: duplicates))
            } catch {
                return .failure(error)
            }
        }
        return try parsed.get()
    }

    init(base: UnsafePointer<UInt8>, count: Int, findsDuplicates: Bool, deepest: Int) {
        self.base = base
        self.count = count
        self.deepest = deepest
        self.findsDuplicates = findsDuplicates
    }

    func fault(_ reason: JSONFault.Reason) -> JSONFault {
        JSONFault(reason: place >= count && reason == .unexpectedByte ? .unexpectedEnd : reason, offset: place)
    }

    mutating func skipSpace() {
        while place < count, base[place] == 0x20 || base[place] == 0x0A || base[place] == 0x0D || base[place] == 0x09 {
            place &+= 1
        }
    }

    mutating func value(depth: Int) throws(JSONFault) -> JSON {
        skipSpace()
        guard place < count else { throw fault(.unexpectedEnd) }
        guard depth < deepest else { throw fault(.tooDeep) }
        switch base[place] {
        case UInt8(ascii: "{"): return try objectValue(depth: depth)
        case UInt8(ascii: "["): return try arrayValue(depth: depth)
        case UInt8(ascii: "\""): return .string(try stringValue())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try numberValue()
        }
    }

    mutating func word(_ word: StaticString, _ value: JSON) throws(JSONFault) -> JSON {
        guard place + word.utf8CodeUnitCount <= count else { throw fault(.unexpectedEnd) }
        for offset in 0..<word.utf8CodeUnitCount where base[place + offset] != word.utf8Start[offset] {
            throw fault(.unexpectedByte)
        }
        place += word.utf8CodeUnitCount
        return value
    }

    mutating func objectValue(depth: Int) throws(JSONFault) -> JSON {
        place += 1
        skipSpace()
        if place < count, base[place] == UInt8(ascii: "}") {
            place += 1
            return .object(JSONObject())
        }
        let start = members.count
        // Beyond a few members a set finds duplicates faster than the members themselves.
        var seen: Set<String>? = nil
        while true {
            skipSpace()
            guard place < count, base[place] == UInt8(ascii: "\"") else { throw fault(.unexpectedByte) }
            let key = try stringValue()
            skipSpace()
            guard place < count, base[place] == UInt8(ascii: ":") else { throw fault(.unexpectedByte) }
            place += 1
            if findsDuplicates { path.append(.member(key)) }
            let member = try value(depth: depth + 1)
            if members.count - start == 16 { seen = Set(members.elements(from: start).map(\.key)) }
            let isNew = seen?.insert(key).inserted ?? (known(key, from: start) == nil)
            if isNew {
                members.push(.init(key, member))
            } else {
                hasDuplicates = true
                if findsDuplicates { duplicates.append(pathText) }
                if let known = known(key, from: start) {
                    members.pointer(at: known).pointee.value = member
                } else {
                    members.push(.init(key, member))
                }
            }
            if findsDuplicates { path.removeLast() }
            skipSpace()
            guard place < count else { throw fault(.unexpectedEnd) }
            if base[place] == UInt8(ascii: ",") {
                place += 1
                continue
            }
            guard base[place] == UInt8(ascii: "}") else { throw fault(.unexpectedByte) }
            place += 1
            return .object(JSONObject(members.take(from: start)))
        }
    }

    /// Where the object that is being read, and whose members begin at `start`, has a key already.
    func known(_ key: String, from start: Int) -> Int? {
        let length = key.utf8.count
        let own = members.elements(from: start)
        for place in 0..<own.count where own[place].key.utf8.count == length {
            if own[place].key == key { return start + place }
        }
        return nil
    }

    mutating func arrayValue(depth: Int) throws(JSONFault) -> JSON {
        place += 1
        skipSpace()
        if place < count, base[place] == UInt8(ascii: "]") {
            place += 1
            return .array([])
        }
        let start = elements.count
        while true {
            if findsDuplicates { path.append(.element(elements.count - start)) }
            elements.push(try value(depth: depth + 1))
            if findsDuplicates { path.removeLast() }
            skipSpace()
            guard place < count else { throw fault(.unexpectedEnd) }
            if base[place] == UInt8(ascii: ",") {
                place += 1
                continue
            }
            guard base[place] == UInt8(ascii: "]") else { throw fault(.unexpectedByte) }
            place += 1
            return .array(elements.take(from: start))
        }
    }

    mutating func numberValue() throws(JSONFault) -> JSON {
        let start = place
        if place < count, base[place] == UInt8(ascii: "-") { place += 1 }
        let digits = place
        while place < count, base[place] &- 0x30 < 10 { place += 1 }
        let digitCount = place - digits
        guard digitCount > 0 else {
            place = start
            throw fault(.unexpectedByte)
        }
        guard digitCount == 1 || base[digits] != UInt8(ascii: "0") else { throw fault(.badNumber) }
        var whole = true
        if place < count, base[place] == UInt8(ascii: ".") {
            whole = false
            place += 1
            try someDigits()
        }
        if place < count, base[place] | 0x20 == UInt8(ascii: "e") {
            whole = false
            place += 1
            if place < count, base[place] == UInt8(ascii: "+") || base[place] == UInt8(ascii: "-") { place += 1 }
            try someDigits()
        }
        if whole, digitCount <= 18 {
            var value: Int64 = 0
            for at in digits..<place { value = value &* 10 &+ Int64(base[at] &- 0x30) }
            return .int(digits > start ? -value : value)
        }
        let text = String(decoding: UnsafeBufferPointer(start: base + start, count: place - start), as: UTF8.self)
        if whole, let value = Int64(text) { return .int(value) }
        guard let value = Double(text), value.isFinite else { throw fault(.badNumber) }
        return .double(value)
    }

    mutating func someDigits() throws(JSONFault) {
        let start = place
        while place < count, base[place] &- 0x30 < 10 { place += 1 }
        if place == start { throw fault(.badNumber) }
    }

    mutating func stringValue() throws(JSONFault) -> String {
        place += 1
        let start = place
        var all: UInt8 = 0
        while place < count, base[place] != UInt8(ascii: "\""), base[place] != UInt8(ascii: "\\") {
            if base[place] < 0x20 { throw fault(.controlCharacter) }
            all |= base[place]
            place &+= 1
        }
        guard place < count else { throw fault(.unexpectedEnd) }
        if base[place] == UInt8(ascii: "\"") {
            let length = place - start
            if all < 0x80 {
                place += 1
                return String(copying: UnsafeBufferPointer(start: base + start, count: length))
            }
            let text = String(validating: UnsafeBufferPointer(start: base + start, count: place - start), as: UTF8.self)
            guard let text else { throw fault(.badUTF8) }
            place += 1
            return text
        }
        return try escapedString(from: start)
    }

    mutating func escapedString(from start: Int) throws(JSONFault) -> String {
        var bytes = [UInt8](UnsafeBufferPointer(start: base + start, count: place - start))
        while place < count {
            let byte = base[place]
            if byte == UInt8(ascii: "\"") {
                guard let text = String(validating: bytes, as: UTF8.self) else { throw fault(.badUTF8) }
                place += 1
                return text
            }
            if byte < 0x20 { throw fault(.controlCharacter) }
            place += 1
            guard byte == UInt8(ascii: "\\") else {
                bytes.append(byte)
                continue
            }
            guard place < count else { break }
            let escape = base[place]
            place += 1
            switch escape {
            case UInt8(ascii: "n"): bytes.append(0x0A)
            case UInt8(ascii: "t"): bytes.append(0x09)
            case UInt8(ascii: "r"): bytes.append(0x0D)
            case UInt8(ascii: "b"): bytes.append(0x08)
            case UInt8(ascii: "f"): bytes.append(0x0C)
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): bytes.append(escape)
            case UInt8(ascii: "u"): bytes.append(contentsOf: String(try unicodeEscape()).utf8)
            default: throw fault(.badEscape)
            }
        }
        throw fault(.unexpectedEnd)
    }

    /// The scalar of a `\u` escape, or of a surrogate pair of them. A lone surrogate becomes U+FFFD.
    mutating func unicodeEscape() throws(JSONFault) -> Unicode.Scalar {
        let first = try hex4()
        if first & 0xFC00 == 0xD800, place + 1 < count, base[place] == UInt8(ascii: "\\"),
            base[place + 1] == UInt8(ascii: "u")
        {
            let mark = place
            place += 2
            let second = try hex4()
            if second & 0xFC00 == 0xDC00 {
                return Unicode.Scalar(0x10000 + (first & 0x3FF) << 10 + second & 0x3FF) ?? "\u{FFFD}"
            }
            place = mark
        }
        return Unicode.Scalar(first) ?? "\u{FFFD}"
    }

    mutating func hex4() throws(JSONFault) -> UInt32 {
        guard place + 4 <= count else { throw fault(.unexpectedEnd) }
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = Character(Unicode.Scalar(base[place])).hexDigitValue else { throw fault(.badEscape) }
            value = value << 4 | UInt32(digit)
            place += 1
        }
        return value
    }
}

extension String {
    /// Text that is known to be UTF-8, without the detour over generic code that `validating` takes.
    package init(copying text: UnsafeBufferPointer<UInt8>) {
        self.init(unsafeUninitializedCapacity: text.count) { space in
            if let from = text.baseAddress { space.baseAddress?.update(from: from, count: text.count) }
            return text.count
        }
    }
}
