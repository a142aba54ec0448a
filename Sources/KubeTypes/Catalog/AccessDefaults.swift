import Wire

/// The roles, bindings, priority levels and flow schemas every cluster has, by the names Kubernetes 1.36 gives them, and the
/// roles of this cluster's own parts (`system:weft:…`).
///
/// In the file a rule is `[verbs, groups, resources, names]` or `[verbs, paths]`, each a list in words; `core` is the group
/// without a name.
package enum AccessDefaults {
    package static func load() -> [KubeObject] {
        let file = EmbeddedFile("kubernetes-access")
        return file.entries().map { object($0.key, file.parse($0.value)) }
    }

    /// A ClusterRole of the defaults.
    package static func clusterRole(_ name: String) -> KubeObject? {
        let file = EmbeddedFile("kubernetes-access")
        let entry = file.entries().first { $0.key == "ClusterRole \(name)" }
        return entry.map { object($0.key, file.parse($0.value)) }
    }

    private static let automatic = "rbac.authorization.kubernetes.io/autoupdate"
    private static let rbac = "rbac.authorization.k8s.io/v1"

    private static func object(_ key: String, _ entry: JSON) -> KubeObject {
        let words = key.split(separator: " ", maxSplits: 1).map(String.init)
        let (kind, place) = (words[0], words[1])
        if kind == "FlowSchema" || kind == "PriorityLevelConfiguration" {
            var object = KubeObject(apiVersion: "flowcontrol.apiserver.k8s.io/v1", kind: kind, name: place)
            object.annotations = ["apf.kubernetes.io/autoupdate-spec": "true"]
            object.json["spec"] = entry
            return object
        }
        let parts = place.split(separator: "/", maxSplits: 1).map(String.init)
        let namespace = parts.count > 1 ? parts[0] : ""
        var object = KubeObject(apiVersion: rbac, kind: kind, namespace: namespace, name: parts[parts.count - 1])
        object.annotations = [automatic: "true"]
        object.labels = ["kubernetes.io/bootstrapping": "rbac-defaults"]
        for label in KubernetesResources.strings(entry["labels"]) { object.labels[label] = "true" }
        if kind.hasSuffix("Binding") {
            object.json["roleRef"] = [
                "apiGroup": "rbac.authorization.k8s.io", "kind": kind == "RoleBinding" ? "Role" : "ClusterRole",
                "name": entry["role"] ?? "",
            ]
            let subjects = subjects(entry)
            if !subjects.isEmpty { object.json["subjects"] = .array(subjects) }
            return object
        }
        if let labels = entry["aggregate"]?.array?.compactMap(\.string) {
            let selectors = labels.map { label -> JSON in ["matchLabels": [label: "true"]] }
            object.json["aggregationRule"] = ["clusterRoleSelectors": .array(selectors)]
        }
        object.json["rules"] = .array(entry.list("rules").map(rule))
        return object
    }

    private static func words(_ json: JSON?) -> JSON {
        .array((json?.string ?? "").split(separator: " ").map { .string($0 == "core" ? "" : String($0)) })
    }

    private static func rule(_ entry: JSON) -> JSON {
        let parts = entry.array ?? []
        if parts.count == 2 { return ["verbs": words(parts[0]), "nonResourceURLs": words(parts[1])] }
        var rule: JSON = ["verbs": words(parts[0]), "apiGroups": words(parts[1]), "resources": words(parts[2])]
        if parts.count > 3 { rule["resourceNames"] = words(parts[3]) }
        return rule
    }

    private static func subjects(_ entry: JSON) -> [JSON] {
        let users = KubernetesResources.strings(entry["users"]).map { name -> JSON in
            ["apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": .string(name)]
        }
        let groups = KubernetesResources.strings(entry["groups"]).map { name -> JSON in
            ["apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": .string(name)]
        }
        let accounts = KubernetesResources.strings(entry["accounts"]).map { place -> JSON in
            let parts = place.split(separator: ":").map(String.init)
            return ["kind": "ServiceAccount", "namespace": .string(parts[0]), "name": .string(parts[1])]
        }
        return users + groups + accounts
    }
}
