extension Library {
    /// Lists as Kubernetes has them: sums, the least and the greatest, places.
    package static let lists = Library([
        Function(
            "isSorted",
            ordered.map { type in
                .member("list_\(type.name)_is_sorted", [.list(type)], .bool, cost: .elements(0)) {
                    (values) throws(EvaluationFault) -> Value in
                    let list = try values[0].elements()
                    for index in 0..<max(0, list.count - 1) where try list[index].isBehind(list[index + 1]) {
                        return .bool(false)
                    }
                    return .bool(true)
                }
            }),
        Function("sum", summed.map(sum)),
        Function(
            "min", ordered.map { extreme("min", $0) { (one, best) throws(EvaluationFault) in try best.isBehind(one) } }),
        Function(
            "max", ordered.map { extreme("max", $0) { (one, best) throws(EvaluationFault) in try one.isBehind(best) } }),
        Function(
            "indexOf",
            .member("list_a_index_of_int", [.list(element), element], .int, cost: .elements(0)) {
                (values) throws(EvaluationFault) -> Value in
                let list = try values[0].elements()
                for index in 0..<list.count where list[index].equals(values[1]) { return .int(Int64(index)) }
                return .int(-1)
            }),
        Function(
            "lastIndexOf",
            .member("list_a_last_index_of_int", [.list(element), element], .int, cost: .elements(0)) {
                (values) throws(EvaluationFault) -> Value in
                let list = try values[0].elements()
                for index in (0..<list.count).reversed() where list[index].equals(values[1]) {
                    return .int(Int64(index))
                }
                return .int(-1)
            }),
    ])

    /// Lists as CEL's own extension has them.
    package static let listExtensions = Library([
        Function(
            "slice",
            .member("list_slice", [.list(element), .int, .int], .list(element), cost: .elements(0)) {
                (values) throws(EvaluationFault) -> Value in
                let list = try values[0].elements()
                let start = try values[1].number()
                let end = try values[2].number()
                guard start >= 0, end >= start, end <= list.count else {
                    throw .failed("cannot slice(\(start), \(end)), list length: \(list.count)")
                }
                return .list(Array(list.values[Int(start)..<Int(end)]))
            }),
        Function(
            "flatten",
            .member("list_flatten", [.list(.list(element))], .list(element), cost: .elements(0)) {
                (values) throws(EvaluationFault) -> Value in try flat(values[0], 1)
            },
            .member("list_flatten_any", [.list(.dyn)], .list(.dyn), cost: .elements(0)) {
                (values) throws(EvaluationFault) -> Value in try flat(values[0], 1)
            },
            .member("list_flatten_int", [.list(.dyn), .int], .list(.dyn), cost: .elements(0)) {
                (values) throws(EvaluationFault) -> Value in try flat(values[0], values[1].number())
            }),
        Function(
            "reverse",
            .member("list_reverse", [.list(element)], .list(element), cost: .elements(0)) {
                (values) throws(EvaluationFault) -> Value in .list(try values[0].elements().values.reversed())
            }),
        Function(
            "distinct",
            .member("list_distinct", [.list(element)], .list(element), cost: .product(0, 0)) {
                (values) throws(EvaluationFault) -> Value in
                var found: [Value] = []
                for value in try values[0].elements().values where !found.contains(where: { $0.equals(value) }) {
                    found.append(value)
                }
                return .list(found)
            }),
        Function(
            "sort",
            .member("list_sort", [.list(element)], .list(element), cost: .product(0, 0)) {
                (values) throws(EvaluationFault) -> Value in
                let all = try values[0].elements().values
                for value in all.dropFirst() where all[0].order(value) == nil || value.type != all[0].type {
                    throw .failed("list elements must have the same type")
                }
                return .list(all.sorted { $0.order($1) == .before })
            }),
        Function(
            "lists.range",
            .global("lists_range", [.int], .list(.int)) { (values) throws(EvaluationFault) -> Value in
                let count = try values[0].number()
                guard count <= longestRange else { throw .failed("a range has at most \(longestRange) elements") }
                return .list((0..<max(0, count)).map { .int($0) })
            }),
        Function(
            "first",
            .member("list_first", [.list(element)], .optional(element)) { (values) throws(EvaluationFault) -> Value in
                let list = try values[0].elements()
                return .optional(of: list.count == 0 ? nil : list[0])
            }),
        Function(
            "last",
            .member("list_last", [.list(element)], .optional(element)) { (values) throws(EvaluationFault) -> Value in
                let list = try values[0].elements()
                return .optional(of: list.count == 0 ? nil : list[list.count - 1])
            }),
    ])

    /// Lists as sets.
    package static let sets = Library([
        set("sets.contains") { one, two in two.values.allSatisfy { one.contains($0) } },
        set("sets.intersects") { one, two in two.values.contains { one.contains($0) } },
        set("sets.equivalent") { one, two in
            two.values.allSatisfy { one.contains($0) } && one.values.allSatisfy { two.contains($0) }
        },
    ])

    private static let element = ValueType.parameter("T")
    private static let longestRange: Int64 = 100_000
    private static let ordered: [ValueType] = [
        .int, .uint, .double, .bool, .duration, .timestamp, .string, .bytes,
    ]
    private static let summed: [(ValueType, Value)] = [
        (.int, .int(0)), (.uint, .uint(0)), (.double, .double(0)), (.duration, .duration(TimeSpan(nanoseconds: 0))),
    ]

    private static func set(
        _ name: String, _ holds: @escaping @Sendable (ValueList, ValueList) -> Bool
    ) -> Function {
        Function(
            name,
            .global("list_\(name)_list", [.list(element), .list(element)], .bool, cost: .product(0, 1)) {
                (values) throws(EvaluationFault) -> Value in
                .bool(holds(try values[0].elements(), try values[1].elements()))
            })
    }

    private static func sum(_ type: ValueType, _ zero: Value) -> Overload {
        .member("list_\(type.name)_sum", [.list(type)], type, cost: .elements(0)) {
            (values) throws(EvaluationFault) -> Value in
            var sum = zero
            for value in try values[0].elements().values { sum = try Operation.add.apply(sum, value) }
            return sum
        }
    }

    private static func extreme(
        _ name: String, _ type: ValueType,
        _ isBetter: @escaping @Sendable (Value, Value) throws(EvaluationFault) -> Bool
    ) -> Overload {
        .member("list_\(type.name)_\(name)", [.list(type)], type, cost: .elements(0)) {
            (values) throws(EvaluationFault) -> Value in
            let list = try values[0].elements()
            if list.count == 0 { throw .failed("\(name) called on empty list") }
            var best = list[0]
            for value in list.values where try isBetter(value, best) { best = value }
            return best
        }
    }

    private static func flat(_ value: Value, _ depth: Int64) throws(EvaluationFault) -> Value {
        if depth < 0 { throw .failed("level must be non-negative") }
        var made: [Value] = []
        for element in try value.elements().values {
            if case .list = element, depth > 0 {
                made += try flat(element, depth - 1).elements().values
            } else {
                made.append(element)
            }
        }
        return .list(made)
    }
}

extension Value {
    fileprivate func isBehind(_ other: Value) throws(EvaluationFault) -> Bool {
        guard let order = order(other) else { throw .noOverload }
        return order == .behind
    }
}
