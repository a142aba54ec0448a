import Wire

/// The defaults that depend on other fields. Each takes the node of its type.
enum ConditionalDefaults {
    /// The types whose defaults depend on other fields.
    enum Kind: String, Sendable {
        case apiextensionsCustomResourceDefinition = "apiextensions.v1.CustomResourceDefinition"
        case appsDaemonSet = "apps.v1.DaemonSet"
        case appsDeployment = "apps.v1.Deployment"
        case appsStatefulSet = "apps.v1.StatefulSet"
        case autoscalingHorizontalPodAutoscaler = "autoscaling.v2.HorizontalPodAutoscaler"
        case batchJob = "batch.v1.Job"
        case coreContainer = "core.v1.Container"
        case coreEndpointPort = "core.v1.EndpointPort"
        case coreEphemeralContainer = "core.v1.EphemeralContainer"
        case coreLimitRangeItem = "core.v1.LimitRangeItem"
        case coreNamespace = "core.v1.Namespace"
        case coreNodeStatus = "core.v1.NodeStatus"
        case corePod = "core.v1.Pod"
        case coreReplicationController = "core.v1.ReplicationController"
        case coreService = "core.v1.Service"
        case coreServicePort = "core.v1.ServicePort"
        case coreVolume = "core.v1.Volume"
        case networkingIngressClass = "networking.v1.IngressClass"
        case networkingNetworkPolicy = "networking.v1.NetworkPolicy"
        case rbacSubject = "rbac.v1.Subject"
        case resourceDeviceSubRequest = "resource.v1.DeviceSubRequest"
        case resourceDeviceTaint = "resource.v1.DeviceTaint"
        case resourceExactDeviceRequest = "resource.v1.ExactDeviceRequest"
    }

    /// Rules that must see the object before the plain rules fill it.
    static func before(_ type: Kind, _ node: inout JSON) {
        switch type {
        case .appsStatefulSet:
            if node[path: ["spec", "updateStrategy", "type"]] == nil {
                fill(&node, ["spec", "updateStrategy", "rollingUpdate"], [:])
            }
        case .batchJob:
            if node["spec"]?["completions"] == nil, node["spec"]?["parallelism"] == nil {
                node[path: ["spec", "completions"]] = 1
            }
        default: break
        }
    }

    static func after(_ type: Kind, _ node: inout JSON) {
        switch type {
        case .coreContainer, .coreEphemeralContainer: container(&node, type)
        case .corePod: pod(&node)
        case .coreService: service(&node)
        case .coreServicePort: servicePort(&node)
        case .coreNamespace:
            let name = node["metadata"]?["name"] ?? ""
            node[path: ["metadata", "labels", "kubernetes.io/metadata.name"]] = name
        case .coreNodeStatus: fill(&node, ["allocatable"], node["capacity"])
        case .coreEndpointPort: fill(&node, ["protocol"], "TCP")
        case .coreVolume: volume(&node)
        case .coreReplicationController: replicationController(&node)
        case .coreLimitRangeItem: limitRange(&node)
        case .appsDeployment:
            guard node[path: ["spec", "strategy", "type"]] == "RollingUpdate" else { return }
            fill(&node, ["spec", "strategy", "rollingUpdate", "maxUnavailable"], "25%")
            fill(&node, ["spec", "strategy", "rollingUpdate", "maxSurge"], "25%")
        case .appsDaemonSet:
            guard node[path: ["spec", "updateStrategy", "type"]] == "RollingUpdate" else { return }
            fill(&node, ["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"], 1)
            fill(&node, ["spec", "updateStrategy", "rollingUpdate", "maxSurge"], 0)
        case .appsStatefulSet:
            guard node[path: ["spec", "updateStrategy", "type"]] == "RollingUpdate" else { return }
            guard node[path: ["spec", "updateStrategy", "rollingUpdate"]] != nil else { return }
            fill(&node, ["spec", "updateStrategy", "rollingUpdate", "partition"], 0)
        case .batchJob: job(&node)
        case .networkingIngressClass:
            if node["spec"]?["parameters"] != nil { fill(&node, ["spec", "parameters", "scope"], "Cluster") }
        case .networkingNetworkPolicy:
            let hasEgress = node["spec"]?["egress"]?.array?.isEmpty == false
            fill(&node, ["spec", "policyTypes"], hasEgress ? ["Ingress", "Egress"] : ["Ingress"])
        case .rbacSubject:
            let kind = node["kind"]
            if kind == "User" || kind == "Group" { fill(&node, ["apiGroup"], "rbac.authorization.k8s.io") }
        case .autoscalingHorizontalPodAutoscaler: autoscaler(&node)
        case .resourceDeviceSubRequest, .resourceExactDeviceRequest:
            if node["allocationMode"] == "ExactCount" { fill(&node, ["count"], 1) }
        case .resourceDeviceTaint: fill(&node, ["timeAdded"], .string(Timestamp.now().description))
        case .apiextensionsCustomResourceDefinition: customResourceDefinition(&node)
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
        return image.utf8[image.utf8.index(after: colon)...].elementsEqual("latest".utf8)
    }

    private static func container(_ node: inout JSON, _ type: Kind) {
        if let image = node["image"]?.string, !image.isEmpty {
            fill(&node, ["imagePullPolicy"], isLatest(image) ? "Always" : "IfNotPresent")
        }
        if type == .coreEphemeralContainer {
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
