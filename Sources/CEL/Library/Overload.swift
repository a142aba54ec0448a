/// One way to call a function.
package struct Overload: Sendable {
    package typealias Body = @Sendable ([Value]) throws(EvaluationFault) -> Value

    package let id: String
    /// Called as `x.f()`; the receiver is the first parameter.
    package let isMember: Bool
    package let parameters: [ValueType]
    package let result: ValueType
    package let cost: CallCost
    package let body: Body

    package static func member(
        _ id: String, _ parameters: [ValueType], _ result: ValueType, cost: CallCost = .fixed(1), _ body: @escaping Body
    ) -> Overload {
        Overload(id: id, isMember: true, parameters: parameters, result: result, cost: cost, body: body)
    }

    package static func global(
        _ id: String, _ parameters: [ValueType], _ result: ValueType, cost: CallCost = .fixed(1), _ body: @escaping Body
    ) -> Overload {
        Overload(id: id, isMember: false, parameters: parameters, result: result, cost: cost, body: body)
    }
}

/// A function's overloads under its name.
package struct Function: Sendable {
    package let name: String
    package let overloads: [Overload]

    package init(_ name: String, _ overloads: Overload...) {
        self.name = name
        self.overloads = overloads
    }

    init(_ name: String, _ overloads: [Overload]) {
        self.name = name
        self.overloads = overloads
    }
}

/// Functions and types that belong together.
package struct Library: Sendable {
    package let functions: [Function]
    /// Types that expressions may name.
    package let types: [ValueType]

    package init(_ functions: [Function], types: [ValueType] = []) {
        self.functions = functions
        self.types = types
    }
}

/// What a call is counted as, by its arguments.
package enum CallCost: Sendable {
    case fixed(UInt64)
    /// Goes through an argument this many times.
    case traversal(Int, times: Double = 1)
    /// Makes a text that it goes through twice.
    case result
    /// As long as the longer of each, multiplied.
    case search(text: Int, part: Int)
    case pattern(text: Int, pattern: Int)
    /// As many as the argument has elements.
    case elements(Int)
    /// One argument's elements for each of the other's.
    case product(Int, Int)
    /// Matches a text against a pattern of this many characters.
    case check(text: Int, pattern: Int)

    static let traversalFactor = 0.1
    static let patternFactor = 0.25

    static func traversal(of size: Int, times: Double = 1) -> UInt64 {
        UInt64((Double(size) * times * traversalFactor).rounded(.up))
    }

    private static func weight(of pattern: Int) -> UInt64 { UInt64((Double(pattern) * patternFactor).rounded(.up)) }

    /// Of a call whose arguments are of these sizes.
    func range(_ sizes: [CostRange], _ result: CostRange) -> CostRange {
        func traversal(_ size: CostRange, _ times: Double = 1, plus: Double = 0) -> CostRange {
            size.scaled(by: times * Self.traversalFactor, plus: plus)
        }
        switch self {
        case .fixed(let cost): return CostRange(least: cost, most: cost)
        case .traversal(let place, let times): return place < sizes.count ? traversal(sizes[place], times) : .one
        case .result: return traversal(result, 2)
        case .search(let text, let part): return traversal(sizes[text]) * traversal(sizes[part])
        case .pattern(let text, let pattern):
            return traversal(sizes[text], plus: 1) * sizes[pattern].scaled(by: Self.patternFactor)
        case .elements(let place): return sizes[place]
        case .product(let one, let two): return sizes[one] * sizes[two] + .one
        case .check(let text, let pattern):
            let weight = Self.weight(of: pattern)
            return traversal(sizes[text], plus: 1) * CostRange(least: weight, most: weight)
        }
    }

    func count(_ arguments: [Value], _ result: Value) -> UInt64 {
        switch self {
        case .fixed(let cost): cost
        case .traversal(let place, let times):
            place < arguments.count ? Self.traversal(of: arguments[place].size, times: times) : 1
        case .result: Self.traversal(of: result.size, times: 2)
        case .search(let text, let part):
            Self.traversal(of: arguments[text].size) &* Self.traversal(of: arguments[part].size)
        case .pattern(let text, let pattern):
            Self.traversal(of: arguments[text].size + 1)
                &* Self.weight(of: arguments[pattern].size)
        case .elements(let place): UInt64(arguments[place].size)
        case .product(let one, let two): UInt64(arguments[one].size) &* UInt64(arguments[two].size) &+ 1
        case .check(let text, let pattern):
            Self.traversal(of: arguments[text].size + 1) &* Self.weight(of: pattern)
        }
    }
}

extension Value {
    // What an overload's body takes; values of other types come when the checker knew no type.
    func text() throws(EvaluationFault) -> String {
        if case .string(let value) = self { return value }
        throw .noOverload
    }

    func number() throws(EvaluationFault) -> Int64 {
        if case .int(let value) = self { return value }
        throw .noOverload
    }

    func elements() throws(EvaluationFault) -> ValueList {
        if case .list(let value) = self { return value }
        throw .noOverload
    }

    func texts() throws(EvaluationFault) -> [String] {
        var texts: [String] = []
        for value in try elements().values { texts.append(try value.text()) }
        return texts
    }

    func own<Kind: OpaqueValue>(_: Kind.Type) throws(EvaluationFault) -> Kind {
        if case .opaque(let value) = self, let own = value as? Kind { return own }
        throw .noOverload
    }

    /// Whether an overload with this parameter takes the value.
    func fits(_ parameter: ValueType) -> Bool {
        switch (parameter, self) {
        case (.dyn, _), (.parameter, _), (.variable, _), (.null, .null), (.bool, .bool), (.int, .int), (.uint, .uint),
            (.double, .double), (.string, .string), (.bytes, .bytes), (.timestamp, .timestamp),
            (.duration, .duration), (.map, .map), (.optional, .optional), (.type, .type), (.object, .map):
            true
        case (.list(let element), .list(let list)):
            list.count == 0 || list[0].fits(element)
        case (.named(let name), .opaque(let value)): value.type.name == name
        case (.named(let name), .map(let map)): map.typeName == name
        default: false
        }
    }
}
