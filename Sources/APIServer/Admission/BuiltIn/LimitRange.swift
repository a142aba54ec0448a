import KubeTypes
import Wire

/// A LimitRange, ready to be applied.
struct LimitRange: Sendable {
    struct Item: Sendable {
        /// Container, Pod or PersistentVolumeClaim.
        var type: String
        var most: ResourceAmounts
        var least: ResourceAmounts
        var limits: ResourceAmounts
        var requests: ResourceAmounts
        /// How many times its request a limit may be.
        var ratios: ResourceAmounts
    }
    let name: String
    let items: [Item]

    init(_ object: KubeObject) {
        name = object.name
        items = (object.spec["limits"]?.array ?? []).map { item in
            Item(
                type: item["type"]?.string ?? "", most: PodResources.amounts(of: item["max"]),
                least: PodResources.amounts(of: item["min"]), limits: PodResources.amounts(of: item["default"]),
                requests: PodResources.amounts(of: item["defaultRequest"]),
                ratios: PodResources.amounts(of: item["maxLimitRequestRatio"]))
        }
    }

    // MARK: Defaults

    private static let annotation = "kubernetes.io/limit-ranger"

    /// Gives containers what they do not say, and notes on the pod what was given.
    func applyDefaults(to pod: inout KubeObject) {
        var notes: [String] = []
        for item in items where item.type == "Container" {
            if item.limits.isEmpty, item.requests.isEmpty { continue }
            for (list, what) in [("containers", "container"), ("initContainers", "init container")] {
                guard var containers = pod.spec[list]?.array else { continue }
                let before = notes.count
                for index in containers.indices { notes += Self.fill(&containers[index], item, what) }
                if notes.count > before { pod.json[path: ["spec", list]] = .array(containers) }
            }
        }
        if notes.isEmpty { return }
        pod.annotations[Self.annotation] = "LimitRanger plugin set: " + notes.joined(separator: "; ")
    }

    private static func fill(_ container: inout JSON, _ item: Item, _ what: String) -> [String] {
        var notes: [String] = []
        for (side, wanted, word) in [("requests", item.requests, "request"), ("limits", item.limits, "limit")] {
            let given = PodResources.amounts(container, side)
            let missing = wanted.keys.filter { given[$0] == nil }.sorted()
            for name in missing { container[path: ["resources", side, name]] = wanted[name]?.json }
            if missing.isEmpty { continue }
            notes.append(
                "\(missing.joined(separator: ", ")) \(word) for \(what) \(container["name"]?.string ?? "")")
        }
        return notes
    }

    // MARK: Bounds

    func faults(ofPod pod: KubeObject) -> [String] {
        let spec = pod.spec
        var faults: [String] = []
        for item in items {
            switch item.type {
            case "Container":
                let all = (spec["containers"]?.array ?? []) + (spec["initContainers"]?.array ?? [])
                for container in all {
                    faults += item.faults(
                        PodResources.amounts(container, "requests"), PodResources.amounts(container, "limits"))
                }
            case "Pod":
                faults += item.faults(PodResources.total(spec, "requests"), PodResources.total(spec, "limits"))
            default: break
            }
        }
        return faults
    }

    func faults(ofClaim claim: KubeObject) -> [String] {
        let requests = PodResources.amounts(claim.spec, "requests")
        var faults: [String] = []
        for item in items where item.type == "PersistentVolumeClaim" {
            for (name, least) in item.least.sorted(by: { $0.key < $1.key }) {
                if let fault = item.belowLeast(name, least, request: requests[name], limit: nil) {
                    faults.append(fault)
                }
            }
            for (name, most) in item.most.sorted(by: { $0.key < $1.key }) {
                let start = "maximum \(name) usage per \(item.type) is \(most)"
                guard let request = requests[name] else {
                    faults.append("\(start).  No request is specified")
                    continue
                }
                if request > most { faults.append("\(start), but request is \(request)") }
            }
        }
        return faults
    }
}

extension LimitRange.Item {
    fileprivate func faults(_ requests: ResourceAmounts, _ limits: ResourceAmounts) -> [String] {
        var faults: [String] = []
        for (name, least) in least.sorted(by: { $0.key < $1.key }) {
            if let fault = belowLeast(name, least, request: requests[name], limit: limits[name]) {
                faults.append(fault)
            }
        }
        for (name, most) in most.sorted(by: { $0.key < $1.key }) {
            if let fault = aboveMost(name, most, request: requests[name], limit: limits[name]) { faults.append(fault) }
        }
        for (name, ratio) in ratios.sorted(by: { $0.key < $1.key }) {
            if let fault = beyondRatio(name, ratio, request: requests[name], limit: limits[name]) {
                faults.append(fault)
            }
        }
        return faults
    }

    fileprivate func belowLeast(_ name: String, _ least: Quantity, request: Quantity?, limit: Quantity?) -> String? {
        let start = "minimum \(name) usage per \(type) is \(least)"
        guard let request else { return "\(start).  No request is specified" }
        if request < least { return "\(start), but request is \(request)" }
        if let limit, limit < least { return "\(start), but limit is \(limit)" }
        return nil
    }

    private func aboveMost(_ name: String, _ most: Quantity, request: Quantity?, limit: Quantity?) -> String? {
        let start = "maximum \(name) usage per \(type) is \(most)"
        guard let limit else { return "\(start).  No limit is specified" }
        if limit > most { return "\(start), but limit is \(limit)" }
        if let request, request > most { return "\(start), but request is \(request)" }
        return nil
    }

    private func beyondRatio(_ name: String, _ ratio: Quantity, request: Quantity?, limit: Quantity?) -> String? {
        let start = "\(name) max limit to request ratio per \(type) is \(ratio)"
        guard let request, !request.isZero else { return "\(start), but no request is specified or request is 0" }
        guard let limit, !limit.isZero else { return "\(start), but no limit is specified or limit is 0" }
        let asked = Double(limit.milli) / Double(request.milli)
        if asked <= Double(ratio.milli) / 1000 { return nil }
        return "\(start), but provided ratio is \(Self.text(asked))"
    }

    /// With six digits behind the point.
    private static func text(_ number: Double) -> String {
        let millionths = Int64((number * 1_000_000).rounded())
        let rest = String(millionths % 1_000_000)
        return "\(millionths / 1_000_000)." + String(repeating: "0", count: 6 - rest.count) + rest
    }
}

/// Applies a namespace's LimitRanges: defaults first, bounds at the end.
struct LimitRanger: MutatingAdmission, ValidatingAdmission {
    let objects: AdmissionObjects
    var keepsForm: Bool { true }

    private func ranges(_ request: AdmissionRequest) async throws(APIFailure) -> [LimitRange] {
        let all = try await objects.limitRanges.current()
        return all.isEmpty ? [] : all[request.namespace] ?? []
    }

    func admit(_ request: inout AdmissionRequest) async throws(APIFailure) -> Bool {
        guard request.isWrite(of: .pods, .create) else { return false }
        let ranges = try await ranges(request)
        if ranges.isEmpty { return false }
        let before = request.object
        for range in ranges { range.applyDefaults(to: &request.object) }
        return request.object != before
    }

    func check(_ request: AdmissionRequest) async throws(APIFailure) -> [String] {
        let isResize = request.type == .pods && request.subresource == "resize" && request.operation == .update
        let isPod = isResize || request.isWrite(of: .pods, .create)
        guard isPod || request.isWrite(of: AdmissionKind.claims, .create, .update) else { return [] }
        let ranges = try await ranges(request)
        if ranges.isEmpty || request.object.deletionTimestamp != nil { return [] }
        for range in ranges {
            let faults = isPod ? range.faults(ofPod: request.object) : range.faults(ofClaim: request.object)
            if faults.isEmpty { continue }
            let text = faults.count == 1 ? faults[0] : "[" + faults.joined(separator: ", ") + "]"
            throw .forbidden(request, text)
        }
        return []
    }
}
