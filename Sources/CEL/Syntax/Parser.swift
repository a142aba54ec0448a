/// Reads an expression: precedence by recursion, with a bound on its depth.
struct Parser {
    /// Code points of an expression.
    static let longest = 100_000

    static let reserved: Set<String> = [
        "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package",
        "namespace", "return", "var", "void", "while",
    ]
    private static let keywords: Set<String> = ["in", "true", "false", "null"]

    private var lexer: Lexer
    private(set) var token: Token
    var tree = SyntaxTree()
    private var nesting = 0

    static func read(_ text: String) throws(SyntaxFault) -> SyntaxTree {
        if text.utf8.count > longest, text.unicodeScalars.count > longest {
            let count = text.unicodeScalars.count
            throw SyntaxFault(
                offset: 0, message: "expression code point size exceeds limit: size: \(count), limit \(longest)")
        }
        var parser = try Parser(Array(text.utf8))
        parser.tree.root = try parser.expression()
        if parser.token.kind != .end { throw parser.unexpected() }
        return parser.tree
    }

    private init(_ text: [UInt8]) throws(SyntaxFault) {
        lexer = Lexer(text)
        token = try lexer.next()
    }

    func unexpected() -> SyntaxFault {
        SyntaxFault(offset: token.offset, message: "Syntax error: unexpected \(token.text)")
    }

    private mutating func advance() throws(SyntaxFault) { token = try lexer.next() }

    private mutating func take(_ sign: Token.Sign) throws(SyntaxFault) -> Bool {
        guard token.kind == .sign(sign) else { return false }
        try advance()
        return true
    }

    private mutating func expect(_ sign: Token.Sign) throws(SyntaxFault) {
        if try !take(sign) {
            let message = "Syntax error: expected '\(sign.rawValue)', found \(token.text)"
            throw SyntaxFault(offset: token.offset, message: message)
        }
    }

    private mutating func expression() throws(SyntaxFault) -> Int {
        nesting += 1
        defer { nesting -= 1 }
        if nesting > SyntaxTree.deepest { throw SyntaxTree.tooDeep(token.offset) }
        let condition = try logic(.or)
        let offset = token.offset
        guard try take(.question) else { return condition }
        let then = try logic(.or)
        try expect(.colon)
        let otherwise = try expression()
        return try tree.add(.conditional(condition, then, otherwise), at: offset, [condition, then, otherwise])
    }

    /// A chain of `||` or `&&` is one node, however long.
    private mutating func logic(_ sign: Token.Sign) throws(SyntaxFault) -> Int {
        let first = sign == .or ? try logic(.and) : try relation()
        var terms = [first]
        let offset = token.offset
        while try take(sign) { terms.append(sign == .or ? try logic(.and) : try relation()) }
        if terms.count == 1 { return first }
        return try tree.add(sign == .or ? .or(terms) : .and(terms), at: offset, terms)
    }

    private func relationName() -> String? {
        switch token.kind {
        case .sign(.less): "_<_"
        case .sign(.atMost): "_<=_"
        case .sign(.greater): "_>_"
        case .sign(.atLeast): "_>=_"
        case .sign(.equal): "_==_"
        case .sign(.unequal): "_!=_"
        case .identifier("in"): "@in"
        default: nil
        }
    }

    private mutating func relation() throws(SyntaxFault) -> Int {
        var left = try sum()
        while let name = relationName() {
            let offset = token.offset
            try advance()
            let right = try sum()
            left = try tree.add(.call(name, target: nil, [left, right]), at: offset, [left, right])
        }
        return left
    }

    private mutating func sum() throws(SyntaxFault) -> Int {
        var left = try product()
        while token.kind == .sign(.plus) || token.kind == .sign(.minus) {
            let name = token.kind == .sign(.plus) ? "_+_" : "_-_"
            let offset = token.offset
            try advance()
            let right = try product()
            left = try tree.add(.call(name, target: nil, [left, right]), at: offset, [left, right])
        }
        return left
    }

    private mutating func product() throws(SyntaxFault) -> Int {
        var left = try unary()
        while true {
            let name: String
            switch token.kind {
            case .sign(.times): name = "_*_"
            case .sign(.over): name = "_/_"
            case .sign(.rest): name = "_%_"
            default: return left
            }
            let offset = token.offset
            try advance()
            let right = try unary()
            left = try tree.add(.call(name, target: nil, [left, right]), at: offset, [left, right])
        }
    }

    private mutating func unary() throws(SyntaxFault) -> Int {
        let offset = token.offset
        var count = 0
        if token.kind == .sign(.not) {
            while try take(.not) { count += 1 }
            let operand = try member(nil)
            return count % 2 == 0 ? operand : try tree.add(.call("!_", target: nil, [operand]), at: offset, [operand])
        }
        guard token.kind == .sign(.minus) else { return try member(nil) }
        while try take(.minus) { count += 1 }
        if count % 2 == 0 { return try member(nil) }
        switch token.kind {
        case .int(let value) where value <= Int64.min.magnitude:
            try advance()
            let negative = value == Int64.min.magnitude ? Int64.min : -Int64(value)
            return try member(try tree.add(.literal(.int(negative)), at: offset))
        case .double(let value):
            try advance()
            return try member(try tree.add(.literal(.double(-value)), at: offset))
        default:
            let operand = try member(nil)
            return try tree.add(.call("-_", target: nil, [operand]), at: offset, [operand])
        }
    }

    private mutating func member(_ start: Int?) throws(SyntaxFault) -> Int {
        var node = if let start { start } else { try primary() }
        while true {
            let offset = token.offset
            switch token.kind {
            case .sign(.dot):
                try advance()
                node = try selection(node, offset)
            case .sign(.openBracket):
                try advance()
                let isOptional = try take(.question)
                let index = try expression()
                try expect(.closeBracket)
                let name = isOptional ? "_[?_]" : "_[_]"
                node = try tree.add(.call(name, target: nil, [node, index]), at: offset, [node, index])
            case .sign(.openBrace):
                guard let name = tree.dottedName(node) else { return node }
                try advance()
                node = try object(name, offset)
            default: return node
            }
        }
    }

    private mutating func selection(_ operand: Int, _ offset: Int) throws(SyntaxFault) -> Int {
        let isOptional = try take(.question)
        let name: String
        let isQuoted: Bool
        switch token.kind {
        case .identifier(let word) where !Self.keywords.contains(word): (name, isQuoted) = (word, false)
        case .quoted(let word): (name, isQuoted) = (word, true)
        default: throw unexpected()
        }
        let at = token.offset
        try advance()
        if !isOptional && !isQuoted && token.kind == .sign(.open) {
            let callAt = token.offset
            try advance()
            let arguments = try list(until: .close)
            if let made = try macro(name, operand, arguments, at: callAt) { return made }
            return try tree.add(.call(name, target: operand, arguments), at: callAt, [operand] + arguments)
        }
        return try tree.add(.select(operand, name, isOptional: isOptional), at: isOptional ? at : offset, [operand])
    }

    private mutating func list(until sign: Token.Sign) throws(SyntaxFault) -> [Int] {
        var values: [Int] = []
        if try take(sign) { return values }
        repeat { values.append(try expression()) } while try take(.comma)
        try expect(sign)
        return values
    }

    private mutating func primary() throws(SyntaxFault) -> Int {
        let offset = token.offset
        switch token.kind {
        case .int(let value):
            guard let value = Int64(exactly: value) else {
                throw SyntaxFault(offset: offset, message: "invalid int literal")
            }
            return try literal(.int(value))
        case .uint(let value): return try literal(.uint(value))
        case .double(let value): return try literal(.double(value))
        case .string(let value): return try literal(.string(value))
        case .bytes(let value): return try literal(.bytes(value))
        case .sign(.open):
            try advance()
            let inner = try expression()
            try expect(.close)
            return inner
        case .sign(.openBracket):
            try advance()
            return try listLiteral(offset)
        case .sign(.openBrace):
            try advance()
            return try mapLiteral(offset)
        case .sign(.dot):
            try advance()
            guard case .identifier(let name) = token.kind else { throw unexpected() }
            return try named(name, isRooted: true)
        case .identifier("true"): return try literal(.bool(true))
        case .identifier("false"): return try literal(.bool(false))
        case .identifier("null"): return try literal(.null)
        case .identifier(let name): return try named(name, isRooted: false)
        default: throw unexpected()
        }
    }

    private mutating func literal(_ value: Value) throws(SyntaxFault) -> Int {
        let offset = token.offset
        try advance()
        return try tree.add(.literal(value), at: offset)
    }

    private mutating func named(_ name: String, isRooted: Bool) throws(SyntaxFault) -> Int {
        let offset = token.offset
        if Self.keywords.contains(name) { throw unexpected() }
        try advance()
        if token.kind == .sign(.open) {
            let callAt = token.offset
            try advance()
            let arguments = try list(until: .close)
            if let made = try macro(name, nil, arguments, at: callAt) { return made }
            return try tree.add(.call(isRooted ? "." + name : name, target: nil, arguments), at: callAt, arguments)
        }
        if Self.reserved.contains(name) {
            throw SyntaxFault(offset: offset, message: "reserved identifier: \(name)")
        }
        return try tree.add(.identifier(name, isRooted: isRooted), at: offset)
    }

    private mutating func listLiteral(_ offset: Int) throws(SyntaxFault) -> Int {
        var elements: [SyntaxTree.Element] = []
        while token.kind != .sign(.closeBracket) {
            let isOptional = try take(.question)
            elements.append(.init(value: try expression(), isOptional: isOptional))
            if try !take(.comma) { break }
        }
        try expect(.closeBracket)
        return try tree.add(.list(elements), at: offset, elements.map(\.value))
    }

    private mutating func mapLiteral(_ offset: Int) throws(SyntaxFault) -> Int {
        var entries: [SyntaxTree.Entry] = []
        while token.kind != .sign(.closeBrace) {
            let isOptional = try take(.question)
            let key = try expression()
            try expect(.colon)
            entries.append(.init(key: key, value: try expression(), isOptional: isOptional))
            if try !take(.comma) { break }
        }
        try expect(.closeBrace)
        return try tree.add(.map(entries), at: offset, entries.flatMap { [$0.key, $0.value] })
    }

    private mutating func object(_ type: String, _ offset: Int) throws(SyntaxFault) -> Int {
        var fields: [SyntaxTree.Field] = []
        while token.kind != .sign(.closeBrace) {
            let isOptional = try take(.question)
            let name: String
            switch token.kind {
            case .identifier(let word) where !Self.keywords.contains(word): name = word
            case .quoted(let word): name = word
            default: throw unexpected()
            }
            let at = token.offset
            try advance()
            try expect(.colon)
            fields.append(.init(name: name, value: try expression(), isOptional: isOptional, offset: at))
            if try !take(.comma) { break }
        }
        try expect(.closeBrace)
        return try tree.add(.object(type, fields), at: offset, fields.map(\.value))
    }
}

extension SyntaxTree {
    /// `a.b.c` as one name; with a dot before it when it is looked for at the root only.
    func dottedName(_ node: Int) -> String? {
        var parts: [String] = []
        var node = node
        while true {
            switch nodes[node].kind {
            case .identifier(let name, let isRooted):
                parts.append(name)
                return (isRooted ? "." : "") + parts.reversed().joined(separator: ".")
            case .select(let operand, let name, isOptional: false):
                parts.append(name)
                node = operand
            default: return nil
            }
        }
    }
}
