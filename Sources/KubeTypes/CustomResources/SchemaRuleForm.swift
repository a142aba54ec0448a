import CEL
import Wire

/// Compiles the rules of a CRD's schema, and adds up what they may cost.
///
/// A rule may be run as often as what it stands at can be in one object; where no limit is set, as often as fits in a request.
struct SchemaRuleForm {
    private(set) var faults: [FieldFault] = []
    private var total: UInt64 = 0
    private var costly: [(path: String, cost: UInt64)] = []

    private static let limitOfRule: UInt64 = 10_000_000
    private static let limitOfSchema: UInt64 = 100_000_000

    mutating func check(_ root: JSON, _ path: String) {
        guard Schema(root, isCustom: true).hasRules else { return }
        // As it is used: with what every object has.
        let rules = SchemaRules(CustomSchema(root).schema)
        check(rules, path, times: 1, uncorrelated: nil)
        if total <= Self.limitOfSchema { return }
        for entry in costly.sorted(by: { $0.cost > $1.cost }).prefix(4) {
            faults.append(
                FieldFault(
                    .forbidden, entry.path,
                    "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"))
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        faults.append(FieldFault(.forbidden, path, Self.excess(what, total, Self.limitOfSchema)))
    }

    /// - Parameters:
    ///   - times: how often this can be in an object; `nil` where that has no limit.
    ///   - uncorrelated: the first list around this whose elements cannot be told apart from one version to the next.
    private mutating func check(_ rules: SchemaRules, _ path: String, times: UInt64?, uncorrelated: String?) {
        let schema = rules.schema
        let often = times ?? SchemaSizes.cardinality(schema)
        for (index, rule) in rules.rules.enumerated() {
            check(rule, "\(path).x-kubernetes-validations[\(index)]", often, uncorrelated)
        }
        for (name, inner) in rules.properties.sorted(by: { $0.key < $1.key }) {
            check(inner, "\(path).properties[\(name)]", times: times, uncorrelated: uncorrelated)
        }
        if let inner = rules.items {
            let isTold = schema.listType == .map
            check(
                inner, "\(path).items", times: Self.times(times, schema.maxItems),
                uncorrelated: uncorrelated ?? (isTold ? nil : path))
        }
        if let inner = rules.additional {
            check(
                inner, "\(path).additionalProperties", times: Self.times(times, schema.maxProperties),
                uncorrelated: uncorrelated)
        }
    }

    private static func times(_ outer: UInt64?, _ inner: Int?) -> UInt64? {
        guard let outer, let inner else { return nil }
        return product(outer, UInt64(max(0, inner)))
    }

    private static func product(_ one: UInt64, _ other: UInt64) -> UInt64 {
        let (product, isOver) = one.multipliedReportingOverflow(by: other)
        return isOver ? .max : product
    }

    private mutating func check(_ rule: CompiledRule, _ path: String, _ often: UInt64, _ uncorrelated: String?) {
        if let program = rule.program {
            count(Self.product(program.estimate.most, often), "\(path).rule", "estimated rule cost")
        }
        if let fault = rule.fault {
            faults.append(FieldFault(.invalid, "\(path).rule", value: .string(rule.rule.rule), fault))
        }
        if let message = rule.message {
            count(
                message.estimate.most, "\(path).messageExpression", "estimated messageExpression cost")
        }
        if let fault = rule.messageFault {
            faults.append(
                FieldFault(
                    .invalid, "\(path).messageExpression", value: .string(rule.rule.messageExpression), fault))
        }
        if rule.usesOldSelf {
            guard let uncorrelated else { return }
            faults.append(
                FieldFault(
                    .invalid, "\(path).rule", value: .string(rule.rule.rule),
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within \(uncorrelated)"))
        } else if let isOptional = rule.rule.isOldSelfOptional, rule.fault == nil {
            faults.append(
                FieldFault(
                    .invalid, "\(path).optionalOldSelf", value: .bool(isOptional),
                    "may not be set if oldSelf is not used in rule"))
        }
    }

    private mutating func count(_ cost: UInt64, _ path: String, _ what: String) {
        if cost > Self.limitOfRule {
            faults.append(FieldFault(.forbidden, path, Self.excess(what, cost, Self.limitOfRule)))
        }
        let (sum, isOver) = total.addingReportingOverflow(cost)
        total = isOver ? .max : sum
        costly.append((path, cost))
    }

    private static func excess(_ what: String, _ cost: UInt64, _ limit: UInt64) -> String {
        let factor = Double(cost) / Double(limit)
        let shown: String
        if factor > 100 {
            shown = "more than 100x"
        } else {
            // One digit, or enough of them to see that it is more than once.
            let digits = factor < 1.5 ? 1_000_000.0 : 10.0
            shown = "\((factor * digits).rounded() / digits)x"
        }
        return
            "\(what) exceeds budget by factor of \(shown) (try simplifying the rule, or adding maxItems, maxProperties, and"
            + " maxLength where arrays, maps, and strings are declared)"
    }
}
