import Wire

extension ResourceDefinition {
    /// Leaves out the maps and lists that hold nothing.
    ///
    /// Kubernetes keeps its own kinds as structures in which an empty map or list is the same as none, and does not show it. Of custom
    /// kinds that is so for `metadata` only.
    /// - Parameter old: the object as it is stored. What is empty there stays, so that nothing changes that nobody changed.
    package func dropEmptyMembers(_ object: inout KubeObject, old: KubeObject? = nil) {
        guard EmptyMembers.areIn(isCustom ? object.metadata : object.json) else { return }
        if isCustom {
            guard let metadata = EmptyMembers.without(object.metadata, EmptyMembers.metadata, nil) else { return }
            object.metadata = metadata
            return
        }
        var before = old?.json
        before?["metadata"] = nil
        guard let changed = EmptyMembers.without(object.json, schema, before) else { return }
        object.json = changed
    }
}

enum EmptyMembers {
    static let metadata = SchemaLibrary.builtIn.schema(SchemaLibrary.objectMeta)

    /// Who owns what is told by empty objects.
    private static let record = "managedFields"

    /// Lists that Kubernetes shows though they are empty: those it has without `omitempty`, in kinds that are stored.
    private static let shown: Set<String> = [
        "admissionregistration.v1.MutatingWebhook.admissionReviewVersions",
        "admissionregistration.v1.ValidatingWebhook.admissionReviewVersions",
        "apiextensions.v1.CustomResourceDefinitionSpec.versions",
        "apiextensions.v1.CustomResourceDefinitionStatus.conditions",
        "apiextensions.v1.CustomResourceDefinitionStatus.storedVersions",
        "apiextensions.v1.WebhookConversion.conversionReviewVersions",
        "autoscaling.v2.HorizontalPodAutoscalerStatus.currentMetrics", "batch.v1.PodFailurePolicy.rules",
        "batch.v1.PodFailurePolicyOnExitCodesRequirement.values", "batch.v1.SuccessPolicy.rules",
        "core.v1.CephFSPersistentVolumeSource.monitors", "core.v1.CephFSVolumeSource.monitors",
        "core.v1.ContainerImage.names", "core.v1.LimitRangeSpec.limits", "core.v1.NodeSelector.nodeSelectorTerms",
        "core.v1.PodExtendedResourceClaimStatus.requestMappings", "core.v1.PodSpec.containers",
        "core.v1.ProjectedVolumeSource.sources", "core.v1.RBDPersistentVolumeSource.monitors",
        "core.v1.RBDVolumeSource.monitors", "core.v1.TopologySelectorLabelRequirement.values",
        "discovery.v1.Endpoint.addresses", "discovery.v1.EndpointSlice.endpoints", "discovery.v1.EndpointSlice.ports",
        "flowcontrol.v1.NonResourcePolicyRule.nonResourceURLs", "flowcontrol.v1.NonResourcePolicyRule.verbs",
        "flowcontrol.v1.PolicyRulesWithSubjects.subjects", "flowcontrol.v1.ResourcePolicyRule.apiGroups",
        "flowcontrol.v1.ResourcePolicyRule.namespaces", "flowcontrol.v1.ResourcePolicyRule.resources",
        "flowcontrol.v1.ResourcePolicyRule.verbs", "networking.v1.HTTPIngressRuleValue.paths",
        "rbac.v1.ClusterRole.rules", "rbac.v1.PolicyRule.verbs", "rbac.v1.Role.rules",
        "resource.v1.AllocatedDeviceStatus.conditions", "resource.v1.DeviceClaim.requests",
        "storage.v1.CSINodeDriver.topologyKeys", "storage.v1.CSINodeSpec.drivers",
    ]

    static func isEmpty(_ value: JSON) -> Bool {
        switch value {
        case .object(let object): object.members.isEmpty
        case .array(let elements): elements.isEmpty
        default: false
        }
    }

    /// Whether there is any empty object or list in a value that is not empty itself: asked first, since most objects have none.
    static func areIn(_ value: JSON) -> Bool {
        switch value {
        case .object(let object):
            for member in object.members where member.key != record {
                if isEmpty(member.value) || areIn(member.value) { return true }
            }
            return false
        case .array(let elements):
            for element in elements where areIn(element) { return true }
            return false
        default: return false
        }
    }

    /// Structures are shown though they are empty; maps and lists are not.
    static func isLeftOut(_ member: String, of schema: Schema) -> Bool {
        guard let inner = schema.link(member)?.schema, !schema.required.contains(member) else { return false }
        // What is empty in a map is its content.
        if schema.properties[member] == nil { return false }
        switch inner.kind {
        case .object:
            guard inner.properties.isEmpty, case .of = inner.additional else { return false }
            return true
        case .array:
            guard let name = schema.name else { return true }
            return !shown.contains("\(DefaultRules.shortName(name)).\(member)")
        default: return false
        }
    }

    /// The value to put in place; `nil` when it may stay as it is.
    static func without(_ value: JSON, _ schema: Schema, _ old: JSON?) -> JSON? {
        switch value {
        case .object(let object):
            var changed: [JSONObject.Member]?
            for (place, member) in object.members.enumerated() {
                // Who empties the record asks for something.
                if member.key != record, isEmpty(member.value) {
                    if old?[member.key] == member.value || !isLeftOut(member.key, of: schema) {
                        changed?.append(member)
                    } else if changed == nil {
                        changed = Array(object.members[..<place])
                    }
                    continue
                }
                if member.key != record, let inner = schema.link(member.key)?.schema,
                    let replaced = without(member.value, inner, old?[member.key])
                {
                    if changed == nil { changed = Array(object.members[..<place]) }
                    changed?.append(.init(member.key, replaced))
                } else {
                    changed?.append(member)
                }
            }
            return changed.map { .object(JSONObject($0)) }
        case .array(let elements):
            guard let inner = schema.items?.schema, inner.kind == .object else { return nil }
            var changed: [JSON]?
            for (place, element) in elements.enumerated() {
                guard let replaced = without(element, inner, old?[place]) else { continue }
                if changed == nil { changed = elements }
                changed?[place] = replaced
            }
            return changed.map(JSON.array)
        default: return nil
        }
    }
}
