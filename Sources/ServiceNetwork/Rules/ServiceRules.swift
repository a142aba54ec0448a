import Kernel
package import KubeTypes

/// The service rules of one node as they should be, and the least that must change in the kernel when a service changes.
///
/// Pure. Costs per change follow the changed service's size, not the number of services.
package struct ServiceRules: Sendable {
    package let scope: RuleScope
    private var frontends: [Frontend: Programmed] = [:]
    private var frontendsOfService: [ObjectKey: Set<Frontend>] = [:]
    /// Frontends a second service wants too (an external address, by mistake): it gets them when the first lets go.
    private var wanting: [Frontend: Set<ObjectKey>] = [:]
    private var hairpins: [IPv4Address: Int] = [:]
    /// The ways to spread that have a chain.
    private var dispatches = ServiceRules.standing

    /// What a frontend has in the kernel. A backend keeps its slot as long as it can.
    fileprivate struct Programmed {
        var owner: ObjectKey
        var spread: Spread
        var slots: [Backend]
    }

    /// The ways every table has from the start: most services need no chain of their own.
    static let standing = Set((1...16).map { Dispatch(count: $0, masquerades: false, affinity: nil) })

    package init(scope: RuleScope) { self.scope = scope }

    /// Takes a service as it is now, `nil` when it is gone.
    ///
    /// - Parameter others: looks up the other services, for a frontend that went from one to another.
    package mutating func update(
        _ key: ObjectKey, _ service: ServiceModel?, _ slices: [SliceModel],
        others: (ObjectKey) -> (ServiceModel, [SliceModel])? = { _ in nil }
    ) -> RuleChanges {
        var changes = RuleChanges()
        var released = apply(key, service?.frontends(slices, scope) ?? [:], &changes)
        while let frontend = released.popFirst() {
            for waiting in (wanting.removeValue(forKey: frontend) ?? []).sorted() {
                guard let (model, slices) = others(waiting) else { continue }
                released.formUnion(apply(waiting, model.frontends(slices, scope), &changes))
            }
        }
        changes.settle()
        return changes
    }

    /// - Returns: frontends it no longer has that another service waits for.
    private mutating func apply(
        _ key: ObjectKey, _ wanted: [Frontend: Spread], _ changes: inout RuleChanges
    ) -> Set<Frontend> {
        var released: Set<Frontend> = []
        for frontend in frontendsOfService[key] ?? [] where wanted[frontend] == nil {
            program(frontend, nil, &changes)
            frontendsOfService[key]?.remove(frontend)
            if wanting[frontend] != nil { released.insert(frontend) }
        }
        for (frontend, spread) in wanted {
            if let owner = frontends[frontend]?.owner, owner != key {
                wanting[frontend, default: []].insert(key)
                continue
            }
            program(frontend, (key, spread), &changes)
            frontendsOfService[key, default: []].insert(frontend)
        }
        if frontendsOfService[key]?.isEmpty == true { frontendsOfService[key] = nil }
        return released
    }

    private mutating func program(
        _ frontend: Frontend, _ wanted: (owner: ObjectKey, spread: Spread)?, _ changes: inout RuleChanges
    ) {
        let before = frontends[frontend]
        if let before, let wanted, before.spread == wanted.spread { return }
        var after: Programmed?
        if let wanted {
            let slots = Self.slots(before: before?.slots ?? [], wanted: wanted.spread.backends)
            after = Programmed(owner: wanted.owner, spread: wanted.spread, slots: slots)
        }
        let had = before.map { Self.elements(frontend, $0) } ?? []
        let has = after.map { Self.elements(frontend, $0) } ?? []
        changes.removed.formUnion(had.subtracting(has))
        changes.added.formUnion(has.subtracting(had))
        if let dispatch = after?.dispatch, dispatches.insert(dispatch).inserted { changes.chains.insert(dispatch) }
        let lost = Set(before?.slots ?? []).subtracting(after?.slots ?? [])
        let gained = Set(after?.slots ?? []).subtracting(before?.slots ?? [])
        if frontend.transport == .udp {
            for backend in lost { changes.endedFlows.insert(ServiceFlow(frontend: frontend, backend: backend)) }
        }
        count(hairpinsOf: lost, by: -1, &changes)
        count(hairpinsOf: gained, by: 1, &changes)
        frontends[frontend] = after
    }

    private mutating func count(hairpinsOf backends: Set<Backend>, by step: Int, _ changes: inout RuleChanges) {
        for backend in backends {
            let before = hairpins[backend.address] ?? 0
            let after = before + step
            hairpins[backend.address] = after > 0 ? after : nil
            if before == 0, after > 0 { changes.added.insert(.hairpin(backend.address)) }
            if before > 0, after == 0 { changes.removed.insert(.hairpin(backend.address)) }
        }
    }

    /// Who is in which slot now: those who stay keep theirs, newcomers take what is free, and the last fill what is left.
    static func slots(before: [Backend], wanted: Set<Backend>) -> [Backend] {
        let count = min(wanted.count, Dispatch.limit)
        var slots: [Backend?] = before.prefix(count).map { wanted.contains($0) ? $0 : nil }
        slots += [Backend?](repeating: nil, count: count - slots.count)
        let placed = Set(slots.compactMap { $0 })
        // Those beyond the end first, since they have connections' affinity already; then the new ones, in order.
        var waiting = before.dropFirst(count).filter { wanted.contains($0) && !placed.contains($0) }
        waiting += wanted.subtracting(placed).subtracting(waiting).sorted()
        var next = waiting.makeIterator()
        return slots.compactMap { $0 ?? next.next() }
    }

    private static func elements(_ frontend: Frontend, _ programmed: Programmed) -> Set<RuleElement> {
        guard let dispatch = programmed.dispatch else { return [.refused(frontend)] }
        var elements: Set<RuleElement> = [.dispatch(frontend, dispatch)]
        for (slot, backend) in programmed.slots.enumerated() {
            elements.insert(.backend(frontend, UInt32(slot), backend))
        }
        guard dispatch.affinity != nil else { return elements }
        for (slot, entry) in Self.stickyNumbers(programmed.slots).enumerated() {
            elements.insert(.sticky(frontend, UInt32(slot), number: entry.number))
            elements.insert(.backend(frontend, entry.number, entry.backend))
        }
        return elements
    }

    /// A number for each backend that is the same whatever the others are, and after a restart. Above all slots' numbers.
    private static func stickyNumbers(_ slots: [Backend]) -> [(number: UInt32, backend: Backend)] {
        var taken: [UInt32: Backend] = [:]
        for backend in slots.sorted() {
            var number = UInt32(2_166_136_261)  // FNV-1a
            for byte in backend.address.octets + [UInt8(backend.port >> 8), UInt8(backend.port & 255)] {
                number = (number ^ UInt32(byte)) &* 16_777_619
            }
            number |= 1 << 31
            while taken[number] != nil { number = (number &+ 1) | 1 << 31 }
            taken[number] = backend
        }
        let numbers = Dictionary(uniqueKeysWithValues: taken.map { ($1, $0) })
        return slots.compactMap { backend in numbers[backend].map { ($0, backend) } }
    }

    /// Everything, for a table made anew.
    package var all: RuleChanges {
        var changes = RuleChanges()
        for (frontend, programmed) in frontends { changes.added.formUnion(Self.elements(frontend, programmed)) }
        for address in hairpins.keys { changes.added.insert(.hairpin(address)) }
        changes.chains = dispatches
        return changes
    }

    /// What a frontend meets: its backends, none when it is refused; `nil` when it is no frontend.
    package func backends(of frontend: Frontend) -> [Backend]? { frontends[frontend]?.slots }
}

extension ServiceRules.Programmed {
    /// `nil` when there is nobody to spread over.
    fileprivate var dispatch: Dispatch? {
        if slots.isEmpty { return nil }
        return Dispatch(count: slots.count, masquerades: spread.masquerades, affinity: spread.affinity)
    }
}

/// What must change in the kernel, in one transaction.
package struct RuleChanges: Sendable, Hashable {
    package var removed: Set<RuleElement> = []
    package var added: Set<RuleElement> = []
    /// Ways to spread that need a chain first.
    package var chains: Set<Dispatch> = []
    /// UDP flows that go to a backend that is gone, and would for as long as they last.
    package var endedFlows: Set<ServiceFlow> = []

    package var isEmpty: Bool { removed.isEmpty && added.isEmpty && chains.isEmpty }

    /// An element taken away and given back stays.
    mutating func settle() {
        let both = removed.intersection(added)
        removed.subtract(both)
        added.subtract(both)
    }

    /// Adds what happened next.
    package mutating func formUnion(_ later: RuleChanges) {
        // What the first added and the second removed never was; what the first removed and the second added always was.
        let undone = added.intersection(later.removed)
        let restored = removed.intersection(later.added)
        added = added.subtracting(undone).union(later.added.subtracting(restored))
        removed = removed.subtracting(restored).union(later.removed.subtracting(undone))
        chains.formUnion(later.chains)
        endedFlows.formUnion(later.endedFlows)
    }
}

/// What a service made of a connection: where it was to go, and where it goes.
package struct ServiceFlow: Sendable, Hashable {
    package var frontend: Frontend
    package var backend: Backend
}
