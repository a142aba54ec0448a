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
        var term = ""
        var terms: [String] = []
        var isEscaped = false
        for character in text {
            if isEscaped {
                term += ["\\", ",", "="].contains(character) ? String(character) : "\\\(character)"
                isEscaped = false
            } else if character == "\\" {
                isEscaped = true
            } else if character == "," {
                terms.append(term)
                term = ""
            } else {
                term.append(character)
            }
        }
        terms.append(term)
        let known = Self.fields(of: type) + fields.map(\.name)
        for term in terms where !term.isEmpty {
            guard let sign = term.firstIndex(of: "=") else {
                throw SelectorFault(message: "invalid field selector \"\(text)\": \"\(term)\" has no '=', '==' or '!='")
            }
            var field = term[..<sign]
            var value = term[term.index(after: sign)...]
            let isEqual = !field.hasSuffix("!")
            if !isEqual { field = field.dropLast() } else if value.hasPrefix("=") { value = value.dropFirst() }
            let name = field.trimmed
            guard known.contains(name) else {
                throw SelectorFault(
                    message:
                        "field label not supported: \"\(name)\"; \(type.kind) objects can be chosen by \(known.joined(separator: ", "))"
                )
            }
            requirements.append(
                Requirement(
                    field: name, value: String(value), isEqual: isEqual, custom: fields.first { $0.name == name }))
        }
    }

    package var isEmpty: Bool { requirements.isEmpty }

    /// The name all chosen objects have, when the selector asks for one.
    package var name: String? { requirements.first { $0.field == "metadata.name" && $0.isEqual }?.value }

    package func matches(_ object: KubeObject) -> Bool {
        requirements.allSatisfy { requirement in
            let value = requirement.custom?.value(object) ?? Self.value(of: requirement.field, in: object)
            return (value == requirement.value) == requirement.isEqual
        }
    }

    package var description: String {
        requirements.map { "\($0.field)\($0.isEqual ? "=" : "!=")\($0.value)" }.joined(separator: ",")
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
