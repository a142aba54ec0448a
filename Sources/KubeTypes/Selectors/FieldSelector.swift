import Wire

/// Chooses objects by a few of their fields: `metadata.name=web,status.phase!=Running`.
package struct FieldSelector: Sendable, Hashable, CustomStringConvertible {
    package struct Requirement: Sendable, Hashable {
        package let field: String
        package let value: String
        package let isEqual: Bool
        /// Where a custom kind has the field.
        let custom: SelectableField?

        package init(field: String, value: String, isEqual: Bool, custom: SelectableField? = nil) {
            self.field = field
            self.value = value
            self.isEqual = isEqual
            self.custom = custom
        }
    }

    package var requirements: [Requirement]

    package init(_ requirements: [Requirement] = []) { self.requirements = requirements }
    package static let everything = FieldSelector()

    /// - Throws: when the text makes no sense, or the kind cannot be chosen by the field.
    /// - Parameter fields: those a custom kind says it can be chosen by.
    package init(
        parsing text: String, for type: ResourceType, fields: [SelectableField] = []
    ) throws(SelectorFault) {
        requirements = []
        let known = Self.fields(of: type) + fields.map(\.name)
        for term in Self.terms(text) {
            // Scalars: an accent after a sign makes another character of it, but not another sign.
            let scalars = term.unicodeScalars
            guard let sign = scalars.firstIndex(of: "=") else {
                throw SelectorFault(message: "invalid field selector \"\(text)\": \"\(term)\" has no '=', '==' or '!='")
            }
            var field = scalars[..<sign]
            var rest = scalars[scalars.index(after: sign)...]
            let isEqual = field.last != "!"
            if !isEqual { field = field.dropLast() } else if rest.first == "=" { rest = rest.dropFirst() }
            let name = String(field).trimmed
            guard let value = Self.unescaped(rest) else {
                throw SelectorFault(
                    message:
                        "invalid field selector \"\(text)\": in \"\(term)\", write '\\,', '\\=' and '\\\\' for a comma, an equals sign and a backslash"
                )
            }
            guard known.contains(name) else {
                throw SelectorFault(
                    message:
                        "field label not supported: \"\(name)\"; \(type.kind) objects can be chosen by \(known.joined(separator: ", "))"
                )
            }
            requirements.append(
                Requirement(
                    field: name, value: value, isEqual: isEqual, custom: fields.first { $0.name == name }))
        }
    }

    package var isEmpty: Bool { requirements.isEmpty }

    /// The value that all chosen objects have in a field, when the text asks for one; for those who look at a selector before the
    /// kind is known. Parts that make no sense say nothing: whoever lists by them is refused.
    package static func value(of field: String, in text: String) -> String? {
        if text.isEmpty { return nil }
        for term in terms(text) {
            let scalars = term.unicodeScalars
            guard let sign = scalars.firstIndex(of: "="), String(scalars[..<sign]).trimmed == field else { continue }
            let rest = scalars[scalars.index(after: sign)...]
            if let value = unescaped(rest.first == "=" ? rest.dropFirst() : rest) { return value }
        }
        return nil
    }

    /// The name all chosen objects have, when the selector asks for one.
    package var name: String? { requirements.first { $0.field == "metadata.name" && $0.isEqual }?.value }

    package func matches(_ object: KubeObject) -> Bool {
        requirements.allSatisfy { requirement in
            let value = requirement.custom?.value(object) ?? Self.value(of: requirement.field, in: object)
            return (value == requirement.value) == requirement.isEqual
        }
    }

    package var description: String {
        requirements.map { "\($0.field)\($0.isEqual ? "=" : "!=")\(Self.escaped($0.value))" }.joined(separator: ",")
    }

    /// The parts between commas that stand for themselves, still escaped, without empty ones.
    private static func terms(_ text: String) -> [String] {
        var terms = [String.UnicodeScalarView()]
        var isEscaped = false
        for scalar in text.unicodeScalars {
            if scalar == ",", !isEscaped {
                terms.append(String.UnicodeScalarView())
            } else {
                terms[terms.count - 1].append(scalar)
            }
            isEscaped = scalar == "\\" && !isEscaped
        }
        return terms.filter { !$0.isEmpty }.map { String($0) }
    }

    private static let escapable: Set<Unicode.Scalar> = ["\\", ",", "="]

    /// `nil` when a sign stands alone, or a backslash before what needs none.
    private static func unescaped(_ text: Substring.UnicodeScalarView) -> String? {
        var result = String.UnicodeScalarView()
        var isEscaped = false
        for scalar in text {
            if !isEscaped, scalar == "\\" {
                isEscaped = true
                continue
            }
            if isEscaped != escapable.contains(scalar) { return nil }
            isEscaped = false
            result.append(scalar)
        }
        return isEscaped ? nil : String(result)
    }

    private static func escaped(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            if escapable.contains(scalar) { result.append("\\") }
            result.append(scalar)
        }
        return String(result)
    }

    /// A missing field is the empty string.
    private static func value(of field: String, in object: KubeObject) -> String {
        switch (object.kind, field) {
        case ("Event", "source"):
            return object.json["source"]?["component"]?.string ?? object.json["reportingComponent"]?.string ?? ""
        case ("Event", "reportingComponent"):
            return object.json["reportingComponent"]?.string ?? object.json["reportingController"]?.string ?? ""
        case ("Pod", "status.podIP"), ("Pod", "status.podIPs"): return object.json["status"]?["podIP"]?.string ?? ""
        default: break
        }
        switch object.json[path: field.split(separator: ".").map(String.init)] {
        case .string(let text)?: return text
        case .bool(let flag)?: return flag ? "true" : "false"
        case .int(let number)?: return String(number)
        case nil where field == "spec.unschedulable" || field == "spec.hostNetwork": return "false"
        default: return ""
        }
    }

    private static func fields(of type: ResourceType) -> [String] {
        let own: [String]
        switch (type.group, type.kind) {
        case ("", "Pod"):
            own = [
                "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
                "spec.hostNetwork",
                "status.phase", "status.podIP", "status.podIPs", "status.nominatedNodeName",
            ]
        case ("", "Node"): own = ["spec.unschedulable"]
        case ("", "Namespace"): own = ["status.phase"]
        case ("", "Service"): own = ["spec.clusterIP", "spec.type"]
        case ("", "Secret"): own = ["type"]
        case ("", "ReplicationController"), ("apps", "ReplicaSet"): own = ["status.replicas"]
        case ("batch", "Job"): own = ["status.successful"]
        case ("certificates.k8s.io", "CertificateSigningRequest"): own = ["spec.signerName"]
        case ("", "Event"):
            own = [
                "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
                "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason",
                "reportingComponent", "source", "type",
            ]
        case ("events.k8s.io", "Event"):
            own = [
                "regarding.kind", "regarding.namespace", "regarding.name", "regarding.uid", "regarding.apiVersion",
                "regarding.resourceVersion", "regarding.fieldPath", "reason", "reportingController", "type",
            ]
        default: own = []
        }
        return ["metadata.name", "metadata.namespace"] + own
    }
}
