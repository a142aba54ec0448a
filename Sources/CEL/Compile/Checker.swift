/// What the checker found that a node of the tree means.
enum SyntaxNote {
    case none
    case constant(Value)
    /// A variable's place in `Inputs`.
    case input(Int, String)
    /// A place in the frame.
    case local(Int)
    /// With a name for the receiver that is part of the function's name.
    case call([Overload], takesTarget: Bool)
    /// The places in the frame of a macro's variables.
    case places([Int])
    case object(ObjectType)
}

/// Gives each node a type, each name a meaning and each call its overloads.
struct Checker {
    let tree: SyntaxTree
    let environment: Environment
    private(set) var notes: [SyntaxNote]
    private(set) var types: [ValueType]
    private(set) var issues: [(offset: Int, message: String)] = []
    private(set) var mostLocals = 0
    private var known = TypeVariables()
    private var scope: [(name: String, type: ValueType)] = []

    init(_ tree: SyntaxTree, _ environment: Environment) {
        self.tree = tree
        self.environment = environment
        notes = Array(repeating: .none, count: tree.nodes.count)
        types = Array(repeating: .dyn, count: tree.nodes.count)
    }

    /// - Returns: the type of the whole.
    mutating func check(_ expected: ValueType?) -> ValueType {
        let type = check(tree.root)
        if let expected, !known.assign([type], to: [expected]) { report(tree.root, mismatch(expected, type)) }
        for index in types.indices { types[index] = known.resolved(types[index], isFinal: true) }
        return known.resolved(type, isFinal: true)
    }

    private mutating func report(_ node: Int, _ message: String) { report(at: tree[node].offset, message) }

    private mutating func report(at offset: Int, _ message: String) {
        if issues.count < CompilationFault.mostIssues { issues.append((offset, message)) }
    }

    private func mismatch(_ wanted: ValueType, _ given: ValueType) -> String {
        "expected type '\(known.resolved(wanted, isFinal: true))' but found '\(known.resolved(given, isFinal: true))'"
    }

    private func shown(_ types: [ValueType]) -> String {
        types.map { known.resolved($0, isFinal: true).description }.joined(separator: ", ")
    }

    @discardableResult
    private mutating func check(_ node: Int) -> ValueType {
        let found = examine(node)
        let type = known.resolved(found)
        types[node] = type
        return type
    }

    private mutating func examine(_ node: Int) -> ValueType {
        switch tree[node].kind {
        case .literal(let value): return value.type
        case .identifier, .select(_, _, isOptional: false):
            if let type = name(node) { return type }
            guard case .select(let operand, let field, _) = tree[node].kind else {
                let shown = tree.dottedName(node) ?? ""
                report(node, "undeclared reference to '\(shown)' (in container '\(environment.container)')")
                return .dyn
            }
            return select(check(operand), field, node)
        case .select(let operand, let field, isOptional: true):
            let type = check(operand)
            if case .optional(let inner) = type { return .optional(select(inner, field, node)) }
            return .optional(select(type, field, node))
        case .test(let operand, let field):
            _ = select(check(operand), field, node)
            return .bool
        case .and(let terms), .or(let terms):
            let given = terms.map { check($0) }
            if !known.assign(given, to: given.map { _ in .bool }) {
                let sign = if case .and = tree[node].kind { "_&&_" } else { "_||_" }
                report(node, "found no matching overload for '\(sign)' applied to '(\(shown(given)))'")
            }
            return .bool
        case .conditional(let condition, let then, let otherwise):
            return conditional(node, condition, then, otherwise)
        case .call(let name, let target, let arguments): return call(node, name, target, arguments)
        case .list(let elements): return list(elements)
        case .map(let entries): return map(entries)
        case .object(let name, let fields): return object(node, name, fields)
        case .fold(let fold): return self.fold(node, fold)
        case .bind(let name, let value, let body):
            let type = check(value)
            return within(node, [(name, type)]) { checker in checker.check(body) }
        case .optionalMap(let target, let name, let body, let isFlat):
            var inner = known.fresh()
            let type = check(target)
            if !known.assign([type], to: [.optional(inner)]) { report(target, mismatch(.optional(.dyn), type)) }
            inner = known.resolved(inner)
            let result = within(node, [(name, inner)]) { checker in checker.check(body) }
            if !isFlat { return .optional(result) }
            if !known.assign([result], to: [.optional(known.fresh())]) {
                report(body, mismatch(.optional(.dyn), result))
            }
            return result
        }
    }

    /// Checks what can see these variables, and notes where they stand.
    private mutating func within<Result>(
        _ node: Int, _ variables: [(name: String, type: ValueType)], _ body: (inout Checker) -> Result
    ) -> Result {
        notes[node] = .places(Array(scope.count..<scope.count + variables.count))
        scope += variables
        mostLocals = max(mostLocals, scope.count)
        defer { scope.removeLast(variables.count) }
        return body(&self)
    }

    /// A name, with dots in it or not, that is a variable or a type; the note is made.
    private mutating func name(_ node: Int) -> ValueType? {
        guard let dotted = tree.dottedName(node) else { return nil }
        let root = dotted.prefix { $0 != "." }
        if let place = scope.lastIndex(where: { $0.name == root }) {
            if root.utf8.count != dotted.utf8.count { return nil }
            notes[node] = .local(place)
            return scope[place].type
        }
        for candidate in environment.candidates(dotted) {
            if let place = environment.places[candidate] {
                notes[node] = .input(place, candidate)
                return environment.variables[place].type
            }
            if let type = environment.typeNames[candidate] {
                notes[node] = .constant(.type(type))
                return .type(type)
            }
        }
        return nil
    }

    private mutating func select(_ operand: ValueType, _ field: String, _ node: Int) -> ValueType {
        switch operand {
        case .dyn, .variable: return .dyn
        case .map(let key, let value):
            if !known.assign([.string], to: [key]) { report(node, mismatch(key, .string)) }
            return value
        case .object(let type):
            if let field = type.field(field) { return field }
            report(node, "undefined field '\(field)'")
            return .dyn
        case .optional(let inner): return .optional(select(known.resolved(inner), field, node))
        default:
            report(node, "type '\(known.resolved(operand, isFinal: true))' does not support field selection")
            return .dyn
        }
    }

    private mutating func conditional(_ node: Int, _ condition: Int, _ then: Int, _ otherwise: Int) -> ValueType {
        let test = check(condition)
        let one = check(then)
        let two = check(otherwise)
        if !known.assign([test], to: [.bool]) || !known.assign([one], to: [two]) {
            report(node, "found no matching overload for '_?_:_' applied to '(\(shown([test, one, two])))'")
            return .dyn
        }
        return known.wider(one, two)
    }

    private mutating func join(_ sum: ValueType?, _ next: ValueType, _ node: Int) -> ValueType {
        guard let sum else { return next }
        if known.assign([next], to: [sum]) {
            return known.wider(sum, next)
        }
        if environment.hasUniformLiterals { report(node, mismatch(sum, next)) }
        return .dyn
    }

    private mutating func optional(_ node: Int, _ isOptional: Bool) -> ValueType {
        let type = check(node)
        if !isOptional { return type }
        let inner = known.fresh()
        if !known.assign([type], to: [.optional(inner)]) { report(node, mismatch(.optional(.dyn), type)) }
        return known.resolved(inner)
    }

    private mutating func list(_ elements: [SyntaxTree.Element]) -> ValueType {
        var joined: ValueType?
        for element in elements {
            joined = join(joined, optional(element.value, element.isOptional), element.value)
        }
        return .list(joined ?? known.fresh())
    }

    private mutating func map(_ entries: [SyntaxTree.Entry]) -> ValueType {
        var keys: ValueType?
        var values: ValueType?
        for entry in entries {
            keys = join(keys, check(entry.key), entry.key)
            values = join(values, optional(entry.value, entry.isOptional), entry.value)
        }
        return .map(keys ?? known.fresh(), values ?? known.fresh())
    }

    private mutating func object(_ node: Int, _ name: String, _ fields: [SyntaxTree.Field]) -> ValueType {
        let provider = environment.types
        guard let type = environment.candidates(name).compactMap({ provider?.type(named: $0) }).first else {
            report(node, "undeclared reference to '\(name)' (in container '\(environment.container)')")
            return .dyn
        }
        notes[node] = .object(type)
        for field in fields {
            let given = optional(field.value, field.isOptional)
            guard let wanted = type.field(field.name) else {
                report(at: field.offset, "undefined field '\(field.name)'")
                continue
            }
            if !known.assign([given], to: [wanted]) {
                let shown = known.resolved(given, isFinal: true)
                report(
                    at: field.offset,
                    "expected type of field '\(field.name)' is '\(wanted)' but provided type is '\(shown)'")
            }
        }
        return .object(type)
    }

    private mutating func fold(_ node: Int, _ fold: SyntaxTree.Fold) -> ValueType {
        let range = check(fold.range)
        let variables: [(name: String, type: ValueType)]
        switch range {
        case .list(let element):
            variables = fold.second.map { [(fold.first, .int), ($0, element)] } ?? [(fold.first, element)]
        case .map(let key, let value):
            variables = fold.second.map { [(fold.first, key), ($0, value)] } ?? [(fold.first, key)]
        default:
            variables = fold.second.map { [(fold.first, .dyn), ($0, .dyn)] } ?? [(fold.first, .dyn)]
            switch range {
            case .dyn, .variable: break
            default:
                let head = "expression of type '\(shown([range]))' cannot be range of a comprehension"
                report(fold.range, head + " (must be list, map, or dynamic)")
            }
        }
        let element = variables.last?.type ?? .dyn
        return within(node, variables) { checker in
            if let condition = fold.condition {
                let type = checker.check(condition)
                if !checker.known.assign([type], to: [.bool]) {
                    checker.report(condition, checker.mismatch(.bool, type))
                }
            }
            let made = fold.transform.map { checker.check($0) } ?? element
            switch fold.kind {
            case .all, .exists, .existsOne: return .bool
            case .list: return .list(made)
            case .map: return .map(variables[0].type, made)
            case .mapEntry:
                let entry = ValueType.map(checker.known.fresh(), checker.known.fresh())
                if let transform = fold.transform, !checker.known.assign([made], to: [entry]) {
                    checker.report(transform, checker.mismatch(.map(.dyn, .dyn), made))
                }
                return checker.known.resolved(entry)
            }
        }
    }

    // MARK: Calls

    private mutating func call(_ node: Int, _ name: String, _ target: Int?, _ arguments: [Int]) -> ValueType {
        var given: [ValueType] = []
        if let target {
            // `math.greatest(…)`: what is written like a receiver may be part of the function's name.
            if let prefix = tree.dottedName(target), !isLocal(prefix) {
                for candidate in environment.candidates(prefix + "." + name) {
                    guard let overloads = environment.functions[candidate] else { continue }
                    for argument in arguments { given.append(check(argument)) }
                    return resolve(node, candidate, overloads.filter { !$0.isMember }, given, hasTarget: false)
                }
            }
            given.append(check(target))
        }
        for argument in arguments { given.append(check(argument)) }
        let shown = name.hasPrefix(".") ? String(name.dropFirst()) : name
        let names = target == nil ? environment.candidates(name) : [name]
        for candidate in names {
            guard let overloads = environment.functions[candidate] else { continue }
            return resolve(
                node, candidate, overloads.filter { $0.isMember == (target != nil) }, given, hasTarget: target != nil)
        }
        report(node, "undeclared reference to '\(shown)' (in container '\(environment.container)')")
        return .dyn
    }

    /// Refuses what is written out and cannot be read: a time, a length of time, a pattern.
    private mutating func refuseLiteral(_ node: Int, _ name: String) {
        guard case .call(_, let target, let arguments) = tree[node].kind, let last = arguments.last,
            case .literal(.string(let text)) = tree[last].kind
        else { return }
        let isFine: Bool
        switch name {
        case "matches" where (target == nil) == (arguments.count == 2):
            isFine = (try? Patterns.find(text)) != nil
        case "timestamp": isFine = Timestamp(text) != nil
        case "duration": isFine = TimeSpan(text) != nil
        default: return
        }
        if !isFine { report(last, "invalid \(name) argument") }
    }

    private func isLocal(_ dotted: String) -> Bool {
        let root = dotted.prefix { $0 != "." }
        return scope.contains { $0.name == root }
    }

    private mutating func resolve(
        _ node: Int, _ name: String, _ overloads: [Overload], _ given: [ValueType], hasTarget: Bool
    ) -> ValueType {
        var fitting: [Overload] = []
        var result: ValueType?
        for overload in overloads where overload.parameters.count == given.count {
            var parameters: [String: ValueType] = [:]
            let wanted = overload.parameters.map { known.instance($0, &parameters) }
            guard known.assign(given, to: wanted) else { continue }
            fitting.append(overload)
            let open = known.instance(overload.result, &parameters)
            let made = known.resolved(open)
            result = result == nil || result == made ? made : .dyn
        }
        notes[node] = .call(fitting, takesTarget: hasTarget)
        refuseLiteral(node, name)
        if let result { return result }
        let applied =
            hasTarget ? "\(shown([given[0]])).(\(shown(Array(given.dropFirst()))))" : "(\(shown(given)))"
        report(node, "found no matching overload for '\(name)' applied to '\(applied)'")
        return .dyn
    }
}
