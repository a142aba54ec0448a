import KubeTypes
import Wire

/// Patches of stored objects. The first byte says which object and which patch: JSON, merge, strategic.
enum PatchTarget {
    static func run(_ input: Input) {
        guard let first = input.first else { return }
        let kind = FuzzedKinds.all[Int(first >> 4) % FuzzedKinds.all.count]
        let body = Array(input.dropFirst())
        guard let patch = try? JSON(parsing: body) else { return }
        let type: PatchType
        switch first & 3 {
        case 0: type = .json
        case 1: type = .merge
        default: type = .strategic
        }
        trees(patch, type, kind)
        var object = kind.object
        guard (try? kind.definition.patch(&object, contentType: type.rawValue, body: body)) != nil else {
            precondition(object == kind.object, "a refused patch has changed its object")
            return
        }
        JSONTarget.check(object.json)
        let once = object
        precondition(
            (try? kind.definition.fit(&object)) == [] && object == once, "a patched object does not fit its kind")
    }

    /// The patch of the bare tree.
    private static func trees(_ patch: JSON, _ type: PatchType, _ kind: FuzzedKinds.Kind) {
        let target = kind.object.json
        switch type {
        case .json:
            guard let changed = try? JSONPatch(patch).applied(to: target) else { return }
            JSONTarget.check(changed)
            let test: JSON = [["op": "test", "path": "", "value": changed]]
            guard (try? JSONPatch(test).applied(to: changed)) != nil else { preconditionFailure("it is not itself") }
        case .merge:
            let once = MergePatch.applied(patch, to: target)
            precondition(MergePatch.applied(patch, to: once) == once, "a merge that is not done when it is done")
        case .strategic, .apply:
            let schema = kind.definition.schema
            guard let once = try? StrategicMergePatch.applied(patch, to: target, schema) else { return }
            JSONTarget.check(once)
            // An order is kept among the elements of before, and after is another before.
            if patch.text.contains("$setElementOrder") { return }
            guard let twice = try? StrategicMergePatch.applied(patch, to: once, schema) else {
                preconditionFailure("a patch that was taken is refused when it comes again")
            }
            precondition(twice == once, "a patch that is not done when it is done")
        }
    }
}
