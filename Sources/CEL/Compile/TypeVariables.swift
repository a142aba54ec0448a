/// What the checker knows of types that are not written down: an empty list's elements, an overload's parameters.
struct TypeVariables {
    private var bound: [ValueType?] = []
    /// Variables in the order they were bound, so that a failed attempt can be undone.
    private var trail: [(variable: Int, before: ValueType?)] = []

    mutating func fresh() -> ValueType {
        bound.append(nil)
        return .variable(bound.count - 1)
    }

    private func head(_ type: ValueType) -> ValueType {
        var type = type
        while case .variable(let index) = type, let next = bound[index] { type = next }
        return type
    }

    /// The type with all that is known; what is not is `dyn` when `isFinal`.
    func resolved(_ type: ValueType, isFinal: Bool = false) -> ValueType {
        switch head(type) {
        case .list(let element): .list(resolved(element, isFinal: isFinal))
        case .map(let key, let value): .map(resolved(key, isFinal: isFinal), resolved(value, isFinal: isFinal))
        case .optional(let value): .optional(resolved(value, isFinal: isFinal))
        case .type(let of): .type(resolved(of, isFinal: isFinal))
        case .variable(let index): isFinal ? .dyn : .variable(index)
        case let type: type
        }
    }

    /// An overload's type with variables for its parameters.
    mutating func instance(_ type: ValueType, _ parameters: inout [String: ValueType]) -> ValueType {
        switch type {
        case .parameter(let name):
            if let known = parameters[name] { return known }
            let made = fresh()
            parameters[name] = made
            return made
        case .list(let element): return .list(instance(element, &parameters))
        case .map(let key, let value): return .map(instance(key, &parameters), instance(value, &parameters))
        case .optional(let value): return .optional(instance(value, &parameters))
        case .type(let of): return .type(instance(of, &parameters))
        default: return type
        }
    }

    /// Whether values of all these types can stand where those types are wanted. What was learned stays only if so.
    mutating func assign(_ given: [ValueType], to wanted: [ValueType]) -> Bool {
        let mark = trail.count
        for (one, other) in zip(given, wanted) where !unify(one, other) {
            while trail.count > mark {
                let last = trail.removeLast()
                bound[last.variable] = last.before
            }
            return false
        }
        return true
    }

    /// The type of what is of one of two that can stand for each other.
    func wider(_ one: ValueType, _ two: ValueType) -> ValueType {
        switch (resolved(one), resolved(two)) {
        case (.dyn, _), (_, .dyn): .dyn
        case (.null, let other): other
        case (.list(let first), .list(let second)): .list(wider(first, second))
        case (.optional(let first), .optional(let second)): .optional(wider(first, second))
        case (.map(let firstKey, let firstValue), .map(let secondKey, let secondValue)):
            .map(wider(firstKey, secondKey), wider(firstValue, secondValue))
        case (let first, _): first
        }
    }

    private mutating func bind(_ variable: Int, _ type: ValueType) {
        trail.append((variable, bound[variable]))
        bound[variable] = type
    }

    private func mentions(_ type: ValueType, _ variable: Int) -> Bool {
        switch head(type) {
        case .variable(let index): index == variable
        case .list(let inner), .optional(let inner), .type(let inner): mentions(inner, variable)
        case .map(let key, let value): mentions(key, variable) || mentions(value, variable)
        default: false
        }
    }

    private mutating func unify(_ given: ValueType, _ wanted: ValueType) -> Bool {
        if case .variable(let index) = wanted, let known = bound[index] {
            if !unify(given, known) { return false }
            // The wider of two becomes what the variable stands for.
            if head(given) == .dyn { bind(index, .dyn) }
            return true
        }
        let one = head(given)
        let two = head(wanted)
        if case .variable(let first) = one {
            if case .variable(first) = two { return true }
            if mentions(two, first) { return false }
            bind(first, two)
            return true
        }
        if case .variable(let second) = two {
            if mentions(one, second) { return false }
            bind(second, one)
            return true
        }
        switch (one, two) {
        case (.dyn, _), (_, .dyn): return true
        case (.null, .object), (.null, .named), (.null, .timestamp), (.null, .duration): return true
        case (.object, .null), (.named, .null), (.timestamp, .null), (.duration, .null): return true
        case (.list(let first), .list(let second)), (.optional(let first), .optional(let second)):
            return unify(first, second)
        case (.map(let firstKey, let firstValue), .map(let secondKey, let secondValue)):
            return unify(firstKey, secondKey) && unify(firstValue, secondValue)
        case (.type, .type): return true
        case (.object(let type), .named(let name)), (.named(let name), .object(let type)): return type.name == name
        default: return one == two
        }
    }
}
