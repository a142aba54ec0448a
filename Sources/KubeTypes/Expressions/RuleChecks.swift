import CEL
import Wire

/// Runs a kind's rules over an object.
///
/// What an update leaves as it was is not asked again, whatever its rules say now (KEP-4008), but for rules that compare with
/// the old value. All rules of one object share one budget.
struct RuleChecks {
    private(set) var faults: [FieldFault] = []
    private var path = FieldPath()
    private var budget = CostBudget()
    private var isOver = false

    mutating func check(_ object: KubeObject, old: KubeObject?, _ rules: SchemaRules) {
        check(object.json, old: old?.json, rules, isUnchanged: false)
    }

    /// - Parameter isUnchanged: a value around this one is the same as it was.
    private mutating func check(_ value: JSON, old: JSON?, _ rules: SchemaRules, isUnchanged: Bool) {
        if isOver || value.isNull { return }
        let isSame = isUnchanged || old == value
        if !rules.rules.isEmpty { run(value, old: old == .null ? nil : old, rules, isSame) }
        switch value {
        case .array(let elements):
            guard let inner = rules.items else { return }
            let before = OldElements(old?.array, rules.schema)
            for (index, element) in elements.enumerated() where !isOver {
                path.enter(index)
                check(element, old: before.match(element), inner, isUnchanged: isSame)
                path.leave()
            }
        case .object(let members):
            for member in members where !isOver {
                guard let inner = rules.properties[member.key] ?? rules.additional else { continue }
                path.enter(member.key, isKey: rules.properties[member.key] == nil)
                check(member.value, old: old?[member.key], inner, isUnchanged: isSame)
                path.leave()
            }
        default: break
        }
    }

    private mutating func run(_ value: JSON, old: JSON?, _ rules: SchemaRules, _ isSame: Bool) {
        let type = rules.type ?? .dyn
        let now = Value(value, rules.schema, as: type)
        let before = old.map { Value($0, rules.schema, as: type) }
        for rule in rules.rules where !isOver {
            guard let program = rule.program else {
                invalid(rules, "rule compile error: \(rule.fault ?? "")")
                continue
            }
            let isOptional = rule.rule.isOldSelfOptional == true
            if rule.usesOldSelf {
                if before == nil, !isOptional { continue }
            } else if isSame {
                continue
            }
            let inputs: [Value?] = [now, isOptional ? Value.optional(of: before) : before]
            do throws(EvaluationFault) {
                if try program.evaluate(inputs, budget: &budget).bool == true { continue }
            } catch {
                tell(error, rule, rules)
                continue
            }
            refuse(rule, rules, inputs)
        }
    }

    private mutating func invalid(_ rules: SchemaRules, _ detail: String, at path: String? = nil) {
        faults.append(
            FieldFault(.invalid, path ?? self.path.text, value: .string(rules.schema.kind.rawValue), detail))
    }

    private mutating func tell(_ fault: EvaluationFault, _ rule: CompiledRule, _ rules: SchemaRules) {
        switch fault {
        case .budget, .interrupted:
            isOver = true
            invalid(
                rules, "validation failed due to running out of cost budget, no further validation rules will be run")
        case .costLimit:
            isOver = true
            invalid(
                rules,
                "'\(fault)': no further validation rules will be run due to call cost exceeds limit for rule: \(rule.shown)"
            )
        case .failed(let text) where text.hasPrefix("no such overload"):
            invalid(
                rules,
                "'\(fault)': call arguments did not match a supported operator, function or macro signature for rule:"
                    + " \(rule.shown)")
        case .failed: invalid(rules, "\(fault) evaluating rule: \(rule.shown)")
        }
    }

    /// Bytes of a message that an expression makes.
    private static let longestMessage = 5 << 10

    private mutating func refuse(_ rule: CompiledRule, _ rules: SchemaRules, _ inputs: [Value?]) {
        var place = path.text
        if let steps = FieldSteps(rule.rule.fieldPath), !steps.steps.isEmpty {
            place =
                steps.steps.reduce(path) { path, step in
                    var path = path
                    path.enter(step)
                    return path
                }.text
        }
        var text = rule.plainMessage
        if let message = rule.message {
            do throws(EvaluationFault) {
                let made = (try message.evaluate(inputs, budget: &budget).string ?? "").trimmed
                if !made.isEmpty, !made.contains("\n"), made.utf8.count <= Self.longestMessage { text = made }
            } catch {
                if error == .budget || error == .costLimit {
                    isOver = true
                    text =
                        "messageExpression evaluation failed due to running out of cost budget, no further validation"
                        + " rules will be run"
                    return invalid(rules, text, at: place)
                }
            }
        }
        switch rule.rule.reason {
        case "FieldValueForbidden": faults.append(FieldFault(.forbidden, place, text))
        case "FieldValueRequired": faults.append(FieldFault(.required, place, text))
        case "FieldValueDuplicate":
            faults.append(FieldFault(.duplicate, place, value: .string(rules.schema.kind.rawValue)))
        default: invalid(rules, text, at: place)
        }
    }
}

/// The elements a list had before, by what tells them apart: only lists of type map have something.
struct OldElements {
    private let keys: [String]
    private let byKey: [JSON: JSON]

    init(_ elements: [JSON]?, _ schema: Schema) {
        guard schema.listType == .map, let elements, !elements.isEmpty else {
            keys = []
            byKey = [:]
            return
        }
        let names = schema.listMapKeys
        keys = names
        byKey = Dictionary(elements.map { (Self.key($0, names), $0) }) { first, _ in first }
    }

    func match(_ element: JSON) -> JSON? { byKey.isEmpty ? nil : byKey[Self.key(element, keys)] }

    private static func key(_ element: JSON, _ keys: [String]) -> JSON { .array(keys.map { element[$0] ?? .null }) }
}

/// A path of members as a rule's `fieldPath` and selectable fields write it: `.spec['a.b'].c`.
package struct FieldSteps: Sendable, Hashable {
    package private(set) var steps: [String] = []
    /// Whether brackets are used.
    package private(set) var hasBrackets = false

    /// - Returns: `nil` for a text that is no such path.
    package init?(_ text: String) {
        var rest = text.trimmed[...]
        while let first = rest.first {
            rest = rest.dropFirst()
            if first == "." {
                let name = rest.prefix { $0 != "." && $0 != "[" }
                if name.isEmpty || name.contains("]") { return nil }
                steps.append(String(name))
                rest = rest.dropFirst(name.count)
                continue
            }
            guard first == "[", rest.first == "'" else { return nil }
            hasBrackets = true
            rest = rest.dropFirst()
            var name = ""
            var isClosed = false
            while let letter = rest.first {
                rest = rest.dropFirst()
                if letter == "\\", let next = rest.first {
                    name.append(next)
                    rest = rest.dropFirst()
                } else if letter == "'" {
                    isClosed = true
                    break
                } else {
                    name.append(letter)
                }
            }
            guard isClosed, rest.first == "]" else { return nil }
            rest = rest.dropFirst()
            steps.append(name)
        }
    }
}
