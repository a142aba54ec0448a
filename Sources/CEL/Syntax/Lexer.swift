/// Takes an expression apart into words and signs.
struct Lexer {
    private let text: [UInt8]
    private var place = 0

    init(_ text: [UInt8]) { self.text = text }

    private var byte: UInt8? { place < text.count ? text[place] : nil }
    private func byte(ahead: Int) -> UInt8? { place + ahead < text.count ? text[place + ahead] : nil }

    private static func isLetter(_ byte: UInt8?) -> Bool {
        guard let byte else { return false }
        return (byte | 32 >= 97 && byte | 32 <= 122) || byte == 95
    }

    private static func isDigit(_ byte: UInt8?) -> Bool {
        guard let byte else { return false }
        return byte >= 48 && byte <= 57
    }

    private static func hex(_ byte: UInt8?) -> UInt32? {
        guard let byte else { return nil }
        switch byte {
        case 48...57: return UInt32(byte - 48)
        case 65...70: return UInt32(byte - 55)
        case 97...102: return UInt32(byte - 87)
        default: return nil
        }
    }

    mutating func next() throws(SyntaxFault) -> Token {
        skipBlanks()
        let offset = place
        guard let byte else { return Token(kind: .end, offset: offset) }
        if Self.isLetter(byte) {
            if let literal = try prefixedLiteral() { return Token(kind: literal, offset: offset) }
            while Self.isLetter(self.byte) || Self.isDigit(self.byte) { place += 1 }
            return Token(kind: .identifier(String(decoding: text[offset..<place], as: UTF8.self)), offset: offset)
        }
        if Self.isDigit(byte) || (byte == 46 && Self.isDigit(self.byte(ahead: 1))) {
            return Token(kind: try number(), offset: offset)
        }
        if byte == 34 || byte == 39 {
            let read = try quoted(isRaw: false, isBytes: false)
            return Token(kind: .string(read.text), offset: offset)
        }
        if byte == 96 { return Token(kind: try quotedName(), offset: offset) }
        for sign in Token.Sign.allCases {
            let spelling = sign.rawValue.utf8
            if text[place...].starts(with: spelling) {
                place += spelling.count
                return Token(kind: .sign(sign), offset: offset)
            }
        }
        let scalar = String(decoding: text[place...].prefix(4), as: UTF8.self).unicodeScalars.first
        let shown = scalar.map { String($0) } ?? "?"
        throw SyntaxFault(offset: offset, message: "Syntax error: token recognition error at: '\(shown)'")
    }

    private mutating func skipBlanks() {
        while let byte {
            switch byte {
            case 32, 9, 10, 12, 13: place += 1
            case 47 where self.byte(ahead: 1) == 47:
                while let byte = self.byte, byte != 10 { place += 1 }
            default: return
            }
        }
    }

    private mutating func quotedName() throws(SyntaxFault) -> Token.Kind {
        let start = place + 1
        place = start
        while let byte, byte != 96 {
            let isFine = Self.isLetter(byte) || Self.isDigit(byte) || [32, 45, 46, 47].contains(byte)
            if !isFine { break }
            place += 1
        }
        guard byte == 96, place > start else {
            throw SyntaxFault(offset: start - 1, message: "Syntax error: a name in backticks does not end")
        }
        place += 1
        return .quoted(String(decoding: text[start..<place - 1], as: UTF8.self))
    }

    private mutating func number() throws(SyntaxFault) -> Token.Kind {
        let start = place
        func fault(_ message: String) -> SyntaxFault { SyntaxFault(offset: start, message: message) }
        if byte == 48, let mark = byte(ahead: 1), mark | 32 == 120, Self.hex(byte(ahead: 2)) != nil {
            place += 2
            let digits = place
            while Self.hex(byte) != nil { place += 1 }
            let value = UInt64(String(decoding: text[digits..<place], as: UTF8.self), radix: 16)
            return try whole(value, start)
        }
        while Self.isDigit(byte) { place += 1 }
        var isDouble = false
        if byte == 46, Self.isDigit(byte(ahead: 1)) {
            isDouble = true
            place += 1
            while Self.isDigit(byte) { place += 1 }
        }
        if let mark = byte, mark | 32 == 101 {
            let sign = byte(ahead: 1)
            let ahead = sign == 43 || sign == 45 ? 2 : 1
            if Self.isDigit(byte(ahead: ahead)) {
                isDouble = true
                place += ahead
                while Self.isDigit(byte) { place += 1 }
            }
        }
        let digits = String(decoding: text[start..<place], as: UTF8.self)
        if isDouble {
            guard let value = Double(digits), value.isFinite else { throw fault("invalid double literal") }
            return .double(value)
        }
        return try whole(UInt64(digits), start)
    }

    private mutating func whole(_ value: UInt64?, _ start: Int) throws(SyntaxFault) -> Token.Kind {
        let isUnsigned = byte.map { $0 | 32 == 117 } ?? false
        if isUnsigned { place += 1 }
        guard let value else {
            throw SyntaxFault(offset: start, message: isUnsigned ? "invalid uint literal" : "invalid int literal")
        }
        return isUnsigned ? .uint(value) : .int(value)
    }

    /// `r"…"`, `b"…"`, `br"…"`.
    private mutating func prefixedLiteral() throws(SyntaxFault) -> Token.Kind? {
        var isRaw = false
        var isBytes = false
        var count = 0
        while count < 2, let letter = byte(ahead: count) {
            if letter | 32 == 114, !isRaw {
                isRaw = true
            } else if letter | 32 == 98, !isBytes {
                isBytes = true
            } else {
                break
            }
            count += 1
        }
        guard count > 0, let quote = byte(ahead: count), quote == 34 || quote == 39 else { return nil }
        place += count
        let read = try quoted(isRaw: isRaw, isBytes: isBytes)
        return isBytes ? .bytes(read.bytes) : .string(read.text)
    }

    private mutating func quoted(isRaw: Bool, isBytes: Bool) throws(SyntaxFault) -> (bytes: [UInt8], text: String) {
        let start = place
        let quote = text[place]
        let isTriple = byte(ahead: 1) == quote && byte(ahead: 2) == quote
        place += isTriple ? 3 : 1
        var bytes: [UInt8] = []
        while true {
            guard let byte, isTriple || byte != 10 && byte != 13 else {
                throw SyntaxFault(offset: start, message: "Syntax error: a string does not end")
            }
            if byte == quote {
                if !isTriple {
                    place += 1
                    break
                }
                if self.byte(ahead: 1) == quote && self.byte(ahead: 2) == quote {
                    place += 3
                    break
                }
            }
            if byte == 92 && !isRaw {
                try escape(&bytes, isBytes)
                continue
            }
            bytes.append(byte)
            place += 1
        }
        return (bytes, String(decoding: bytes, as: UTF8.self))
    }

    private mutating func escape(_ bytes: inout [UInt8], _ isBytes: Bool) throws(SyntaxFault) {
        let start = place
        func fault() -> SyntaxFault { SyntaxFault(offset: start, message: "Syntax error: invalid escape in a string") }
        guard let letter = byte(ahead: 1) else { throw fault() }
        place += 2
        func digits(_ count: Int) throws(SyntaxFault) -> UInt32 {
            var sum: UInt32 = 0
            for _ in 0..<count {
                guard let digit = Self.hex(byte) else { throw fault() }
                sum = sum << 4 | digit
                place += 1
            }
            return sum
        }
        func put(_ code: UInt32) throws(SyntaxFault) {
            guard let scalar = Unicode.Scalar(code) else { throw fault() }
            bytes.append(contentsOf: String(Character(scalar)).utf8)
        }
        switch letter {
        case UInt8(ascii: "a"): bytes.append(7)
        case UInt8(ascii: "b"): bytes.append(8)
        case UInt8(ascii: "f"): bytes.append(12)
        case UInt8(ascii: "n"): bytes.append(10)
        case UInt8(ascii: "r"): bytes.append(13)
        case UInt8(ascii: "t"): bytes.append(9)
        case UInt8(ascii: "v"): bytes.append(11)
        case UInt8(ascii: "\\"), UInt8(ascii: "'"), UInt8(ascii: "\""), UInt8(ascii: "`"), UInt8(ascii: "?"):
            bytes.append(letter)
        case UInt8(ascii: "x"), UInt8(ascii: "X"):
            let code = try digits(2)
            if isBytes { bytes.append(UInt8(code)) } else { try put(code) }
        case UInt8(ascii: "u"):
            if isBytes { throw fault() }
            try put(try digits(4))
        case UInt8(ascii: "U"):
            if isBytes { throw fault() }
            try put(try digits(8))
        case 48...51:
            var code = UInt32(letter - 48)
            for _ in 0..<2 {
                guard let digit = byte, digit >= 48, digit <= 55 else { throw fault() }
                code = code << 3 | UInt32(digit - 48)
                place += 1
            }
            if isBytes { bytes.append(UInt8(code)) } else { try put(code) }
        default: throw fault()
        }
    }
}
