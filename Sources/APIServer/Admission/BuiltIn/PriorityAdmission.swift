import KubeTypes
import Wire

/// The classes of priority, ready to be looked up.
struct PriorityClasses: Sendable, Hashable {
    struct Class: Sendable, Hashable {
        var name: String
        var value: Int
        var preemption: String
    }
    private var byName: [String: Class] = [:]
    /// What pods get that name no class: of several, the least.
    private(set) var standard: Class?

    init(_ objects: [KubeObject]) {
        for object in objects {
            let made = Class(
                name: object.name, value: object.json["value"]?.int ?? 0,
                preemption: object.json["preemptionPolicy"]?.string ?? Self.preempts)
            byName[made.name] = made
            if object.json["globalDefault"] == true, made.value < standard?.value ?? .max { standard = made }
        }
    }

    static let preempts = "PreemptLowerPriority"

    subscript(name: String) -> Class? { byName[name] ?? Self.system[name] }

    /// These are there even before they are stored.
    static let system: [String: Class] = [
        "system-cluster-critical": Class(name: "system-cluster-critical", value: 2_000_000_000, preemption: preempts),
        "system-node-critical": Class(name: "system-node-critical", value: 2_000_001_000, preemption: preempts),
    ]

    /// The same as objects, made with every cluster.
    static var systemObjects: [KubeObject] {
        system.values.sorted { $0.name < $1.name }.map { one in
            var object = KubeObject(apiVersion: "scheduling.k8s.io/v1", kind: "PriorityClass", name: one.name)
            object.json["value"] = .int(Int64(one.value))
            object.json["preemptionPolicy"] = .string(one.preemption)
            let what = one.name == "system-node-critical" ? "that must not be moved from their node" : "of the cluster"
            object.json["description"] = .string("For pods \(what) without which nothing else works.")
            return object
        }
    }
}

/// Turns the name of a pod's priority class into a number; one class at most is everybody's.
struct PriorityAdmission: MutatingAdmission {
    let objects: AdmissionObjects
    var keepsForm: Bool { true }

    func admit(_ request: inout AdmissionRequest) async throws(APIFailure) -> Bool {
        if request.isWrite(of: .pods, .create) {
            let classes = try await objects.priorityClasses.current()
            try Self.resolve(&request, classes)
            return true
        }
        if request.isWrite(of: .pods, .update) { return Self.keep(&request) }
        if request.isWrite(of: AdmissionKind.priorityClasses, .create, .update) {
            let classes = try await objects.priorityClasses.current()
            try Self.checkDefault(request, classes)
        }
        return false
    }

    static func resolve(_ request: inout AdmissionRequest, _ classes: PriorityClasses) throws(APIFailure) {
        let named = request.object.spec["priorityClassName"]?.string ?? ""
        var found = PriorityClasses.Class(name: "", value: 0, preemption: PriorityClasses.preempts)
        if !named.isEmpty {
            guard let one = classes[named] else {
                throw .forbidden(request, "no PriorityClass with name \(named) was found")
            }
            found = one
        } else if let one = classes.standard {
            found = one
            request.object.json[path: ["spec", "priorityClassName"]] = .string(one.name)
        }
        if let given = request.object[Pod.priority], given != found.value {
            throw .forbidden(
                request,
                "the integer value of priority (\(given)) must not be provided in pod spec; priority admission controller"
                    + " computed \(found.value) from the given PriorityClass name")
        }
        if let given = request.object.spec["preemptionPolicy"]?.string, given != found.preemption {
            throw .forbidden(
                request,
                "the string value of PreemptionPolicy (\(given)) must not be provided in pod spec; priority admission"
                    + " controller computed \(found.preemption) from the given PriorityClass name")
        }
        request.object[Pod.priority] = found.value
        request.object.json[path: ["spec", "preemptionPolicy"]] = .string(found.preemption)
    }

    /// A client that knows nothing of priorities leaves them as they are.
    private static func keep(_ request: inout AdmissionRequest) -> Bool {
        guard let old = request.oldObject else { return false }
        var isChanged = false
        for member in ["priority", "preemptionPolicy"]
        where request.object.spec[member] == nil && old.spec[member] != nil {
            request.object.json[path: ["spec", member]] = old.spec[member]
            isChanged = true
        }
        return isChanged
    }

    private static func checkDefault(_ request: AdmissionRequest, _ classes: PriorityClasses) throws(APIFailure) {
        guard request.object.json["globalDefault"] == true, let other = classes.standard,
            other.name != request.name
        else { return }
        throw .forbidden(
            request, "PriorityClass \(other.name) is already marked as default. Only one default can exist")
    }
}
