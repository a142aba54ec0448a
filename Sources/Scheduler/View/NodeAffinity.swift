package import KubeTypes
package import Wire

/// One `nodeSelectorTerm`: labels, and fields, of which there is only `metadata.name`.
package struct NodeTerm: Sendable, Hashable {
    package var labels: LabelSelector
    package var fields: LabelSelector

    /// - Returns: `nil` for a term that says nothing, which matches no node.
    package init?(_ json: JSON) throws(APIFailure) {
        let expressions = json["matchExpressions"]?.array ?? []
        let fieldExpressions = json["matchFields"]?.array ?? []
        if expressions.isEmpty, fieldExpressions.isEmpty { return nil }
        labels = try Self.selector(expressions)
        fields = try Self.selector(fieldExpressions)
    }

    /// Node selectors know two operators more than label selectors: `Gt` and `Lt`.
    private static func selector(_ expressions: [JSON]) throws(APIFailure) -> LabelSelector {
        var selector = LabelSelector()
        for expression in expressions {
            let key = expression["key"]?.string ?? ""
            let operation = expression["operator"]?.string ?? ""
            guard operation == "Gt" || operation == "Lt" else {
                selector.requirements += try podSelector(["matchExpressions": [expression]]).requirements
                continue
            }
            let values = expression["values"]?.array?.compactMap(\.string) ?? []
            guard values.count == 1, let bound = Int64(values[0]) else {
                throw .badRequest("node affinity: \(operation) on \"\(key)\" needs exactly one whole number")
            }
            selector.requirements.append(operation == "Gt" ? .greater(key, bound) : .less(key, bound))
        }
        return selector
    }

    package func matches(_ node: NodeInfo) -> Bool {
        labels.matches(node.labels) && (fields.requirements.isEmpty || fields.matches(["metadata.name": node.name]))
    }
}

package struct WeightedTerm<Term: Sendable & Hashable>: Sendable, Hashable {
    package var weight: Int
    package var term: Term
    package init(weight: Int, term: Term) {
        self.weight = weight
        self.term = term
    }
}

/// Which other pods a pod wants to be with, or without, in one place of a topology.
package struct PodTerm: Sendable, Hashable {
    package var selector: LabelSelector
    /// The namespaces named; with none and no selector, the pod's own.
    package var namespaces: Set<String>
    package var namespaceSelector: LabelSelector?
    package var topologyKey: String

    package init(_ json: JSON, of pod: KubeObject) throws(APIFailure) {
        topologyKey = json["topologyKey"]?.string ?? ""
        guard !topologyKey.isEmpty else { throw .badRequest("\(pod.label): an affinity term has no topologyKey") }
        var selector = try podSelector(json["labelSelector"])
        let labels = pod.labels
        for key in json["matchLabelKeys"]?.array?.compactMap(\.string) ?? [] {
            if let value = labels[key] { selector.requirements.append(.isIn(key, [value])) }
        }
        for key in json["mismatchLabelKeys"]?.array?.compactMap(\.string) ?? [] {
            if let value = labels[key] { selector.requirements.append(.notIn(key, [value])) }
        }
        self.selector = selector
        namespaces = Set(json["namespaces"]?.array?.compactMap(\.string) ?? [])
        if let json = json["namespaceSelector"], !json.isNull {
            namespaceSelector = try podSelector(json)
        } else if namespaces.isEmpty {
            namespaces = [pod.namespace]
        }
    }

    /// - Parameter namespaceLabels: the labels of each namespace.
    package func matches(_ pod: PodInfo, namespaceLabels: [String: [String: String]]) -> Bool {
        let isInNamespace =
            namespaces.contains(pod.key.namespace)
            || namespaceSelector?.matches(namespaceLabels[pod.key.namespace] ?? [:]) ?? false
        return isInNamespace && selector.matches(pod.labels)
    }
}

/// How evenly pods of a kind must stand over the places of a topology.
package struct SpreadConstraint: Sendable, Hashable {
    package var maxSkew: Int
    package var topologyKey: String
    package var isRequired: Bool
    package var selector: LabelSelector
    package var minDomains: Int
    package var honorsAffinity: Bool
    package var honorsTaints: Bool

    package init(_ json: JSON, of pod: KubeObject) throws(APIFailure) {
        maxSkew = json["maxSkew"]?.int ?? 1
        topologyKey = json["topologyKey"]?.string ?? ""
        isRequired = json["whenUnsatisfiable"]?.string != "ScheduleAnyway"
        var selector = try podSelector(json["labelSelector"])
        let labels = pod.labels
        for key in json["matchLabelKeys"]?.array?.compactMap(\.string) ?? [] {
            if let value = labels[key] { selector.requirements.append(.isIn(key, [value])) }
        }
        self.selector = selector
        minDomains = json["minDomains"]?.int ?? 1
        honorsAffinity = json["nodeAffinityPolicy"]?.string != "Ignore"
        honorsTaints = json["nodeTaintsPolicy"]?.string == "Honor"
    }
}

/// A label selector of a pod's own; an absent one selects no pods at all.
private func podSelector(_ json: JSON?) throws(APIFailure) -> LabelSelector {
    guard let json, !json.isNull else { return LabelSelector([.isIn("", [])]) }
    do throws(SelectorFault) {
        return try LabelSelector(json)
    } catch {
        throw .badRequest(error.message)
    }
}
