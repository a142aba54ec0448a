import KubeTypes
import Store
import Wire

/// The CRDs there are, what each is called, and the kinds they make: a value, so that what follows from a change can be seen.
struct CustomKindTable: Sendable {
    /// One CRD as it was last seen.
    private struct Entry: Sendable {
        var definition: CustomDefinition
        var accepted: AcceptedNames
        var kinds: [ResourceDefinition]
    }

    private var entries: [String: Entry] = [:]
    private let builtIn: SchemaCatalog

    init(builtIn: SchemaCatalog) { self.builtIn = builtIn }

    /// The kinds of all CRDs, those of each under the names it was given.
    var kinds: [ResourceDefinition] { entries.values.flatMap(\.kinds) }

    /// A CRD that is new or has changed.
    mutating func take(_ definition: CustomDefinition) {
        let name = definition.object.name
        let known = entries[name]
        let before = definition.object.status["acceptedNames"] ?? [:]
        let accepted = AcceptedNames(definition.names, before: before, taken: taken(in: definition.group, except: name))
        let isServed = accepted.isServable && (accepted.refusal == nil || definition.isEstablished)
        // The status is written by us: what it says makes no other kinds.
        if let known, known.definition.isSame(as: definition), known.accepted.names == accepted.names,
            known.kinds.isEmpty != isServed
        {
            entries[name]?.accepted = accepted
            return
        }
        entries[name] = Entry(
            definition: definition.withoutSchemas, accepted: accepted,
            kinds: isServed ? definition.definitions(names: accepted.names) : [])
    }

    mutating func remove(_ name: String) { entries[name] = nil }

    func accepted(_ name: String) -> AcceptedNames? { entries[name]?.accepted }

    /// CRDs whose names were refused: another's going may set them free.
    var refused: [String] { entries.filter { $0.value.accepted.refusal != nil }.map(\.key).sorted() }

    private func taken(in group: String, except name: String) -> AcceptedNames.Taken {
        var taken = AcceptedNames.Taken()
        for kind in builtIn.definitions
        where kind.type.group == group && "\(kind.type.resource).\(group)" != name {
            taken.add(kind)
        }
        for (other, entry) in entries where other != name && entry.definition.group == group {
            if let kind = entry.kinds.first { taken.add(kind) }
        }
        return taken
    }
}

extension CustomDefinition {
    /// Whether the other asks for the same kinds.
    fileprivate func isSame(as other: CustomDefinition) -> Bool {
        object.uid == other.object.uid && object.generation == other.object.generation
            && isTerminating == other.isTerminating
    }

    /// What is looked at again: schemas are large, and kept once, by the kinds.
    fileprivate var withoutSchemas: CustomDefinition {
        var small = object
        small.json[path: ["spec", "versions"]] = .array(
            versions.map { version in
                var version = version
                version["schema"] = nil
                return version
            })
        small.json[path: ["metadata", "managedFields"]] = nil
        small.json[path: ["metadata", "annotations"]] = nil
        return CustomDefinition(small)
    }
}
