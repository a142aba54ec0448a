/// Says what an expression may cost before it runs, from how large its variables' values can be.
struct Estimator {
    private struct Estimate {
        var cost: CostRange
        var size: CostRange
        /// Where the value comes from: a variable and the fields, `@items` and `@values` behind it.
        var path: [String]?
    }

    private let tree: SyntaxTree
    private let notes: [SyntaxNote]
    private let types: [ValueType]
    private let environment: Environment

    init(_ tree: SyntaxTree, _ notes: [SyntaxNote], _ types: [ValueType], _ environment: Environment) {
        self.tree = tree
        self.notes = notes
        self.types = types
        self.environment = environment
    }

    var whole: CostRange {
        var locals: [Int: Estimate] = [:]
        return estimate(tree.root, &locals).cost
    }

    private func size(_ path: [String]?, _ type: ValueType) -> CostRange {
        switch type {
        case .null, .bool, .int, .uint, .double, .timestamp, .duration: return .one
        default: break
        }
        guard let path, let most = environment.sizes?(path) else { return .unknown }
        return CostRange(least: 0, most: most)
    }

    private func step(_ whole: Estimate, _ name: String, _ node: Int, cost: UInt64 = 1) -> Estimate {
        let path = whole.path.map { $0 + [name] }
        let sum = whole.cost + CostRange(least: cost, most: cost)
        return Estimate(cost: sum, size: size(path, types[node]), path: path)
    }

    private func estimate(_ node: Int, _ locals: inout [Int: Estimate]) -> Estimate {
        switch notes[node] {
        case .constant: return Estimate(cost: .none, size: .one)
        case .input(_, let name): return Estimate(cost: .one, size: size([name], types[node]), path: [name])
        case .local(let place):
            let source = locals[place] ?? Estimate(cost: .none, size: .unknown)
            return Estimate(cost: .one, size: source.size, path: source.path)
        default: break
        }
        switch tree[node].kind {
        case .literal(let value):
            let size = UInt64(value.size)
            return Estimate(cost: .none, size: CostRange(least: size, most: size))
        case .identifier: return Estimate(cost: .one, size: .unknown)
        case .select(let operand, let field, _): return step(estimate(operand, &locals), field, node)
        case .test(let operand, _):
            return Estimate(cost: estimate(operand, &locals).cost + .one, size: .one)
        case .and(let terms), .or(let terms):
            var cost = CostRange.none
            for (place, term) in terms.enumerated() {
                let next = estimate(term, &locals).cost
                // A later term may not be looked at.
                cost = cost + CostRange(least: place == 0 ? next.least : 0, most: next.most)
            }
            return Estimate(cost: cost, size: .one)
        case .conditional(let condition, let then, let otherwise):
            let one = estimate(then, &locals)
            let two = estimate(otherwise, &locals)
            let cost = estimate(condition, &locals).cost + one.cost.union(two.cost)
            // `has(self.a) ? self.a : []` holds what `self.a` holds.
            let path = isEmpty(otherwise) || one.path == two.path ? one.path : isEmpty(then) ? two.path : nil
            return Estimate(cost: cost, size: one.size.union(two.size), path: path)
        case .list(let elements):
            var cost = CostRange(least: 10, most: 10)
            for element in elements { cost = cost + estimate(element.value, &locals).cost }
            let count = UInt64(elements.count)
            return Estimate(cost: cost, size: CostRange(least: count, most: count))
        case .map(let entries):
            var cost = CostRange(least: 30, most: 30)
            for entry in entries {
                cost = cost + estimate(entry.key, &locals).cost + estimate(entry.value, &locals).cost
            }
            let count = UInt64(entries.count)
            return Estimate(cost: cost, size: CostRange(least: count, most: count))
        case .object(_, let fields):
            var cost = CostRange(least: 40, most: 40)
            for field in fields { cost = cost + estimate(field.value, &locals).cost }
            return Estimate(cost: cost, size: .one)
        case .call(let name, let target, let arguments): return call(node, name, target, arguments, &locals)
        case .fold(let fold): return self.fold(node, fold, &locals)
        case .bind(_, let value, let body):
            var bound = estimate(value, &locals)
            let cost = bound.cost + CostRange(least: 10, most: 10)
            bound.cost = .one
            locals[places(node)[0]] = bound
            var made = estimate(body, &locals)
            made.cost = made.cost + cost
            return made
        case .optionalMap(let target, _, let body, _):
            let source = estimate(target, &locals)
            locals[places(node)[0]] = source
            var made = estimate(body, &locals)
            made.cost = CostRange(least: 1, most: made.cost.most.added(13)) + source.cost
            return made
        }
    }

    /// A list or map written out with nothing in it.
    private func isEmpty(_ node: Int) -> Bool {
        switch tree[node].kind {
        case .list(let elements): elements.isEmpty
        case .map(let entries): entries.isEmpty
        default: false
        }
    }

    private func places(_ node: Int) -> [Int] {
        if case .places(let places) = notes[node] { return places }
        return [0, 0]
    }

    private func fold(_ node: Int, _ fold: SyntaxTree.Fold, _ locals: inout [Int: Estimate]) -> Estimate {
        let range = estimate(fold.range, &locals)
        let places = places(node)
        let isMap = if case .map = types[fold.range] { true } else { false }
        func variable(_ name: String, _ type: ValueType) -> Estimate {
            let path = range.path.map { $0 + [name] }
            return Estimate(cost: .one, size: size(path, type), path: path)
        }
        switch types[fold.range] {
        case .list(let element):
            locals[places[0]] = Estimate(cost: .one, size: .one)
            locals[places[places.count - 1]] = variable("@items", element)
        case .map(let key, let value):
            locals[places[0]] = variable("@keys", key)
            if places.count == 2 { locals[places[1]] = variable("@values", value) }
        default: for place in places { locals[place] = Estimate(cost: .one, size: .unknown) }
        }
        let condition = fold.condition.map { estimate($0, &locals).cost } ?? .none
        let made = fold.transform.map { estimate($0, &locals).cost } ?? .one
        let ends: UInt64
        var turn: CostRange
        switch fold.kind {
        case .all: (ends, turn) = (1, condition + CostRange(least: 3, most: 3))
        case .exists: (ends, turn) = (1, condition + CostRange(least: 4, most: 4))
        case .existsOne: (ends, turn) = (2, condition + CostRange(least: 0, most: 2))
        case .list, .map, .mapEntry:
            let taken = made + CostRange(least: 12, most: 12)
            turn = condition + (fold.condition == nil ? taken : CostRange(least: 0, most: taken.most))
            ends = isMap ? 31 : 11
        }
        if fold.kind == .all || fold.kind == .exists { turn.least = 0 }
        let cost = range.cost + range.size * turn + CostRange(least: ends, most: ends)
        let isTruth = fold.kind == .all || fold.kind == .exists || fold.kind == .existsOne
        return Estimate(cost: cost, size: isTruth ? .one : CostRange(least: 0, most: range.size.most))
    }

    private func call(
        _ node: Int, _ name: String, _ target: Int?, _ arguments: [Int], _ locals: inout [Int: Estimate]
    ) -> Estimate {
        var parts: [Estimate] = []
        let takesTarget = if case .call(_, let takes) = notes[node] { takes } else { false }
        if let target, takesTarget { parts.append(estimate(target, &locals)) }
        for argument in arguments { parts.append(estimate(argument, &locals)) }
        if name == "_[_]" || name == "_[?_]", parts.count == 2 {
            let isMap = if case .map = types[arguments[0]] { true } else { false }
            var made = step(parts[0], isMap ? "@values" : "@items", node)
            made.cost = made.cost + parts[1].cost
            return made
        }
        var cost = CostRange.none
        for part in parts { cost = cost + part.cost }
        if let operation = Operation(rawValue: name), parts.count == 2 {
            let own = self.cost(operation, types[arguments[0]], parts[0].size, parts[1].size)
            let size = operation == .add ? parts[0].size + parts[1].size : .one
            return Estimate(cost: cost + own, size: self.isSized(types[node]) ? size : .one)
        }
        var own: CostRange?
        let size = isSized(types[node]) ? resultSize(name, parts.map(\.size)) : .one
        if case .call(let overloads, _) = notes[node] {
            for overload in overloads {
                let one = overload.cost.range(parts.map(\.size), size)
                own = own.map { $0.union(one) } ?? one
            }
        }
        return Estimate(cost: cost + (own ?? .one), size: size)
    }

    private func isSized(_ type: ValueType) -> Bool {
        switch type {
        case .null, .bool, .int, .uint, .double, .timestamp, .duration: false
        default: true
        }
    }

    /// A text made of one is at most as long, but for those that put more texts together.
    private func resultSize(_ name: String, _ sizes: [CostRange]) -> CostRange {
        switch name {
        case "lowerAscii", "upperAscii", "trim", "substring", "reverse", "split", "find", "findAll", "url", "dyn",
            "string", "bytes", "sort", "distinct", "slice", "quantity", "semver", "ip", "cidr", "charAt", "value",
            "orValue", "or", "optional.of":
            CostRange(least: 0, most: max(sizes.map(\.most).max() ?? .max, 64))
        default: .unknown
        }
    }

    private func cost(_ operation: Operation, _ type: ValueType, _ one: CostRange, _ two: CostRange) -> CostRange {
        let both = CostRange(least: min(one.least, two.least), most: min(one.most, two.most))
        switch operation {
        case .equal, .unequal: return both.scaled(by: CallCost.traversalFactor)
        case .less, .atMost, .greater, .atLeast:
            return isSized(type) ? both.scaled(by: CallCost.traversalFactor) : .one
        case .add:
            switch type {
            case .string, .bytes, .dyn: return (one + two).scaled(by: CallCost.traversalFactor)
            default: return .one
            }
        case .member: return CostRange(least: min(two.least, 1), most: two.most)
        default: return .one
        }
    }
}
