import Wire

/// The defaults that depend on other fields. Each takes the node of its type.
enum ConditionalDefaults {
    /// Those `before` and `after` do something for.
    static let types: Set<String> = [
        "apiextensions.v1.CustomResourceDefinition", "apps.v1.DaemonSet", "apps.v1.Deployment",
        "apps.v1.StatefulSet", "autoscaling.v2.HorizontalPodAutoscaler", "batch.v1.Job",
        "core.v1.Container", "core.v1.EndpointPort", "core.v1.EphemeralContainer",
        "core.v1.LimitRangeItem", "core.v1.Namespace", "core.v1.NodeStatus",
        "core.v1.Pod", "core.v1.ReplicationController", "core.v1.Service",
        "core.v1.ServicePort", "core.v1.Volume", "networking.v1.IngressClass",
        "networking.v1.NetworkPolicy", "rbac.v1.Subject", "resource.v1.DeviceSubRequest",
        "resource.v1.DeviceTaint", "resource.v1.ExactDeviceRequest",
    ]

    /// Rules that must see the object before the plain rules fill it.
    static func before(_ type: String, _ node: inout JSON) {
        switch type {
        case "apps.v1.StatefulSet":
            if node[path: ["spec", "updateStrategy", "type"]] == nil {
                fill(&node, ["spec", "updateStrategy", "rollingUpdate"], [:])
            }
        case "batch.v1.Job":
            if node["spec"]?["completions"] == nil, node["spec"]?["parallelism"] == nil {
                node[path: ["spec", "completions"]] = 1
            }
        default: break
        }
    }

    static func after(_ type: String, _ node: inout JSON) {
        switch type {
        case "core.v1.Container", "core.v1.EphemeralContainer": container(&node, type)
        case "core.v1.Pod": pod(&node)
        case "core.v1.Service": service(&node)
        case "core.v1.ServicePort": servicePort(&node)
        case "core.v1.Namespace":
            let name = node["metadata"]?["name"] ?? ""
            node[path: ["metadata", "labels", "kubernetes.io/metadata.name"]] = name
        case "core.v1.NodeStatus": fill(&node, ["allocatable"], node["capacity"])
        case "core.v1.EndpointPort": fill(&node, ["protocol"], "TCP")
        case "core.v1.Volume": volume(&node)
        case "core.v1.ReplicationController": replicationController(&node)
        case "core.v1.LimitRangeItem": limitRange(&node)
        case "apps.v1.Deployment":
            guard node[path: ["spec", "strategy", "type"]] == "RollingUpdate" else { return }
            fill(&node, ["spec", "strategy", "rollingUpdate", "maxUnavailable"], "25%")
            fill(&node, ["spec", "strategy", "rollingUpdate", "maxSurge"], "25%")
        case "apps.v1.DaemonSet":
            guard node[path: ["spec", "updateStrategy", "type"]] == "RollingUpdate" else { return }
            fill(&node, ["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"], 1)
            fill(&node, ["spec", "updateStrategy", "rollingUpdate", "maxSurge"], 0)
        case "apps.v1.StatefulSet":
            guard node[path: ["spec", "updateStrategy", "type"]] == "RollingUpdate" else { return }
            guard node[path: ["spec", "updateStrategy", "rollingUpdate"]] != nil else { return }
            fill(&node, ["spec", "updateStrategy", "rollingUpdate", "partition"], 0)
        case "batch.v1.Job": job(&node)
        case "networking.v1.IngressClass":
            if node["spec"]?["parameters"] != nil { fill(&node, ["spec", "parameters", "scope"], "Cluster") }
        case "networking.v1.NetworkPolicy":
            let hasEgress = node["spec"]?["egress"]?.array?.isEmpty == false
            fill(&node, ["spec", "policyTypes"], hasEgress ? ["Ingress", "Egress"] : ["Ingress"])
        case "rbac.v1.Subject":
            let kind = node["kind"]
            if kind == "User" || kind == "Group" { fill(&node, ["apiGroup"], "rbac.authorization.k8s.io") }
        case "autoscaling.v2.HorizontalPodAutoscaler": autoscaler(&node)
        case "resource.v1.DeviceSubRequest", "resource.v1.ExactDeviceRequest":
            if node["allocationMode"] == "ExactCount" { fill(&node, ["count"], 1) }
        case "resource.v1.DeviceTaint": fill(&node, ["timeAdded"], .string(Timestamp.now().description))
        case "apiextensions.v1.CustomResourceDefinition": customResourceDefinition(&node)
        default: break
        }
    }

    private static func fill(_ node: inout JSON, _ path: [String], _ value: JSON?) {
        if let value, node[path: path] == nil { node[path: path] = value }
    }

    private static func edit(_ node: inout JSON, _ path: [String], _ body: (inout JSON) -> Void) {
        guard case .array(var elements)? = node[path: path] else { return }
        for index in elements.indices { body(&elements[index]) }
        node[path: path] = .array(elements)
    }

    /// Whether an image reference means whatever is newest: tag `latest`, or neither tag nor digest.
    static func isLatest(_ image: String) -> Bool {
        if image.utf8.contains(UInt8(ascii: "@")) { return false }
        let slash = image.utf8.lastIndex(of: UInt8(ascii: "/"))
        guard let colon = image.utf8.lastIndex(of: UInt8(ascii: ":")), slash.map({ $0 < colon }) ?? true else {
            return true
        }
        return image[image.index(after: colon)...] == "latest"
    }

    private static func container(_ node: inout JSON, _ type: String) {
        if let image = node["image"]?.string, !image.isEmpty {
            fill(&node, ["imagePullPolicy"], isLatest(image) ? "Always" : "IfNotPresent")
        }
        if type == "core.v1.EphemeralContainer" {
            fill(&node, ["terminationMessagePath"], "/dev/termination-log")
            fill(&node, ["terminationMessagePolicy"], "File")
        }
    }

    private static func pod(_ node: inout JSON) {
        let isOnHost = node["spec"]?["hostNetwork"] == true
        for list in ["containers", "initContainers"] {
            edit(&node, ["spec", list]) { container in
                let limits = container["resources"]?["limits"]?.object ?? JSONObject()
                for limit in limits { fill(&container, ["resources", "requests", limit.key], limit.value) }
                if isOnHost { edit(&container, ["ports"]) { port in fill(&port, ["hostPort"], port["containerPort"]) } }
            }
        }
    }

    private static func service(_ node: inout JSON) {
        let type = node["spec"]?["type"]?.string ?? ""
        switch node["spec"]?["sessionAffinity"] {
        case "None"?: node[path: ["spec", "sessionAffinityConfig"]] = nil
        case "ClientIP"?: fill(&node, ["spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds"], 10_800)
        default: break
        }
        let isBalanced = type == "LoadBalancer"
        let isExposed = type == "NodePort" || isBalanced
        let hasExternalIPs = node["spec"]?["externalIPs"]?.array?.isEmpty == false
        if isExposed || type == "ClusterIP" && hasExternalIPs {
            fill(&node, ["spec", "externalTrafficPolicy"], "Cluster")
        }
        if isExposed || type == "ClusterIP" { fill(&node, ["spec", "internalTrafficPolicy"], "Cluster") }
        if isBalanced {
            fill(&node, ["spec", "allocateLoadBalancerNodePorts"], true)
            edit(&node, ["status", "loadBalancer", "ingress"]) { if $0["ip"] != nil { fill(&$0, ["ipMode"], "VIP") } }
        }
    }

    private static func servicePort(_ node: inout JSON) {
        fill(&node, ["protocol"], "TCP")
        let target = node["targetPort"]
        if target == nil || target == 0 || target == "" { node["targetPort"] = node["port"] }
    }

    private static func volume(_ node: inout JSON) {
        if node.object?.count == 1, node["name"] != nil { node["emptyDir"] = [:] }
        if let image = node["image"] {
            let reference = image["reference"]?.string ?? ""
            fill(&node, ["image", "pullPolicy"], isLatest(reference) ? "Always" : "IfNotPresent")
        }
    }

    private static func replicationController(_ node: inout JSON) {
        guard let labels = node[path: ["spec", "template", "metadata", "labels"]] else { return }
        fill(&node, ["spec", "selector"], labels)
        fill(&node, ["metadata", "labels"], labels)
    }

    private static func limitRange(_ node: inout JSON) {
        guard node["type"] == "Container" else { return }
        func copy(_ from: String, _ to: String) {
            for entry in node[from]?.object ?? JSONObject() { fill(&node, [to, entry.key], entry.value) }
        }
        copy("max", "default")
        copy("default", "defaultRequest")
        copy("min", "defaultRequest")
    }

    private static func job(_ node: inout JSON) {
        let spec = node["spec"]
        fill(&node, ["spec", "backoffLimit"], spec?["backoffLimitPerIndex"] == nil ? 6 : 2_147_483_647)
        fill(
            &node, ["spec", "podReplacementPolicy"], spec?["podFailurePolicy"] == nil ? "TerminatingOrFailed" : "Failed"
        )
        if node["metadata"]?["labels"]?.object?.isEmpty ?? true {
            fill(&node, ["metadata", "labels"], node[path: ["spec", "template", "metadata", "labels"]])
        }
    }

    private static func autoscaler(_ node: inout JSON) {
        guard node["spec"]?["behavior"] != nil else { return }
        if node[path: ["spec", "behavior", "scaleUp"]] != nil {
            fill(&node, ["spec", "behavior", "scaleUp", "stabilizationWindowSeconds"], 0)
            fill(&node, ["spec", "behavior", "scaleUp", "selectPolicy"], "Max")
            fill(
                &node, ["spec", "behavior", "scaleUp", "policies"],
                [
                    ["type": "Pods", "value": 4, "periodSeconds": 15],
                    ["type": "Percent", "value": 100, "periodSeconds": 15],
                ])
        }
        if node[path: ["spec", "behavior", "scaleDown"]] != nil {
            fill(&node, ["spec", "behavior", "scaleDown", "selectPolicy"], "Max")
            fill(
                &node, ["spec", "behavior", "scaleDown", "policies"],
                [["type": "Percent", "value": 100, "periodSeconds": 15]])
        }
    }

    private static func customResourceDefinition(_ node: inout JSON) {
        let kind = node[path: ["spec", "names", "kind"]]?.string ?? ""
        fill(&node, ["spec", "names", "singular"], .string(kind.lowercased()))
        fill(&node, ["spec", "names", "listKind"], .string(kind + "List"))
        let stored = node["spec"]?["versions"]?.array?.first { $0["storage"] == true }?["name"]
        if node["status"]?["storedVersions"]?.array?.isEmpty ?? true, let stored {
            node[path: ["status", "storedVersions"]] = [stored]
        }
    }
}
