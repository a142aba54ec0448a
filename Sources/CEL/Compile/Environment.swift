/// What expressions may name: variables, functions, types.
package struct Environment: Sendable {
    package struct Variable: Sendable {
        package let name: String
        package let type: ValueType
    }

    /// A variable's place is where its value stands in `Inputs`.
    package private(set) var variables: [Variable] = []
    /// Looked for names inside this one first: `a.b` for `c` means `a.b.c`, `a.c`, `c`.
    package var container = ""
    /// Whether the elements of a list or map that is written out must be of one type, as Kubernetes has it.
    package var hasUniformLiterals = false
    package var types: (any TypeProvider)?
    /// How large what stands at a path can be: a variable's name, then fields, `@items`, `@keys`, `@values`.
    package var sizes: (@Sendable (_ path: [String]) -> UInt64?)?

    private(set) var places: [String: Int] = [:]
    private(set) var functions: [String: [Overload]] = [:]
    private(set) var typeNames: [String: ValueType] = [:]

    package init(_ libraries: [Library]) {
        let plain: [ValueType] = [
            .null, .bool, .int, .uint, .double, .string, .bytes, .list(.dyn), .map(.dyn, .dyn), .type(.dyn), .timestamp,
            .duration,
        ]
        for type in plain { typeNames[type.name] = type }
        for library in libraries { add(library) }
    }

    package mutating func add(_ library: Library) {
        for function in library.functions { functions[function.name, default: []] += function.overloads }
        for type in library.types { typeNames[type.name] = type }
    }

    /// - Returns: where its value stands in `Inputs`.
    @discardableResult
    package mutating func declare(_ name: String, _ type: ValueType) -> Int {
        if let place = places[name] {
            variables[place] = Variable(name: name, type: type)
            return place
        }
        places[name] = variables.count
        variables.append(Variable(name: name, type: type))
        return variables.count - 1
    }

    /// The names that a name may mean, nearest first. A leading dot means the root.
    func candidates(_ name: String) -> [String] {
        if name.hasPrefix(".") { return [String(name.dropFirst())] }
        if container.isEmpty { return [name] }
        var names: [String] = []
        var parts = container.split(separator: ".")
        while !parts.isEmpty {
            names.append(parts.joined(separator: ".") + "." + name)
            parts.removeLast()
        }
        return names + [name]
    }

    /// - Parameter expected: the type that the expression must have; any when `nil`.
    package func compile(_ text: String, expected: ValueType? = nil) throws(CompilationFault) -> Program {
        let tree: SyntaxTree
        do {
            tree = try Parser.read(text)
        } catch {
            throw CompilationFault(text, [(error.offset, error.message)])
        }
        var checker = Checker(tree, self)
        let type = checker.check(expected)
        if !checker.issues.isEmpty { throw CompilationFault(text, checker.issues) }
        let planner = Planner(tree, checker.notes)
        return Program(
            text: text, type: type, root: planner.plan(tree.root), locals: checker.mostLocals,
            estimate: Estimator(tree, checker.notes, checker.types, self).whole)
    }
}
