extension Parser {
    /// What a call that is a macro stands for; `nil` for any other call.
    mutating func macro(
        _ name: String, _ target: Int?, _ arguments: [Int], at offset: Int
    ) throws(SyntaxFault) -> Int? {
        guard let target else {
            guard name == "has", arguments.count == 1 else { return nil }
            guard case .select(let operand, let field, isOptional: false) = tree[arguments[0]].kind else {
                throw SyntaxFault(offset: tree[arguments[0]].offset, message: "invalid argument to has() macro")
            }
            return try tree.add(.test(operand, field), at: offset, [operand])
        }
        if name == "bind", arguments.count == 3, case .identifier("cel", isRooted: false) = tree[target].kind {
            let variable = try variable(arguments[0], "cel.bind() variable names must be simple identifiers")
            return try tree.add(.bind(variable, arguments[1], arguments[2]), at: offset, Array(arguments[1...]))
        }
        if name == "optMap" || name == "optFlatMap", arguments.count == 2 {
            let variable = try variable(arguments[0], "\(name)() variable name must be a simple identifier")
            return try tree.add(
                .optionalMap(target, variable, arguments[1], isFlat: name == "optFlatMap"), at: offset,
                [target, arguments[1]])
        }
        guard let kind = foldKind(name, arguments.count) else { return nil }
        let first = try variable(arguments[0], "argument must be a simple name")
        var second: String?
        if kind.variables == 2 {
            second = try variable(arguments[1], "argument must be a simple name")
            if first == second {
                let message = "duplicate variable name: \(first)"
                throw SyntaxFault(offset: tree[arguments[1]].offset, message: message)
            }
        }
        let bodies = arguments[kind.variables...]
        let transform = kind.transforms ? bodies.last : nil
        let condition = kind.transforms && bodies.count == 1 ? nil : bodies.first
        let fold = SyntaxTree.Fold(
            kind: kind.kind, range: target, first: first, second: second, condition: condition, transform: transform)
        return try tree.add(.fold(fold), at: offset, [target] + bodies)
    }

    private func foldKind(
        _ name: String, _ count: Int
    ) -> (kind: SyntaxTree.Fold.Kind, variables: Int, transforms: Bool)? {
        switch (name, count) {
        case ("all", 2), ("all", 3): (.all, count - 1, false)
        case ("exists", 2), ("exists", 3): (.exists, count - 1, false)
        case ("exists_one", 2), ("exists_one", 3), ("existsOne", 2), ("existsOne", 3): (.existsOne, count - 1, false)
        case ("map", 2), ("map", 3): (.list, 1, true)
        case ("filter", 2): (.list, 1, false)
        case ("transformList", 3), ("transformList", 4): (.list, 2, true)
        case ("transformMap", 3), ("transformMap", 4): (.map, 2, true)
        case ("transformMapEntry", 3), ("transformMapEntry", 4): (.mapEntry, 2, true)
        default: nil
        }
    }

    private func variable(_ node: Int, _ message: String) throws(SyntaxFault) -> String {
        guard case .identifier(let name, isRooted: false) = tree[node].kind else {
            throw SyntaxFault(offset: tree[node].offset, message: message)
        }
        if name == "__result__" {
            throw SyntaxFault(offset: tree[node].offset, message: "iteration variable overwrites accumulator variable")
        }
        return name
    }
}
