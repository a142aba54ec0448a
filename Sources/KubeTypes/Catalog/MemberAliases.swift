import Wire

/// A kind served in two groups from one storage: what its members are called in the group that does not store it.
///
/// Event is the one: `events.k8s.io` says `regarding` and `note` where the core group says `involvedObject` and `message`.
struct MemberAliases: Sendable {
    let storageType: ResourceType
    /// Shown name and stored name.
    private let names: [(shown: String, stored: String)]

    static func of(_ type: ResourceType) -> MemberAliases? {
        guard type.group == "events.k8s.io", type.kind == "Event" else { return nil }
        return events
    }

    private static let events = MemberAliases(
        storageType: .events,
        names: [
            ("regarding", "involvedObject"), ("note", "message"), ("deprecatedSource", "source"),
            ("deprecatedFirstTimestamp", "firstTimestamp"), ("deprecatedLastTimestamp", "lastTimestamp"),
            ("deprecatedCount", "count"), ("reportingController", "reportingComponent"),
        ])

    func show(_ object: inout KubeObject) { rename(&object) { name in names.first { $0.stored == name }?.shown } }
    func store(_ object: inout KubeObject) { rename(&object) { name in names.first { $0.shown == name }?.stored } }

    private func rename(_ object: inout KubeObject, _ renamed: (String) -> String?) {
        guard case .object(var members) = object.json else { return }
        object.json = .null
        for index in members.members.indices {
            if let name = renamed(members.members[index].key) { members.members[index].key = name }
        }
        object.json = .object(members)
    }
}
