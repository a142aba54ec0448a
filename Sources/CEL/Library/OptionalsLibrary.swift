extension Library {
    /// Values that may be absent: `optional.of(x)`, `x.orValue(y)`.
    package static let optionals = Library(
        [
            Function(
                "optional.of",
                .global("optional_of", [element], .optional(element)) { (values) throws(EvaluationFault) -> Value in
                    .optional(of: values[0])
                }),
            Function(
                "optional.ofNonZeroValue",
                .global("optional_ofNonZeroValue", [element], .optional(element)) {
                    (values) throws(EvaluationFault) -> Value in
                    .optional(of: values[0].isZero ? nil : values[0])
                }),
            Function(
                "optional.none",
                .global("optional_none", [], .optional(element)) { (_) throws(EvaluationFault) -> Value in
                    .optional(.none)
                }),
            Function(
                "value",
                .member("optional_value", [.optional(element)], element) { (values) throws(EvaluationFault) -> Value in
                    guard let value = try values[0].present().value else {
                        throw .failed("optional.none() dereference")
                    }
                    return value
                }),
            Function(
                "hasValue",
                .member("optional_hasValue", [.optional(element)], .bool) { (values) throws(EvaluationFault) -> Value in
                    .bool(try values[0].present().value != nil)
                }),
            Function(
                "or",
                .member("optional_or_optional", [.optional(element), .optional(element)], .optional(element)) {
                    (values) throws(EvaluationFault) -> Value in
                    try values[0].present().value == nil ? values[1] : values[0]
                }),
            Function(
                "orValue",
                .member("optional_orValue_value", [.optional(element), element], element) {
                    (values) throws(EvaluationFault) -> Value in
                    try values[0].present().value ?? values[1]
                }),
            Function(
                "optional.unwrap",
                .global("optional_unwrap", [.list(.optional(element))], .list(element), cost: .elements(0), unwrap)),
            Function(
                "unwrapOpt",
                .member("optional_unwrapOpt", [.list(.optional(element))], .list(element), cost: .elements(0), unwrap)),
        ], types: [.optional(.dyn)])

    private static let element = ValueType.parameter("A")

    private static let unwrap: Overload.Body = { (values) throws(EvaluationFault) -> Value in
        var found: [Value] = []
        for value in try values[0].elements().values {
            if let inner = try value.present().value { found.append(inner) }
        }
        return .list(found)
    }
}

extension Value {
    fileprivate func present() throws(EvaluationFault) -> OptionalValue {
        if case .optional(let optional) = self { return optional }
        throw .noOverload
    }

    fileprivate var isZero: Bool {
        switch self {
        case .null: true
        case .bool(let value): !value
        case .int(let value): value == 0
        case .uint(let value): value == 0
        case .double(let value): value == 0
        case .string(let text): text.isEmpty
        case .bytes(let bytes): bytes.isEmpty
        case .list(let list): list.count == 0
        case .map(let map): map.count == 0
        case .duration(let span): span.nanoseconds == 0
        case .timestamp(let moment): moment.seconds == 0 && moment.nanoseconds == 0
        case .optional(let optional): optional.value == nil
        case .type, .opaque: false
        }
    }
}
