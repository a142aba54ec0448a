import Wire

/// Priority levels and flow schemas: who waits for whom when there is too much to do.
extension Validator {
    private static let mostQueues = 10_000_000
    /// Of the number a flow is known by; each queue of its hand uses some.
    private static let hashBits = 60

    mutating func priorityLevel(_ object: KubeObject) {
        let spec = object.spec
        oneOf("spec.type", spec["type"], ["Exempt", "Limited"])
        switch spec["type"]?.string {
        case "Exempt":
            if spec["limited"] != nil { forbidden("spec.limited", "must be nil if the type is Exempt") }
            seats(spec["exempt"], "spec.exempt")
        case "Limited":
            if spec["exempt"] != nil { forbidden("spec.exempt", "must be nil if the type is Limited") }
            guard let limited = spec["limited"] else {
                return required("spec.limited", "must not be empty when type is Limited")
            }
            seats(limited, "spec.limited")
            if let percent = limited["borrowingLimitPercent"]?.int, percent < 0 {
                invalid(
                    "spec.limited.borrowingLimitPercent", limited["borrowingLimitPercent"],
                    "if specified, must be a non-negative integer")
            }
            limitResponse(limited["limitResponse"], "spec.limited.limitResponse")
        default: break
        }
    }

    private mutating func seats(_ part: JSON?, _ path: String) {
        if let shares = part?["nominalConcurrencyShares"]?.int, shares < 0 {
            invalid(
                "\(path).nominalConcurrencyShares", part?["nominalConcurrencyShares"], "must be a non-negative integer")
        }
        if let percent = part?["lendablePercent"]?.int, !(0...100).contains(percent) {
            invalid("\(path).lendablePercent", part?["lendablePercent"], "must be between 0 and 100, inclusive")
        }
    }

    private mutating func limitResponse(_ response: JSON?, _ path: String) {
        oneOf("\(path).type", response?["type"], ["Queue", "Reject"])
        guard response?["type"] == "Queue" else {
            if response?["queuing"] != nil { forbidden("\(path).queuing", "must be nil if the type is not Queue") }
            return
        }
        guard let queuing = response?["queuing"] else {
            return required("\(path).queuing", "must not be empty if the type is Queue")
        }
        let path = "\(path).queuing"
        for field in ["queues", "handSize", "queueLengthLimit"] {
            if let number = queuing[field]?.int, number <= 0 {
                invalid("\(path).\(field)", queuing[field], "must be positive")
            }
        }
        guard let queues = queuing["queues"]?.int, let hand = queuing["handSize"]?.int, queues > 0, hand > 0 else {
            return
        }
        if queues > Self.mostQueues {
            invalid("\(path).queues", queuing["queues"], "must not be greater than \(Self.mostQueues)")
        } else if hand > queues {
            invalid("\(path).handSize", queuing["handSize"], "should not be greater than queues (\(queues))")
        } else if !Self.isDealt(queues, hand) {
            invalid(
                "\(path).handSize", queuing["handSize"],
                "required entropy bits of deckSize \(queues) and handSize \(hand) should not be greater than \(Self.hashBits)"
            )
        }
    }

    /// Whether a flow's number tells all hands of so many queues apart.
    private static func isDealt(_ queues: Int, _ hand: Int) -> Bool {
        var hands: UInt64 = 1
        for place in 0..<min(hand, hashBits + 2) {
            let (product, isOver) = hands.multipliedReportingOverflow(by: UInt64(queues - place))
            if isOver || product > 1 << hashBits { return false }
            hands = product
        }
        return true
    }

    mutating func flowSchema(_ object: KubeObject) {
        let spec = object.spec
        if let precedence = spec["matchingPrecedence"]?.int {
            if precedence <= 0 {
                invalid("spec.matchingPrecedence", spec["matchingPrecedence"], "must be a positive value")
            } else if precedence > 10_000 {
                invalid("spec.matchingPrecedence", spec["matchingPrecedence"], "must not be greater than 10000")
            } else if precedence == 1, object.name != "exempt" {
                invalid(
                    "spec.matchingPrecedence", spec["matchingPrecedence"],
                    "only the schema named 'exempt' may have matchingPrecedence 1")
            }
        }
        if let method = spec["distinguisherMethod"] {
            oneOf("spec.distinguisherMethod.type", method["type"], ["ByNamespace", "ByUser"])
        }
        if spec["priorityLevelConfiguration"]?["name"]?.string?.isEmpty ?? true {
            required("spec.priorityLevelConfiguration.name", "must reference a priority level")
        }
        for (index, rule) in spec.list("rules").enumerated() {
            let path = "spec.rules[\(index)]"
            if rule.list("subjects").isEmpty {
                required("\(path).subjects", "subjects must contain at least one value")
            }
            if rule.list("resourceRules").isEmpty, rule.list("nonResourceRules").isEmpty {
                required(path, "at least one of resourceRules and nonResourceRules has to be non-empty")
            }
        }
    }
}
