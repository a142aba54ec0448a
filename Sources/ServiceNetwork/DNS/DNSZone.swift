package import Kernel
package import KubeTypes
package import Wire

/// The cluster's names, as the DNS-based service discovery specification 1.1.0 has them, and the addresses' names.
///
/// Pure and changed in place: a service's change costs what its own records cost.
package struct DNSZone: Sendable {
    package let domain: DNSName
    /// The domain, and the reverse zones of the cluster's ranges. Nothing else is answered.
    private let authorities: [DNSName]
    private let server: IPv4Address

    /// By folded name.
    private var records: [DNSName: [DNSData]] = [:]
    /// Names with records at or below them: a name that has none itself but is here exists (RFC 8020).
    private var existing: [DNSName: Int] = [:]
    private var owned: [DNSOwner: Set<DNSEntry>] = [:]
    /// Reverse names of pods, for addresses no service gives a name.
    private var podPointers: [DNSName: [DNSData]] = [:]
    private var serial: UInt32 = 1
    /// Until the API was heard once, names that are not here may well exist.
    package var isComplete = false

    package static let ttl: UInt32 = 5

    /// - Parameter server: the server's own address, for the zone's NS record.
    /// - Parameter ranges: the cluster's, of whole octets.
    package init(domain: DNSName, server: IPv4Address, ranges: [IPv4Range]) {
        self.domain = domain.folded
        self.server = server
        authorities = [domain.folded] + ranges.compactMap(Self.reverseZone)
        var fixed: Set<DNSEntry> = []
        if let name = self.domain.child("dns-version") { fixed.insert(DNSEntry(name, .txt([Array("1.1.0".utf8)]))) }
        if let primary { fixed.insert(DNSEntry(primary, .a(server.bits))) }
        replace(.zone, fixed)
    }

    /// Takes a service as it is now; `nil` when it is gone.
    package mutating func set(service key: ObjectKey, _ model: ServiceModel?, _ slices: [SliceModel]) {
        replace(.service(key), model.map { records(of: $0, slices) } ?? [])
    }

    /// Takes a pod's addresses as they are now; none when it is gone.
    package mutating func set(pod key: ObjectKey, _ addresses: [IPv4Address]) {
        replace(.pod(key), records(ofPod: key, addresses))
    }

    private mutating func replace(_ owner: DNSOwner, _ wanted: Set<DNSEntry>) {
        let had = owned[owner] ?? []
        if had == wanted { return }
        for entry in had.subtracting(wanted) { remove(entry, owner) }
        for entry in wanted.subtracting(had) { add(entry, owner) }
        owned[owner] = wanted.isEmpty ? nil : wanted
        serial &+= 1
    }

    private mutating func add(_ entry: DNSEntry, _ owner: DNSOwner) {
        if owner.isPod, case .ptr = entry.data {
            podPointers[entry.name, default: []].append(entry.data)
        } else {
            records[entry.name, default: []].append(entry.data)
        }
        count(entry.name, 1)
    }

    private mutating func remove(_ entry: DNSEntry, _ owner: DNSOwner) {
        func without(_ list: [DNSData]?) -> [DNSData]? {
            guard var list, let index = list.firstIndex(of: entry.data) else { return list }
            list.remove(at: index)
            return list.isEmpty ? nil : list
        }
        if owner.isPod, case .ptr = entry.data {
            podPointers[entry.name] = without(podPointers[entry.name])
        } else {
            records[entry.name] = without(records[entry.name])
        }
        count(entry.name, -1)
    }

    private mutating func count(_ name: DNSName, _ step: Int) {
        var name = name
        while !name.isRoot {
            let now = (existing[name] ?? 0) + step
            existing[name] = now > 0 ? now : nil
            name = name.parent
        }
    }

    // MARK: Answering

    /// The answer to one question of class IN.
    /// - Parameter turn: a number that grows: several addresses are given in another order each time.
    package func answer(_ question: DNSQuestion, turn: Int = 0) -> DNSAnswer {
        var answer = DNSAnswer()
        var name = question.name
        // A chain of names that are others' names ends: at an outside name, or here.
        for _ in 0..<8 {
            let folded = name.folded
            guard let zone = authorities.first(where: { folded.isWithin($0) }) else {
                if answer.answers.isEmpty { answer.code = .refused }
                return answer
            }
            let here = data(at: folded, zone)
            if let alias = here.first(where: { $0.type == .cname }), question.type != .cname {
                answer.answers.append(DNSRecord(name, ttl: Self.ttl, alias))
                guard question.type != .any, case .cname(let target) = alias else { return answer }
                name = target
                continue
            }
            let matching = here.filter { $0.type == question.type || question.type == .any }
            if matching.isEmpty {
                if here.isEmpty, existing[folded] == nil, folded != zone {
                    answer.code = isComplete ? .noSuchName : .serverFailure
                } else if !isComplete {
                    answer.code = .serverFailure
                }
                answer.authorities = [DNSRecord(zone, ttl: Self.ttl, .soa(authority))]
                return answer
            }
            for index in matching.indices {
                let data = matching[(index + turn) % matching.count]
                answer.answers.append(DNSRecord(name, ttl: Self.ttl, data))
            }
            answer.additionals = addresses(behind: matching)
            return answer
        }
        return answer
    }

    private func data(at name: DNSName, _ zone: DNSName) -> [DNSData] {
        var found = records[name] ?? podPointers[name] ?? []
        if name == zone {
            found.append(.soa(authority))
            if let primary { found.append(.ns(primary)) }
        }
        return found
    }

    /// The addresses of the names the records point at, so that nobody need ask again.
    private func addresses(behind data: [DNSData]) -> [DNSRecord] {
        var targets: Set<DNSName> = []
        for case .srv(let service) in data { targets.insert(service.target) }
        for case .ns(let target) in data { targets.insert(target) }
        return targets.sorted { $0.wire.lexicographicallyPrecedes($1.wire) }.flatMap { target in
            (records[target.folded] ?? []).filter { $0.type == .a || $0.type == .aaaa }
                .map { DNSRecord(target, ttl: Self.ttl, $0) }
        }
    }

    private var primary: DNSName? { domain.child("dns")?.child("ns") }

    private var authority: DNSAuthority {
        let mailbox = domain.child("hostmaster") ?? domain
        return DNSAuthority(
            primary: primary ?? domain, mailbox: mailbox, serial: serial, refresh: 7200, retry: 1800, expire: 86400,
            minimum: Self.ttl)
    }

    /// `96.10.in-addr.arpa` for 10.96.0.0/16.
    private static func reverseZone(_ range: IPv4Range) -> DNSName? {
        let octets = range.base.octets.prefix(range.prefixLength / 8)
        return DNSName((octets.reversed().map(String.init) + ["in-addr", "arpa"]).joined(separator: "."))
    }
}

/// What a zone has to say to a question.
package struct DNSAnswer: Sendable, Hashable {
    package var code = DNSCode.noError
    package var answers: [DNSRecord] = []
    package var authorities: [DNSRecord] = []
    package var additionals: [DNSRecord] = []
}

/// Whose records they are.
enum DNSOwner: Sendable, Hashable {
    case zone, service(ObjectKey), pod(ObjectKey)
    var isPod: Bool {
        if case .pod = self { return true }
        return false
    }
}

/// One record of the zone, its name folded.
struct DNSEntry: Sendable, Hashable {
    let name: DNSName
    let data: DNSData
    init(_ name: DNSName, _ data: DNSData) {
        self.name = name.folded
        self.data = data
    }
}
