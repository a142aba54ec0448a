/// Makes a program's steps from a checked tree.
struct Planner {
    private let tree: SyntaxTree
    private let notes: [SyntaxNote]

    init(_ tree: SyntaxTree, _ notes: [SyntaxNote]) {
        self.tree = tree
        self.notes = notes
    }

    /// - Parameter isPart: of a longer path, or of a choice between two: looking at the name itself is not counted then.
    func plan(_ node: Int, isPart: Bool = false) -> any Step {
        switch notes[node] {
        case .constant(let value): return ConstantStep(constant: value)
        case .input(let place, let name): return InputStep(place: place, name: name, cost: isPart ? 0 : 1)
        case .local(let place): return LocalStep(place: place, cost: isPart ? 0 : 1)
        default: break
        }
        switch tree[node].kind {
        case .literal(let value): return ConstantStep(constant: value)
        case .identifier: return ConstantStep(constant: .null)
        case .select(let operand, let field, let isOptional):
            let cost = cost(of: operand, isPart)
            let whole = plan(operand, isPart: isPart)
            if isOptional { return OptionalSelectStep(operand: whole, field: field, cost: cost) }
            return SelectStep(operand: whole, field: field, cost: cost)
        case .test(let operand, let field):
            return PresenceStep(operand: plan(operand), field: field, cost: cost(of: operand, false))
        case .and(let terms): return LogicStep(terms: terms.map { plan($0) }, deciding: false)
        case .or(let terms): return LogicStep(terms: terms.map { plan($0) }, deciding: true)
        case .conditional(let condition, let then, let otherwise):
            return ConditionalStep(
                condition: plan(condition), then: plan(then, isPart: true), otherwise: plan(otherwise, isPart: true))
        case .call(let name, let target, let arguments): return call(node, name, target, arguments, isPart)
        case .list(let elements): return ListStep(elements: elements.map { (plan($0.value), $0.isOptional) })
        case .map(let entries):
            return MapStep(entries: entries.map { (plan($0.key), plan($0.value), $0.isOptional) })
        case .object(_, let fields):
            guard case .object(let type) = notes[node] else { return ConstantStep(constant: .null) }
            return ObjectStep(type: type, fields: fields.map { ($0.name, plan($0.value), $0.isOptional) })
        case .fold(let fold):
            return FoldStep(
                kind: fold.kind, range: plan(fold.range), places: places(node),
                condition: fold.condition.map { plan($0) },
                transform: fold.transform.map { plan($0) })
        case .bind(_, let value, let body):
            return BindStep(place: places(node)[0], bound: plan(value), body: plan(body))
        case .optionalMap(let target, _, let body, let isFlat):
            return OptionalMapStep(target: plan(target), place: places(node)[0], body: plan(body), isFlat: isFlat)
        }
    }

    private func places(_ node: Int) -> [Int] {
        if case .places(let places) = notes[node] { return places }
        return [0, 0]
    }

    /// A step along a path costs one; where the path starts at no name, its start is counted too.
    private func cost(of operand: Int, _ isPart: Bool) -> UInt64 {
        switch tree[operand].kind {
        case .identifier, .select, .conditional: 1
        case .call("_[_]", nil, _), .call("_[?_]", nil, _): 1
        default: isPart ? 1 : 2
        }
    }

    private func call(_ node: Int, _ name: String, _ target: Int?, _ arguments: [Int], _ isPart: Bool) -> any Step {
        if target == nil, arguments.count == 2 {
            if name == "_[_]" || name == "_[?_]" {
                return IndexStep(
                    operand: plan(arguments[0], isPart: isPart), index: plan(arguments[1], isPart: true),
                    isOptional: name == "_[?_]", cost: cost(of: arguments[0], isPart))
            }
            if let operation = Operation(rawValue: name) {
                return OperationStep(operation: operation, one: plan(arguments[0]), two: plan(arguments[1]))
            }
        }
        if target == nil, arguments.count == 1 {
            if name == "!_" { return NotStep(operand: plan(arguments[0])) }
            if name == "-_" { return NegateStep(operand: plan(arguments[0])) }
        }
        guard case .call(let overloads, let takesTarget) = notes[node] else { return ConstantStep(constant: .null) }
        let all = takesTarget ? [target].compactMap { $0 } + arguments : arguments
        return CallStep(overloads: overloads, arguments: all.map { plan($0) })
    }
}
