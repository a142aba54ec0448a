import Loop
import Synchronization
import Wire

/// A backend's endpoints, as one loop sees them.
struct BackendSurvey: Sendable {
    struct Member: Sendable {
        var address: UInt32
        var port: UInt16
        var weight: UInt32
        /// -1 when it gets nothing, because of where it runs.
        var level: Int
        var active: Int
        var connections: Int
        var attempts: UInt64
        var failures: UInt64
        /// Nanoseconds; 0 while nothing is known.
        var latency: Double
        /// From now, nanoseconds; 0 when it can be used, `.max` while it fails its checks.
        var away: UInt64
        /// From now; after a failed connection this loop prefers others.
        var avoided: UInt64
        var cause: EjectionCause
        var ejections: UInt32
        var successPercent: Int8
    }
    var name: String
    var members: [Member]

    /// All loops' views as one.
    static func merge(_ loops: [[BackendSurvey]]) -> [BackendSurvey] {
        var names: [String] = []
        var merged: [String: BackendSurvey] = [:]
        for backend in loops.joined() {
            guard let known = merged[backend.name] else {
                names.append(backend.name)
                merged[backend.name] = backend
                continue
            }
            var places: [UInt64: Int] = [:]
            for (place, member) in known.members.enumerated() { places[member.key] = place }
            for member in backend.members {
                // Loops that follow different configurations for a moment agree on those in both.
                guard let place = places[member.key] else { continue }
                merged[backend.name]?.members[place].add(member)
            }
        }
        return names.compactMap { merged[$0] }
    }

    static func page(_ loops: [[BackendSurvey]]) -> JSON {
        .array(
            merge(loops).map { backend in
                var json = JSONObject()
                json["backend"] = .string(backend.name)
                json["endpoints"] = .array(backend.members.map(\.json))
                return .object(json)
            })
    }
}

extension BackendSurvey.Member {
    fileprivate var key: UInt64 { UInt64(address) << 16 | UInt64(port) }

    fileprivate mutating func add(_ other: BackendSurvey.Member) {
        active += other.active
        connections += other.connections
        attempts &+= other.attempts
        failures &+= other.failures
        latency = max(latency, other.latency)
        avoided = max(avoided, other.avoided)
    }

    fileprivate var json: JSON {
        var json = JSONObject()
        json["endpoint"] = .string("\(IPv4(address)):\(port)")
        json["state"] = .string(away == .max ? "unhealthy" : away > 0 ? "ejected" : avoided > 0 ? "avoided" : "healthy")
        json["weight"] = .int(Int64(weight))
        json["priority"] = .int(Int64(level))
        json["active"] = .int(Int64(active))
        json["connections"] = .int(Int64(connections))
        json["attempts"] = .int(Int64(clamping: attempts))
        json["failures"] = .int(Int64(clamping: failures))
        if latency > 0 { json["latencyMilliseconds"] = .double((latency / 1e4).rounded() / 100) }
        if ejections > 0 {
            json["ejections"] = .int(Int64(ejections))
            json["lastCause"] = .string(cause.word)
        }
        if away > 0 && away != .max { json["ejectedForMilliseconds"] = .int(Int64(away / 1_000_000)) }
        if successPercent >= 0 { json["successPercent"] = .int(Int64(successPercent)) }
        return .object(json)
    }
}

extension Engine {
    /// What this loop knows of its backends' endpoints.
    func survey() -> [BackendSurvey] {
        guard let table else { return [] }
        let names = table.pointee.table.takeUnretainedValue().backendNames
        return names.enumerated().map { place, name in
            BackendSurvey(name: name, members: members(of: place, table))
        }
    }

    private func members(of backend: Int, _ table: UnsafeMutablePointer<LiveTable>) -> [BackendSurvey.Member] {
        let arrays = table.pointee.arrays
        let entry = arrays.pointee.backends[backend]
        var places: [Int32: (level: Int, weight: UInt32)] = [:]
        var decay = 1e10
        if entry.balance >= 0 {
            let balance = arrays.pointee.balance.entries[Int(entry.balance)]
            decay = balance.decay
            for level in 0..<Int(balance.levels.count) {
                let run = arrays.pointee.balance.levels[Int(balance.levels.start) + level].members
                for index in Int(run.start)..<Int(run.start + run.count) {
                    let member = arrays.pointee.balance.members[index]
                    places[member.endpoint] = (level, member.weight)
                }
            }
        }
        var found: [BackendSurvey.Member] = []
        for index in Int(entry.members.start)..<Int(entry.members.start + entry.members.count) {
            let place = arrays.pointee.members[index]
            let known = entry.balance < 0 ? (level: 0, weight: 1) : places[place] ?? (level: -1, weight: 0)
            found.append(member(table.pointee.slots[Int(place)], known.level, known.weight, decay))
        }
        return found
    }

    private func member(_ slot: Int32, _ level: Int, _ weight: UInt32, _ decay: Double) -> BackendSurvey.Member {
        let endpoint = endpoints[Int(slot)]
        var member = BackendSurvey.Member(
            address: endpoint.address, port: endpoint.port, weight: weight, level: level,
            active: Int(endpoint.active), connections: Int(endpoint.connections), attempts: endpoint.attempts,
            failures: endpoint.failures, latency: endpoint.latency.current(at: now, decay: decay), away: 0,
            avoided: endpoint.avoidedUntil > now ? endpoint.avoidedUntil - now : 0, cause: .none, ejections: 0,
            successPercent: -1)
        if endpoint.place >= 0 {
            let record = records + Int(endpoint.place)
            let until = record.pointee.awayUntil.load(ordering: .relaxed)
            member.away = until == .max ? .max : until > now ? until - now : 0
            member.cause = EjectionCause(rawValue: record.pointee.causeWord.load(ordering: .relaxed)) ?? .none
            member.ejections = record.pointee.ejections.load(ordering: .relaxed)
            member.successPercent = record.pointee.successPercent.load(ordering: .relaxed)
        }
        return member
    }
}
