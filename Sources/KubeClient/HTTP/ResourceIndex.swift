package import KubeTypes
package import Wire

/// What a server's discovery says it serves, looked up as people and manifests name it.
package struct ResourceIndex: Sendable {
    private struct Entry: Sendable {
        var type: ResourceType
        var singular: String
        var shortNames: [String]
        /// The version a group prefers stands first.
        var rank: Int
    }
    private var entries: [Entry] = []

    package init() {}

    /// Adds an aggregated discovery document (`APIGroupDiscoveryList`).
    package mutating func add(_ document: JSON) {
        for group in document["items"]?.array ?? [] {
            let groupName = group["metadata"]?["name"]?.string ?? ""
            for (rank, version) in (group["versions"]?.array ?? []).enumerated() {
                for resource in version["resources"]?.array ?? [] {
                    guard let plural = resource["resource"]?.string,
                        let kind = resource["responseKind"]?["kind"]?.string
                    else { continue }
                    let type = ResourceType(
                        group: groupName, version: version["version"]?.string ?? "", resource: plural, kind: kind,
                        isNamespaced: resource["scope"]?.string == "Namespaced")
                    entries.append(
                        Entry(
                            type: type, singular: resource["singularResource"]?.string ?? "",
                            shortNames: resource["shortNames"]?.array?.compactMap(\.string) ?? [], rank: rank))
                }
            }
        }
    }

    package func type(apiVersion: String, kind: String) -> ResourceType? {
        entries.first { $0.type.apiVersion == apiVersion && $0.type.kind == kind }?.type
    }

    /// The same, in the version the group prefers where the one named is not served.
    package func served(_ kind: String, apiVersion: String) throws(APIFailure) -> ResourceType {
        if let exact = type(apiVersion: apiVersion, kind: kind) { return exact }
        let group = APIVersion.group(of: apiVersion)
        let others = entries.filter { $0.type.group == group && $0.type.kind == kind }
        guard let best = others.min(by: { $0.rank < $1.rank }) else { throw .noMatch(kind, group: group) }
        return best.type
    }

    /// By plural, singular, short name or kind, in any case, with or without the group: `po`, `Deployment`, `gateways.networking.istio.io`.
    package func type(named word: String) -> ResourceType? {
        let wanted = word.lowercased()
        let name = String(wanted.prefix { $0 != "." })
        let group = wanted.dropFirst(name.count + 1)
        let fits = entries.filter { entry in
            (group.isEmpty || entry.type.group == group)
                && (entry.type.resource == name || entry.singular == name || entry.shortNames.contains(name)
                    || entry.type.kind.lowercased() == name)
        }
        return fits.enumerated().min { ($0.element.rank, $0.offset) < ($1.element.rank, $1.offset) }?.element.type
    }

    /// For an error: where the kind does exist.
    package func hint(forKind kind: String) -> String {
        let others = entries.filter { $0.type.kind.lowercased() == kind.lowercased() }.map {
            "\($0.type.kind) in \($0.type.apiVersion)"
        }
        return others.isEmpty ? "" : "; it has \(others.joined(separator: ", "))"
    }

    /// For an error: the resource that differs least from what was typed.
    package func hint(forResource word: String) -> String {
        let names = Set(entries.map(\.type.resource))
        let near = names.map { ($0, distance($0, word.lowercased())) }.filter { $0.1 <= 2 }.min {
            ($0.1, $0.0) < ($1.1, $1.0)
        }
        return near.map { "; did you mean \"\($0.0)\"?" } ?? "; 'kubectl api-resources' lists them"
    }

    /// How many letters must be put in, taken out or changed (Levenshtein).
    private func distance(_ one: String, _ other: String) -> Int {
        let other = Array(other)
        var row = Array(0...other.count)
        for (index, letter) in one.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for (column, otherLetter) in other.enumerated() {
                let above = row[column + 1]
                row[column + 1] = letter == otherLetter ? diagonal : min(diagonal, above, row[column]) + 1
                diagonal = above
            }
        }
        return row[other.count]
    }
}
