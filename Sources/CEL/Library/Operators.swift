extension Library {
    /// The operators, for the checker: which types they take and make.
    static let operators = Library(
        Operation.allCases.map { operation in
            Function(
                operation.rawValue,
                signatures(operation).map { parameters, result in
                    let names = parameters.map(\.name).joined(separator: "_")
                    return .global("\(operation.rawValue)_\(names)", parameters, result) {
                        (values) throws(EvaluationFault) -> Value in try operation.apply(values[0], values[1])
                    }
                })
        } + unary)

    private static let numbers: [ValueType] = [.int, .uint, .double]
    private static let element = ValueType.parameter("A")
    private static let other = ValueType.parameter("B")

    private static func signatures(_ operation: Operation) -> [([ValueType], ValueType)] {
        switch operation {
        case .add:
            same([.int, .uint, .double, .string, .bytes, .list(element), .duration])
                + [([.timestamp, .duration], .timestamp), ([.duration, .timestamp], .timestamp)]
        case .subtract:
            same([.int, .uint, .double, .duration])
                + [([.timestamp, .duration], .timestamp), ([.timestamp, .timestamp], .duration)]
        case .multiply, .divide: same(numbers)
        case .remain: same([.int, .uint])
        case .less, .atMost, .greater, .atLeast:
            [ValueType.bool, .string, .bytes, .timestamp, .duration].map { ([$0, $0], .bool) }
                + numbers.flatMap { one in numbers.map { ([one, $0], .bool) } }
        case .equal, .unequal: [([element, element], .bool)]
        case .member: [([element, .list(element)], .bool), ([element, .map(element, other)], .bool)]
        }
    }

    private static func same(_ types: [ValueType]) -> [([ValueType], ValueType)] { types.map { ([$0, $0], $0) } }

    /// Those that have steps of their own are never called by their body.
    private static let unary: [Function] = {
        let refused: Overload.Body = { (_) throws(EvaluationFault) -> Value in throw .noOverload }
        let list = ValueType.list(element)
        let map = ValueType.map(element, other)
        return [
            Function("!_", .global("logical_not", [.bool], .bool, refused)),
            Function(
                "-_", .global("negate_int64", [.int], .int, refused),
                .global("negate_double", [.double], .double, refused)),
            Function(
                "_[_]", .global("index_list", [list, .int], element, refused),
                .global("index_map", [map, element], other, refused),
                .global("optional_list_index_int", [.optional(list), .int], .optional(element), refused),
                .global("optional_map_index_value", [.optional(map), element], .optional(other), refused)),
            Function(
                "_[?_]", .global("list_optindex_optional_int", [list, .int], .optional(element), refused),
                .global("optional_list_optindex_optional_int", [.optional(list), .int], .optional(element), refused),
                .global("map_optindex_optional_value", [map, element], .optional(other), refused),
                .global("optional_map_optindex_optional_value", [.optional(map), element], .optional(other), refused)),
        ]
    }()
}
