import Wire

extension ResourceDefinition {
    /// Checks a defaulted object: its metadata, its schema's limits, and the rules of its kind.
    ///
    /// `old` is the object being replaced, for fields that may not change; `nil` at creation. Throws a 422 with a cause for
    /// each field. `subresource`: what is written, when it is not the object itself: what may change depends on it.
    package func validate(
        _ object: KubeObject, old: KubeObject? = nil, subresource: String? = nil
    ) throws(APIFailure) {
        let faults = faults(object, old: old, subresource: subresource)
        if !faults.isEmpty { throw .invalid(type, object.name, faults) }
    }

    package func faults(_ object: KubeObject, old: KubeObject? = nil, subresource: String? = nil) -> [FieldFault] {
        var validator = Validator()
        validator.subresource = subresource
        validator.metadata(object, old: old, type)
        var constraints = SchemaConstraints()
        constraints.check(object, old: old, schema)
        validator.kind(object, old: old, type)
        var said = constraints.faults
        if isCustom, let rules = schemaLink.rules { said += faults(object, old: old, rules, after: said) }
        // A rule of the kind says more than the schema's word on the same field.
        let told = Set(validator.faults.map(\.path))
        return validator.faults + said.filter { !isSaid($0.path, told) }
    }

    /// Whether a fault is told already; an embedded kind's own rules also name the part of what its expressions refuse.
    private func isSaid(_ path: String, _ told: Set<String>) -> Bool {
        if told.contains(path) { return true }
        guard isCustom, !schemaLink.isGiven, !path.isEmpty else { return false }
        return told.contains { $0.hasPrefix(path + ".") || $0.hasPrefix(path + "[") }
    }

    /// Expressions are not run on an object whose form may surprise them.
    private func faults(
        _ object: KubeObject, old: KubeObject?, _ rules: SchemaRules, after faults: [FieldFault]
    ) -> [FieldFault] {
        let blocking: Set<FieldFault.Kind> = [.unsupported, .required, .tooLong, .tooMany, .wrongType]
        if faults.contains(where: { blocking.contains($0.kind) }) {
            return [
                FieldFault(
                    .invalid, "<nil>", value: .null,
                    "some validation rules were not checked because the object was invalid; correct the existing errors"
                        + " to complete validation")
            ]
        }
        var checks = RuleChecks()
        checks.check(object, old: old, rules)
        return checks.faults
    }
}

extension Validator {
    /// The rules of a kind that its schema cannot say.
    mutating func kind(_ object: KubeObject, old: KubeObject?, _ type: ResourceType) {
        // A status is its controller's own; what the object asks for was checked when that was written.
        if subresource == "status", !isWithStatusRules(type) { return }
        switch type.group {
        case "": core(object, old: old, type)
        case "apps": workload(object, old: old, type)
        case "storage.k8s.io": storage(object, old: old, type.kind)
        default: other(object, old: old, type)
        }
    }

    private func isWithStatusRules(_ type: ResourceType) -> Bool { type.group.isEmpty && type.kind == "Node" }

    private mutating func core(_ object: KubeObject, old: KubeObject?, _ type: ResourceType) {
        switch type.kind {
        case "Pod": pod(object, old: old)
        case "Service": service(object, old: old)
        case "ConfigMap": configMap(object, old: old)
        case "Secret": secret(object, old: old)
        case "Endpoints": endpoints(object)
        case "Node": node(object)
        case "ReplicationController": replicationController(object)
        case "PodTemplate": podTemplateObject(object)
        case "PersistentVolume": volume(object, old: old)
        case "PersistentVolumeClaim": claim(object, old: old)
        case "ResourceQuota": resourceQuota(object, old: old)
        case "LimitRange": limitRange(object)
        case "ServiceAccount": serviceAccount(object)
        case "Event": event(object, involved: object.json["involvedObject"], "involvedObject")
        default: break
        }
    }

    private mutating func storage(_ object: KubeObject, old: KubeObject?, _ kind: String) {
        switch kind {
        case "StorageClass": storageClass(object, old: old)
        case "CSIDriver": csiDriver(object, old: old)
        case "VolumeAttachment": volumeAttachment(object, old: old)
        default: break
        }
    }

    private mutating func other(_ object: KubeObject, old: KubeObject?, _ type: ResourceType) {
        switch (type.group, type.kind) {
        case ("batch", "Job"): job(object.json, old: old?.json, at: "spec")
        case ("batch", "CronJob"): cronJob(object)
        case ("discovery.k8s.io", "EndpointSlice"): endpointSlice(object, old: old)
        case ("coordination.k8s.io", "Lease"): lease(object)
        case ("events.k8s.io", "Event"): event(object, involved: object.json["regarding"], "regarding")
        case ("networking.k8s.io", "Ingress"): ingress(object)
        case ("networking.k8s.io", "IngressClass"): ingressClass(object, old: old)
        case ("networking.k8s.io", "NetworkPolicy"): networkPolicy(object)
        case ("policy", "PodDisruptionBudget"): disruptionBudget(object)
        case ("autoscaling", "HorizontalPodAutoscaler"): autoscaler(object)
        case ("scheduling.k8s.io", "PriorityClass"): priorityClass(object, old: old)
        case ("node.k8s.io", "RuntimeClass"): runtimeClass(object, old: old)
        case ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
            ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"):
            webhooks(object)
        case ("apiextensions.k8s.io", "CustomResourceDefinition"): customResourceDefinition(object, old: old)
        case ("apiregistration.k8s.io", "APIService"): apiService(object)
        case ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): priorityLevel(object)
        case ("flowcontrol.apiserver.k8s.io", "FlowSchema"): flowSchema(object)
        case ("rbac.authorization.k8s.io", _): access(object, old: old, type)
        case ("gateway.networking.k8s.io", "HTTPRoute"), ("gateway.networking.k8s.io", "GRPCRoute"): route(object, type)
        case ("gateway.networking.k8s.io", "Gateway"): gateway(object)
        case ("networking.istio.io", "VirtualService"): virtualService(object)
        case ("networking.istio.io", "DestinationRule"): destinationRule(object)
        case ("networking.istio.io", "Gateway"): istioGateway(object)
        case ("security.istio.io", "PeerAuthentication"): peerAuthentication(object)
        default: break
        }
    }
}
