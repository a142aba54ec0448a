package import Wire

/// Which of the names a CRD asks for it may have: none that another kind of its group has already.
package struct AcceptedNames: Sendable {
    /// What other kinds of the group go by.
    package struct Taken: Sendable {
        /// Plural, singular and short names, each with whose it is.
        var resources: [String: String] = [:]
        /// Kinds and kinds of lists.
        var kinds: [String: String] = [:]

        package init() {}

        package mutating func add(_ definition: ResourceDefinition) {
            let owner = definition.type.qualifiedName
            for name in [definition.type.resource, definition.singular] + definition.shortNames {
                resources[name] = owner
            }
            kinds[definition.type.kind] = owner
            kinds[definition.listKind] = owner
        }
    }

    /// As `status.acceptedNames` has them.
    package private(set) var names: JSON
    /// The reason and the message of what is refused; `nil` when all is accepted.
    package private(set) var refusal: (reason: String, message: String)?

    /// - Parameter before: `status.acceptedNames`: a name that is refused leaves the accepted one in place.
    package init(_ wanted: JSON, before: JSON, taken: Taken) {
        names = before
        accept("plural", "PluralConflict", wanted, taken.resources)
        accept("singular", "SingularConflict", wanted, taken.resources)
        acceptShortNames(wanted, taken.resources)
        accept("kind", "KindConflict", wanted, taken.kinds)
        accept("listKind", "ListKindConflict", wanted, taken.kinds)
        names["categories"] = wanted["categories"]
    }

    private mutating func accept(_ member: String, _ reason: String, _ wanted: JSON, _ taken: [String: String]) {
        let name = wanted[member]?.string ?? ""
        guard let owner = taken[name], !name.isEmpty else {
            names[member] = wanted[member]
            return
        }
        refuse(reason, "\"\(name)\" is already in use by \(owner)")
    }

    private mutating func acceptShortNames(_ wanted: JSON, _ taken: [String: String]) {
        let short = wanted.list("shortNames").compactMap(\.string)
        let clashes = short.filter { taken[$0] != nil }
        if clashes.isEmpty {
            names["shortNames"] = wanted["shortNames"]
        } else {
            let list = clashes.map { "\"\($0)\"" }.joined(separator: ", ")
            refuse("ShortNamesConflict", "\(list) is already in use")
        }
    }

    private mutating func refuse(_ reason: String, _ message: String) {
        if refusal == nil { refusal = (reason, message) }
    }

    /// Whether the kind can be served at all.
    package var isServable: Bool {
        !(names["plural"]?.string ?? "").isEmpty && !(names["kind"]?.string ?? "").isEmpty
    }
}

extension CustomDefinition {
    /// The status that says so.
    package mutating func apply(_ accepted: AcceptedNames, now: Timestamp) {
        object.json[path: ["status", "acceptedNames"]] = accepted.names
        if let refusal = accepted.refusal {
            set("NamesAccepted", false, refusal.reason, refusal.message, now)
        } else {
            set("NamesAccepted", true, "NoConflicts", "no conflicts found", now)
        }
        // What is served stays served.
        if isEstablished { return }
        if accepted.refusal == nil {
            set("Established", true, "InitialNamesAccepted", "the initial names have been accepted", now)
        } else {
            set("Established", false, "NotAccepted", "not all names are accepted", now)
        }
    }
}
