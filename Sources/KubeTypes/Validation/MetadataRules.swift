import Wire

extension Validator {
    /// What an object's name may look like, by its kind.
    static func nameCheck(_ type: ResourceType) -> (String) -> String? {
        switch (type.group, type.kind) {
        case ("", "Namespace"): Names.label
        case ("", "Service"): Names.serviceLabel
        case ("rbac.authorization.k8s.io", _), ("apiregistration.k8s.io", _), ("certificates.k8s.io", _),
            ("flowcontrol.apiserver.k8s.io", _):
            Names.pathSegment
        default: Names.subdomain
        }
    }

    /// Name, namespace, labels, annotations, owners, and what may not change.
    mutating func metadata(_ object: KubeObject, old: KubeObject?, _ type: ResourceType) {
        let metadata = object.metadata
        let check = Self.nameCheck(type)
        if object.name.isEmpty {
            if metadata["generateName"]?.string?.isEmpty ?? true {
                required("metadata.name", "name or generateName is required")
            } else if let prefix = metadata["generateName"]?.string, let fault = check(prefix + "x") {
                invalid("metadata.generateName", .string(prefix), fault)
            }
        } else if let fault = check(object.name) {
            invalid("metadata.name", .string(object.name), fault)
        }
        if type.isNamespaced {
            if object.namespace.isEmpty {
                required("metadata.namespace")
            } else if let fault = Names.label(object.namespace) {
                invalid("metadata.namespace", .string(object.namespace), fault)
            }
        } else if !object.namespace.isEmpty {
            forbidden("metadata.namespace", "not allowed on this type: \(type.kind) objects belong to no namespace")
        }
        labels("metadata.labels", metadata["labels"])
        annotations(metadata["annotations"])
        owners(object)
        for (index, finalizer) in (metadata.list("finalizers")).enumerated() {
            name("metadata.finalizers[\(index)]", finalizer, Names.qualified)
        }
        guard let old else { return }
        immutable("metadata.name", metadata["name"], old.metadata["name"])
        if object.namespace != old.namespace {
            immutable("metadata.namespace", metadata["namespace"], old.metadata["namespace"])
        }
        if !object.uid.isEmpty { immutable("metadata.uid", metadata["uid"], old.metadata["uid"]) }
    }

    private mutating func annotations(_ annotations: JSON?) {
        var size = 0
        for entry in annotations?.object ?? JSONObject() {
            // A key that is right as it is is also right in lower case.
            if Names.qualified(entry.key) != nil, let fault = Names.qualified(entry.key.lowercased()) {
                invalid("metadata.annotations", .string(entry.key), fault)
            }
            size += entry.key.utf8.count + (entry.value.string?.utf8.count ?? 0)
        }
        let limit = 262_144
        if size > limit {
            add(FieldFault(.tooLong, "metadata.annotations", "may not be more than \(limit) bytes in all"))
        }
    }

    private mutating func owners(_ object: KubeObject) {
        var controllers = 0
        for (index, owner) in object.metadata.list("ownerReferences").enumerated() {
            let path = "metadata.ownerReferences[\(index)]"
            for field in ["apiVersion", "kind", "name", "uid"] where owner[field]?.string?.isEmpty ?? true {
                invalid("\(path).\(field)", owner[field], "must not be empty")
            }
            if owner["controller"] == true { controllers += 1 }
        }
        if controllers > 1 {
            invalid(
                "metadata.ownerReferences", object.metadata["ownerReferences"],
                "only one reference can have controller set to true")
        }
    }

    /// A LabelSelector object.
    mutating func selector(_ path: String, _ value: JSON?) {
        labels("\(path).matchLabels", value?["matchLabels"])
        for (index, expression) in (value?.list("matchExpressions") ?? []).enumerated() {
            let path = "\(path).matchExpressions[\(index)]"
            name("\(path).key", expression["key"], Names.qualified)
            let count = expression.list("values").count
            switch expression["operator"] {
            case "In"?, "NotIn"?:
                if count == 0 { required("\(path).values", "must be specified when `operator` is 'In' or 'NotIn'") }
            case "Exists"?, "DoesNotExist"?:
                if count > 0 {
                    forbidden("\(path).values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
                }
            case nil: break  // the schema requires it
            case let other?: unsupported("\(path).operator", other, ["In", "NotIn", "Exists", "DoesNotExist"])
            }
        }
    }
}
