import KubeTypes
import Wire

/// Server-side apply by several managers: each line of the input is one write. Its first byte says whose and how, the rest is the object.
enum ApplyTarget {
    private static let now = Timestamp(seconds: 1_700_000_000)
    private static let mostLines = 8

    static func run(_ input: Input) {
        guard let first = input.first else { return }
        let kind = FuzzedKinds.all[Int(first) % FuzzedKinds.all.count]
        var state = State(kind: kind)
        for line in input.dropFirst().split(separator: UInt8(ascii: "\n")).prefix(mostLines) {
            guard let how = line.first, let json = try? JSON(parsing: Array(line.dropFirst())),
                let object = try? kind.definition.decode(json, fieldValidation: .ignore).object
            else { continue }
            state.write(object, how)
        }
    }

    private struct State {
        let kind: FuzzedKinds.Kind
        var live: KubeObject?
        /// What each manager applied last, while nobody has taken anything from it.
        var applied: [String: KubeObject] = [:]

        mutating func write(_ object: KubeObject, _ how: UInt8) {
            let manager = ["one", "two", "kubectl"][Int(how >> 4) % 3]
            if how & 1 == 1 { update(object, manager) } else { apply(object, manager, force: how & 2 == 2) }
            guard let live else { return }
            JSONTarget.check(live.json)
            for entry in live.metadata["managedFields"]?.array ?? [] {
                let fields = entry["fieldsV1"] ?? [:]
                precondition(FieldSet(fields).json == fields, "fields that are written otherwise after they are read")
            }
        }

        private mutating func update(_ object: KubeObject, _ manager: String) {
            var next = object
            next.json[path: ["metadata", "managedFields"]] = live?.metadata["managedFields"]
            kind.definition.trackUpdate(from: live, to: &next, manager: manager, now: now)
            live = next
            applied = [:]
        }

        private mutating func apply(_ object: KubeObject, _ manager: String, force: Bool) {
            guard let once = try? applying(object, to: live, manager, force: force) else { return }
            guard let twice = try? applying(object, to: once, manager, force: false) else {
                preconditionFailure("what was applied is in conflict with itself")
            }
            precondition(twice == once, "what was applied changes when it is applied again")
            if force { applied = [:] }
            applied[manager] = object
            live = once
            // Who had no conflict has lost nothing.
            for (other, object) in applied where other != manager {
                guard let again = try? applying(object, to: once, other, force: false) else {
                    preconditionFailure("a manager has lost a field without a conflict")
                }
                precondition(again == once, "a manager has lost a value without a conflict")
            }
        }

        private func applying(
            _ object: KubeObject, to live: KubeObject?, _ manager: String, force: Bool
        ) throws -> KubeObject {
            try kind.definition.apply(object, to: live, manager: manager, force: force, now: now)
        }
    }
}
