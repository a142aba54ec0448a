/// An expression as a tree.
indirect enum PatternNode {
    case empty
    case bytes(ByteSet)
    case sequence([PatternNode])
    case choice([PatternNode])
    case repeated(PatternNode, least: Int, most: Int?, isGreedy: Bool)
    /// Numbered from 1, in the order of their opening parentheses.
    case group(Int, PatternNode)
    case assertion(PatternAssertion)
}

enum PatternAssertion: UInt8 {
    case textStart, textEnd, lineStart, lineEnd, wordBoundary, noWordBoundary
}

/// Reads RE2's syntax, over bytes: a character beyond ASCII stands for its UTF-8 bytes, and `.` for one byte.
///
/// Left out, and refused: what needs Unicode's tables (`\pN`), and what has no linear-time matching (back references, look-around).
struct PatternSyntax {
    private struct Flags {
        var ignoresCase = false
        var isMultiline = false
        var dotTakesAll = false
        var prefersShort = false
    }

    /// Nested groups; the tree is walked by recursion.
    private static let deepest = 100
    private static let mostRepeats = 1000

    private let text: [UInt8]
    private var place = 0
    private var flags = Flags()
    private var depth = 0
    private(set) var groups = 0

    init(_ text: [UInt8], ignoresCase: Bool) {
        self.text = text
        flags.ignoresCase = ignoresCase
    }

    mutating func read() throws(PatternFault) -> PatternNode {
        let node = try choice()
        if place < text.count { throw fault("unexpected )") }
        return node
    }

    private func fault(_ message: String, at position: Int? = nil) -> PatternFault {
        PatternFault(position: position ?? place, message: message)
    }

    private var next: UInt8? { place < text.count ? text[place] : nil }

    private mutating func take(_ word: StaticString) -> Bool {
        let count = word.utf8CodeUnitCount
        if place + count > text.count { return false }
        for index in 0..<count where text[place + index] != word.utf8Start[index] { return false }
        place += count
        return true
    }

    private mutating func choice() throws(PatternFault) -> PatternNode {
        depth += 1
        defer { depth -= 1 }
        if depth > Self.deepest { throw fault("groups are nested more than \(Self.deepest) deep") }
        var branches = [try sequence()]
        while take("|") { branches.append(try sequence()) }
        return branches.count == 1 ? branches[0] : .choice(branches)
    }

    private mutating func sequence() throws(PatternFault) -> PatternNode {
        var parts: [PatternNode] = []
        while let byte = next, byte != UInt8(ascii: "|"), byte != UInt8(ascii: ")") {
            if take("\\Q") {
                while place < text.count, !take("\\E") {
                    parts.append(literal(text[place]))
                    place += 1
                }
                if let last = parts.popLast() { parts.append(try repeats(last)) }
                continue
            }
            guard let atom = try atom() else { continue }
            // A character of several bytes is repeated as one.
            parts.append(try repeats(atom))
        }
        if parts.isEmpty { return .empty }
        return parts.count == 1 ? parts[0] : .sequence(parts)
    }

    private func literal(_ byte: UInt8) -> PatternNode {
        let set = ByteSet(byte)
        return .bytes(flags.ignoresCase ? set.folded : set)
    }

    /// `nil` for what only changes the flags.
    private mutating func atom() throws(PatternFault) -> PatternNode? {
        guard let byte = next else { return .empty }
        switch byte {
        case UInt8(ascii: "("): return try group()
        case UInt8(ascii: "["): return .bytes(try set())
        case UInt8(ascii: "\\"): return try escape()
        case UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"): throw fault("nothing to repeat")
        case UInt8(ascii: "."):
            place += 1
            return .bytes(flags.dotTakesAll ? ByteSet(0...255) : ByteSet(10).inverted)
        case UInt8(ascii: "^"):
            place += 1
            return .assertion(flags.isMultiline ? .lineStart : .textStart)
        case UInt8(ascii: "$"):
            place += 1
            return .assertion(flags.isMultiline ? .lineEnd : .textEnd)
        default:
            let count = byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4
            if count == 1 {
                place += 1
                return literal(byte)
            }
            let end = min(text.count, place + count)
            let parts = text[place..<end].map { PatternNode.bytes(ByteSet($0)) }
            place = end
            return .sequence(parts)
        }
    }

    private mutating func repeats(_ atom: PatternNode) throws(PatternFault) -> PatternNode {
        var node = atom
        var times = 0
        while let byte = next {
            var least = 0
            var most: Int? = nil
            let sign = place
            switch byte {
            case UInt8(ascii: "*"): place += 1
            case UInt8(ascii: "+"):
                place += 1
                least = 1
            case UInt8(ascii: "?"):
                place += 1
                most = 1
            case UInt8(ascii: "{"):
                guard let counts = try counts() else { return node }
                (least, most) = counts
            default: return node
            }
            times += 1
            if times > 1 { throw fault("a repeat of a repeat", at: sign) }
            let isShort = take("?") != flags.prefersShort
            node = .repeated(node, least: least, most: most, isGreedy: !isShort)
        }
        return node
    }

    /// `{2}`, `{2,}` or `{2,5}`; `nil`, and nothing taken, when the brace stands for itself.
    private mutating func counts() throws(PatternFault) -> (Int, Int?)? {
        let start = place
        place += 1
        func number() -> Int? {
            var value: Int? = nil
            var at = place
            while at < text.count, text[at] >= 48, text[at] <= 57 {
                value = min((value ?? 0) * 10 + Int(text[at]) - 48, 1_000_000)
                at += 1
            }
            return value
        }
        func skipDigits() { while let byte = next, byte >= 48, byte <= 57 { place += 1 } }
        guard let least = number() else {
            place = start
            return try braceLiteral()
        }
        skipDigits()
        var most: Int? = least
        if take(",") {
            most = number()
            skipDigits()
        }
        guard take("}") else {
            place = start
            return try braceLiteral()
        }
        if least > Self.mostRepeats || most ?? 0 > Self.mostRepeats {
            throw fault("more than \(Self.mostRepeats) repeats", at: start)
        }
        if let most, most < least { throw fault("the counts are the wrong way round", at: start) }
        return (least, most)
    }

    private func braceLiteral() throws(PatternFault) -> (Int, Int?)? {
        throw fault("{ must be followed by a count, or be written as \\{")
    }

    private mutating func group() throws(PatternFault) -> PatternNode? {
        let start = place
        place += 1
        let outer = flags
        if !take("?") {
            groups += 1
            let number = groups
            let node = PatternNode.group(number, try choice())
            try closeGroup(start)
            flags = outer
            return node
        }
        let isShortName = next == UInt8(ascii: "<") && place + 1 < text.count && isNameStart(text[place + 1])
        if take("P<") || (isShortName && take("<")) {
            while let byte = next, isNameByte(byte) { place += 1 }
            if !take(">") { throw fault("a group's name must end in >") }
            groups += 1
            let number = groups
            let node = PatternNode.group(number, try choice())
            try closeGroup(start)
            flags = outer
            return node
        }
        var isOn = true
        while let byte = next {
            place += 1
            switch byte {
            case UInt8(ascii: "i"): flags.ignoresCase = isOn
            case UInt8(ascii: "m"): flags.isMultiline = isOn
            case UInt8(ascii: "s"): flags.dotTakesAll = isOn
            case UInt8(ascii: "U"): flags.prefersShort = isOn
            case UInt8(ascii: "-") where isOn: isOn = false
            case UInt8(ascii: ")"): return nil  // holds to the end of the group around it
            case UInt8(ascii: ":"):
                let node = try choice()
                try closeGroup(start)
                flags = outer
                return node
            case UInt8(ascii: "="), UInt8(ascii: "!"), UInt8(ascii: "<"):
                throw fault("looking ahead or behind is not supported", at: start)
            default: throw fault("unknown flag", at: place - 1)
            }
        }
        throw fault("missing )", at: start)
    }

    private func isNameStart(_ byte: UInt8) -> Bool {
        (byte >= 65 && byte <= 90) || (byte >= 97 && byte <= 122) || byte == 95
    }
    private func isNameByte(_ byte: UInt8) -> Bool { isNameStart(byte) || (byte >= 48 && byte <= 57) }

    private mutating func closeGroup(_ start: Int) throws(PatternFault) {
        if !take(")") { throw fault("missing )", at: start) }
    }

    private mutating func escape() throws(PatternFault) -> PatternNode {
        let start = place
        place += 1
        guard let byte = next else { throw fault("the expression ends in a \\", at: start) }
        switch byte {
        case UInt8(ascii: "A"):
            place += 1
            return .assertion(.textStart)
        case UInt8(ascii: "z"):
            place += 1
            return .assertion(.textEnd)
        case UInt8(ascii: "b"):
            place += 1
            return .assertion(.wordBoundary)
        case UInt8(ascii: "B"):
            place += 1
            return .assertion(.noWordBoundary)
        default: break
        }
        if let set = classEscape(byte) {
            place += 1
            return .bytes(flags.ignoresCase ? set.folded : set)
        }
        return literal(try byteEscape(start))
    }

    /// `\d` and its like.
    private func classEscape(_ byte: UInt8) -> ByteSet? {
        switch byte {
        case UInt8(ascii: "d"): Self.digits
        case UInt8(ascii: "D"): Self.digits.inverted
        case UInt8(ascii: "w"): Self.word
        case UInt8(ascii: "W"): Self.word.inverted
        case UInt8(ascii: "s"): Self.space
        case UInt8(ascii: "S"): Self.space.inverted
        default: nil
        }
    }

    /// An escape that stands for one byte; the backslash has been taken.
    private mutating func byteEscape(_ start: Int) throws(PatternFault) -> UInt8 {
        guard let byte = next else { throw fault("the expression ends in a \\", at: start) }
        place += 1
        switch byte {
        case UInt8(ascii: "n"): return 10
        case UInt8(ascii: "r"): return 13
        case UInt8(ascii: "t"): return 9
        case UInt8(ascii: "f"): return 12
        case UInt8(ascii: "v"): return 11
        case UInt8(ascii: "a"): return 7
        case UInt8(ascii: "x"):
            let isLong = take("{")
            var value = 0
            var digits = 0
            while let digit = next.flatMap(hexValue), isLong ? digits < 6 : digits < 2 {
                value = value * 16 + digit
                digits += 1
                place += 1
            }
            if isLong ? digits == 0 || !take("}") : digits != 2 { throw fault("bad hexadecimal number", at: start) }
            if value > 255 { throw fault("only single bytes can be written by number", at: start) }
            return UInt8(value)
        case UInt8(ascii: "1")...UInt8(ascii: "9"): throw fault("back references are not supported", at: start)
        case UInt8(ascii: "p"), UInt8(ascii: "P"): throw fault("classes of Unicode are not supported", at: start)
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"):
            throw fault("unknown escape", at: start)
        case 0x80...0xFF: throw fault("unknown escape", at: start)
        default: return byte
        }
    }

    private func hexValue(_ byte: UInt8) -> Int? {
        switch byte {
        case 48...57: Int(byte) - 48
        case 65...70: Int(byte) - 55
        case 97...102: Int(byte) - 87
        default: nil
        }
    }

    private mutating func set() throws(PatternFault) -> ByteSet {
        let start = place
        place += 1
        let isInverted = take("^")
        var set = ByteSet()
        var isFirst = true
        while true {
            guard let byte = next else { throw fault("missing ]", at: start) }
            if byte == UInt8(ascii: "]"), !isFirst {
                place += 1
                break
            }
            isFirst = false
            if take("[:") {
                set.formUnion(try namedSet(start))
                continue
            }
            if byte == UInt8(ascii: "\\"), place + 1 < text.count, let named = classEscape(text[place + 1]) {
                place += 2
                set.formUnion(named)
                continue
            }
            let low = try setByte()
            if next == UInt8(ascii: "-"), place + 1 < text.count, text[place + 1] != UInt8(ascii: "]") {
                place += 1
                let high = try setByte()
                if high < low { throw fault("the range is the wrong way round") }
                set.insert(low...high)
            } else {
                set.insert(low)
            }
        }
        if flags.ignoresCase { set = set.folded }
        return isInverted ? set.inverted : set
    }

    private mutating func setByte() throws(PatternFault) -> UInt8 {
        let start = place
        guard let byte = next else { throw fault("missing ]") }
        place += 1
        if byte == UInt8(ascii: "\\") { return try byteEscape(start) }
        if byte >= 0x80 { throw fault("a set can hold ASCII only", at: start) }
        return byte
    }

    /// `[:alpha:]`; its `[:` has been taken.
    private mutating func namedSet(_ start: Int) throws(PatternFault) -> ByteSet {
        let isInverted = take("^")
        for (name, set) in Self.named where take(name) { return isInverted ? set.inverted : set }
        throw fault("unknown class", at: start)
    }

    private static let digits = ByteSet(48...57)
    private static let word = union([48...57, 65...90, 97...122, 95...95])
    private static let space = union([9...10, 12...13, 32...32])
    private static let named: [(StaticString, ByteSet)] = [
        ("alnum:]", union([48...57, 65...90, 97...122])), ("alpha:]", union([65...90, 97...122])),
        ("ascii:]", ByteSet(0...127)), ("blank:]", union([9...9, 32...32])), ("cntrl:]", union([0...31, 127...127])),
        ("digit:]", digits), ("graph:]", ByteSet(33...126)), ("lower:]", ByteSet(97...122)),
        ("print:]", ByteSet(32...126)), ("punct:]", union([33...47, 58...64, 91...96, 123...126])),
        ("space:]", union([9...13, 32...32])), ("upper:]", ByteSet(65...90)), ("word:]", word),
        ("xdigit:]", union([48...57, 65...70, 97...102])),
    ]

    private static func union(_ ranges: [ClosedRange<UInt8>]) -> ByteSet {
        var set = ByteSet()
        for range in ranges { set.insert(range) }
        return set
    }
}
