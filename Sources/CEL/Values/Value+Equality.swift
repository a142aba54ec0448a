extension Value {
    /// Whether two values are equal; numbers compare by what they amount to, values of other types never equal each other.
    package func equals(_ other: Value) -> Bool {
        switch (self, other) {
        case (.null, .null): true
        case (.bool(let one), .bool(let two)): one == two
        case (.string(let one), .string(let two)): one.utf8.elementsEqual(two.utf8)
        case (.bytes(let one), .bytes(let two)): one == two
        case (.int(let one), .int(let two)): one == two
        case (.uint(let one), .uint(let two)): one == two
        case (.double(let one), .double(let two)): one == two
        case (.list(let one), .list(let two)): one.equals(two)
        case (.map(let one), .map(let two)): one.equals(two)
        case (.timestamp(let one), .timestamp(let two)): one == two
        case (.duration(let one), .duration(let two)): one == two
        case (.type(let one), .type(let two)): one.name == two.name
        case (.optional(let one), .optional(let two)):
            switch (one.value, two.value) {
            case (nil, nil): true
            case (let one?, let two?): one.equals(two)
            default: false
            }
        case (.opaque(let one), .opaque(let two)): one.equals(two)
        default: numericOrder(other) == .same
        }
    }

    /// - Returns: `nil` when the two have no order between them.
    package func order(_ other: Value) -> ValueOrder? {
        switch (self, other) {
        case (.bool(let one), .bool(let two)): ValueOrder(one ? 1 : 0, two ? 1 : 0)
        case (.string(let one), .string(let two)): ValueOrder(texts: one.utf8, two.utf8)
        case (.bytes(let one), .bytes(let two)): ValueOrder(texts: one, two)
        case (.timestamp(let one), .timestamp(let two)): ValueOrder(one, two)
        case (.duration(let one), .duration(let two)): ValueOrder(one, two)
        default: numericOrder(other)
        }
    }

    private func numericOrder(_ other: Value) -> ValueOrder? {
        switch (self, other) {
        case (.int(let one), .int(let two)): ValueOrder(one, two)
        case (.uint(let one), .uint(let two)): ValueOrder(one, two)
        case (.double(let one), .double(let two)): ValueOrder(doubles: one, two)
        // Swift compares integers of different types by what they amount to.
        case (.int(let one), .uint(let two)): one == two ? .same : one < two ? .before : .behind
        case (.uint(let one), .int(let two)): one == two ? .same : one < two ? .before : .behind
        case (.int(let one), .double(let two)): ValueOrder(doubles: Double(one), two)
        case (.uint(let one), .double(let two)): ValueOrder(doubles: Double(one), two)
        case (.double(let one), .int(let two)): ValueOrder(doubles: one, Double(two))
        case (.double(let one), .uint(let two)): ValueOrder(doubles: one, Double(two))
        default: nil
        }
    }
}

package enum ValueOrder: Sendable {
    case before, same, behind

    /// A double that is not a number stands in no order, but the two can be compared.
    case none

    init<Ordered: Comparable>(_ one: Ordered, _ two: Ordered) {
        self = one == two ? .same : one < two ? .before : .behind
    }

    init(texts one: some Sequence<UInt8>, _ two: some Sequence<UInt8>) {
        self = one.elementsEqual(two) ? .same : one.lexicographicallyPrecedes(two) ? .before : .behind
    }

    init(doubles one: Double, _ two: Double) {
        self = one.isNaN || two.isNaN ? .none : one == two ? .same : one < two ? .before : .behind
    }
}
