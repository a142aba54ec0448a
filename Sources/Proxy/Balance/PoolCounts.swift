import Loop
import Synchronization

/// A backend's connections and endpoints, as one loop sees them or all together.
struct PoolCount: Sendable {
    var backend: String
    var endpoints = 0
    var ejected = 0
    var unwell = 0
    var connections = 0
    var idle = 0
    var active = 0

    /// Nobody uses it, and nothing is wrong with it: metrics leave it out, since there may be thousands.
    var isQuiet: Bool { connections == 0 && active == 0 && ejected == 0 && unwell == 0 }

    /// Endpoints are the same for all loops; connections are each loop's own.
    mutating func add(_ other: PoolCount) {
        endpoints = max(endpoints, other.endpoints)
        ejected = max(ejected, other.ejected)
        unwell = max(unwell, other.unwell)
        connections += other.connections
        idle += other.idle
        active += other.active
    }

    static func merge(_ loops: [[PoolCount]]) -> [PoolCount] {
        var found: [String: PoolCount] = [:]
        for count in loops.joined() { found[count.backend, default: PoolCount(backend: count.backend)].add(count) }
        return found.values.filter { !$0.isQuiet }.sorted { $0.backend < $1.backend }
    }
}

/// A part of a loop's pools, and the backend the next part begins with.
struct PoolSlice: Sendable {
    var counts: [PoolCount]
    var next: Int?

    /// Backends, and endpoints of all but the last, in one part.
    static let mostBackends = 256
    static let mostEndpoints = 1024
}

extension Engine {
    /// The backends from a place on that are not quiet.
    func pools(from place: Int) -> PoolSlice {
        guard let table else { return PoolSlice(counts: [], next: nil) }
        let names = table.pointee.table.takeUnretainedValue().backendNames
        var counts: [PoolCount] = []
        var seen = 0
        for backend in place..<max(place, names.count) {
            if backend - place >= PoolSlice.mostBackends || seen >= PoolSlice.mostEndpoints {
                return PoolSlice(counts: counts, next: backend)
            }
            let count = pool(backend, names[backend], table)
            seen += count.endpoints
            if !count.isQuiet { counts.append(count) }
        }
        return PoolSlice(counts: counts, next: nil)
    }

    private func pool(_ backend: Int, _ name: String, _ table: UnsafeMutablePointer<LiveTable>) -> PoolCount {
        let members = table.pointee.arrays.pointee.backends[backend].members
        var count = PoolCount(backend: name, endpoints: Int(members.count))
        for index in Int(members.start)..<Int(members.start + members.count) {
            let slot = table.pointee.slots[Int(table.pointee.arrays.pointee.members[index])]
            let endpoint = endpoints + Int(slot)
            count.connections += Int(endpoint.pointee.connections)
            count.idle += Int(endpoint.pointee.idleCount)
            count.active += Int(endpoint.pointee.active)
            if endpoint.pointee.place < 0 { continue }
            let until = records[Int(endpoint.pointee.place)].awayUntil.load(ordering: .relaxed)
            if until == .max {
                count.unwell += 1
            } else if until > now {
                count.ejected += 1
            }
        }
        return count
    }
}
