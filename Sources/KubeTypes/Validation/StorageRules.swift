import Wire

/// Volumes, claims and classes.
extension Validator {
    private static let accessModes = ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]

    mutating func claimSpec(_ spec: JSON, _ path: String) {
        let modes = spec.list("accessModes")
        if modes.isEmpty { required("\(path).accessModes", "at least 1 access mode is required") }
        for mode in modes { oneOf("\(path).accessModes", mode, Self.accessModes) }
        if modes.count > 1, modes.contains("ReadWriteOncePod") {
            forbidden("\(path).accessModes", "may not use ReadWriteOncePod with other access modes")
        }
        if spec["selector"] != nil { selector("\(path).selector", spec["selector"]) }
        if let size = spec[path: ["resources", "requests", "storage"]] {
            if let amount = quantity("\(path).resources[storage]", size), amount.isZero {
                invalid("\(path).resources[storage]", size, "must be greater than zero")
            }
        } else {
            required("\(path).resources[storage]")
        }
        oneOf("\(path).volumeMode", spec["volumeMode"], ["Block", "Filesystem"])
        name("\(path).storageClassName", spec["storageClassName"], Names.subdomain)
        for field in ["dataSource", "dataSourceRef"] {
            guard let source = spec[field] else { continue }
            if source["name"]?.string?.isEmpty ?? true { required("\(path).\(field).name") }
            if source["kind"]?.string?.isEmpty ?? true { required("\(path).\(field).kind") }
        }
    }

    mutating func claim(_ object: KubeObject, old: KubeObject?) {
        claimSpec(object.spec, "spec")
        guard let old else { return }
        var (new, before) = (object.spec, old.spec)
        // A claim may be bound, may grow, and may change its attributes.
        if before["volumeName"]?.string?.isEmpty ?? true {
            new["volumeName"] = nil
            before["volumeName"] = nil
        }
        if before["storageClassName"] == nil { new["storageClassName"] = nil }
        let (size, sizeBefore) = (
            new[path: ["resources", "requests", "storage"]], before[path: ["resources", "requests", "storage"]]
        )
        for field in ["resources", "volumeAttributesClassName"] {
            new[field] = nil
            before[field] = nil
        }
        if new != before {
            forbidden(
                "spec",
                "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
            )
        }
        if let size, let sizeBefore, let one = Quantity(json: size), let other = Quantity(json: sizeBefore), one < other
        {
            forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")
        }
    }

    mutating func volume(_ object: KubeObject, old: KubeObject?) {
        let spec = object.spec
        let modes = spec.list("accessModes")
        if modes.isEmpty { required("spec.accessModes") }
        for mode in modes { oneOf("spec.accessModes", mode, Self.accessModes) }
        if let size = spec["capacity"]?["storage"] {
            if let amount = quantity("spec.capacity[storage]", size), amount.isZero {
                invalid("spec.capacity[storage]", size, "must be greater than zero")
            }
        } else {
            required("spec.capacity")
        }
        oneOf(
            "spec.persistentVolumeReclaimPolicy", spec["persistentVolumeReclaimPolicy"],
            ["Delete", "Recycle", "Retain"])
        oneOf("spec.volumeMode", spec["volumeMode"], ["Block", "Filesystem"])
        name("spec.storageClassName", spec["storageClassName"], Names.subdomain)
        let sources = (spec.object?.keys ?? []).filter { Self.volumeSources.contains($0) }
        if sources.isEmpty { required("spec", "must specify a volume type") }
        for extra in sources.dropFirst() {
            forbidden("spec.\(extra)", "may not specify more than 1 volume type")
        }
        if let path = spec["hostPath"]?["path"]?.string {
            if path.split(separator: "/").contains("..") {
                invalid("spec.hostPath.path", .string(path), "must not contain '..'")
            }
        } else if spec["hostPath"] != nil {
            required("spec.hostPath.path")
        }
        if spec["local"] != nil, spec["nodeAffinity"] == nil {
            required("spec.nodeAffinity", "Local volume requires node affinity")
        }
        if let csi = spec["csi"] {
            if csi["driver"]?.string?.isEmpty ?? true { required("spec.csi.driver") }
            if csi["volumeHandle"]?.string?.isEmpty ?? true { required("spec.csi.volumeHandle") }
        }
        if let old {
            for source in Self.volumeSources where spec[source] != old.spec[source] {
                forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation")
                break
            }
            immutable("spec.volumeMode", spec["volumeMode"], old.spec["volumeMode"])
        }
    }

    private static let volumeSources: Set<String> = [
        "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flexVolume", "flocker",
        "gcePersistentDisk", "glusterfs", "hostPath", "iscsi", "local", "nfs", "photonPersistentDisk", "portworxVolume",
        "quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume",
    ]

    mutating func storageClass(_ object: KubeObject, old: KubeObject?) {
        let json = object.json
        if json["provisioner"]?.string?.isEmpty ?? true { required("provisioner") }
        name("provisioner", json["provisioner"].flatMap { $0.string.map { .string($0.lowercased()) } }, Names.qualified)
        oneOf("reclaimPolicy", json["reclaimPolicy"], ["Delete", "Retain"])
        oneOf("volumeBindingMode", json["volumeBindingMode"], ["Immediate", "WaitForFirstConsumer"])
        var size = 0
        for entry in json["parameters"]?.object ?? JSONObject() {
            if entry.key.isEmpty { invalid("parameters", .string(entry.key), "field can not be empty.") }
            size += entry.key.utf8.count + (entry.value.string?.utf8.count ?? 0)
        }
        if size > 256 << 10 { add(FieldFault(.tooLong, "parameters", "may not be more than 262144 bytes in all")) }
        guard let old else { return }
        for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"]
        where json[field] != old.json[field] {
            forbidden(field, "updates to \(field) are forbidden.")
        }
    }

    mutating func csiDriver(_ object: KubeObject, old: KubeObject?) {
        oneOf("spec.fsGroupPolicy", object.spec["fsGroupPolicy"], ["File", "None", "ReadWriteOnceWithFSType"])
        for (index, mode) in object.spec.list("volumeLifecycleModes").enumerated() {
            oneOf("spec.volumeLifecycleModes[\(index)]", mode, ["Persistent", "Ephemeral"])
        }
        if let old {
            immutable("spec.attachedRequired", object.spec["attachRequired"], old.spec["attachRequired"])
            immutable(
                "spec.volumeLifecycleModes", object.spec["volumeLifecycleModes"], old.spec["volumeLifecycleModes"])
        }
    }

    mutating func volumeAttachment(_ object: KubeObject, old: KubeObject?) {
        if object.spec["attacher"]?.string?.isEmpty ?? true { required("spec.attacher") }
        if object.spec["nodeName"]?.string?.isEmpty ?? true { required("spec.nodeName") }
        if object.spec["source"]?.object?.isEmpty ?? true { required("spec.source") }
        if let old { immutable("spec", object.spec, old.spec) }
    }
}
