extension Library {
    package static let quantities = Library(
        [
            Function(
                "quantity",
                .global("string_to_quantity", [.string], quantity, cost: .traversal(0)) {
                    (values) throws(EvaluationFault) -> Value in
                    guard let made = Quantity(try values[0].text()) else {
                        let shape = "^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
                        throw .failed("quantities must match the regular expression '\(shape)'")
                    }
                    return .opaque(made)
                }),
            Function(
                "isQuantity",
                .global("is_quantity_string", [.string], .bool, cost: .traversal(0)) {
                    (values) throws(EvaluationFault) -> Value in .bool(Quantity(try values[0].text()) != nil)
                }),
            one("sign", .int) { (amount) throws(EvaluationFault) in .int(amount.sign) },
            one("isInteger", .bool) { (amount) throws(EvaluationFault) in .bool(amount.whole != nil) },
            one("asInteger", .int) { (amount) throws(EvaluationFault) in
                guard let whole = amount.whole else { throw .failed("cannot convert value to integer") }
                return .int(whole)
            },
            one("asApproximateFloat", .double) { (amount) throws(EvaluationFault) in .double(amount.approximate) },
            two("isGreaterThan", .bool) { .bool($0.compare($1) > 0) },
            two("isLessThan", .bool) { .bool($0.compare($1) < 0) },
            two("compareTo", .int) { .int($0.compare($1)) },
            sum("add") { $0.adding($1) },
            sum("sub") { $0.subtracting($1) },
        ], types: [quantity])

    private static let quantity = Quantity.type

    private static func one(
        _ name: String, _ result: ValueType, _ body: @escaping @Sendable (Quantity) throws(EvaluationFault) -> Value
    ) -> Function {
        Function(
            name,
            .member("quantity_\(name)", [quantity], result) { (values) throws(EvaluationFault) -> Value in
                try body(values[0].own(Quantity.self))
            })
    }

    private static func two(
        _ name: String, _ result: ValueType, _ body: @escaping @Sendable (Quantity, Quantity) -> Value
    ) -> Function {
        Function(
            name,
            .member("quantity_\(name)", [quantity, quantity], result) { (values) throws(EvaluationFault) -> Value in
                body(try values[0].own(Quantity.self), try values[1].own(Quantity.self))
            })
    }

    private static func sum(_ name: String, _ body: @escaping @Sendable (Quantity, Quantity) -> Quantity) -> Function {
        Function(
            name,
            .member("quantity_\(name)", [quantity, quantity], quantity) { (values) throws(EvaluationFault) -> Value in
                .opaque(body(try values[0].own(Quantity.self), try values[1].own(Quantity.self)))
            },
            .member("quantity_\(name)_int", [quantity, .int], quantity) { (values) throws(EvaluationFault) -> Value in
                .opaque(body(try values[0].own(Quantity.self), Quantity.of(try values[1].number())))
            })
    }
}
