import Loop
import ProxyResources
import Wire

/// What a table is made of that is about choosing endpoints, while it is built.
struct BalanceParts {
    /// Memory of all hash tables of one configuration. Beyond it they are small, and less even.
    static let mostHashBytes = 8 << 20

    var entries: [BalanceEntry] = []
    var levels: [BalanceLevel] = []
    var members: [BalanceMember] = []
    var shares: [UInt32] = []
    var points: [UInt32] = []
    var owners: [UInt16] = []
    var inputs: [HashInputEntry] = []
    var carriers: [CarrierEntry] = []
    var checks: [CheckEntry] = []
    var checkStatuses: [UInt16] = []
    var hashBytes = 0
    var tick: UInt64 = 0
    var origin = PriorityLevels.Origin(locality: Locality(), node: "")
    /// Places on the health board by endpoint number.
    var places: [UInt64: Int32] = [:]
    var session: [SessionPolicy: Int32] = [:]
}

extension BalancePolicy {
    /// The less busy of two is all that is asked for, as far as one list of endpoints can differ.
    fileprivate func isPlain(_ endpoints: [Endpoint]) -> Bool {
        let asksNothing =
            algorithm == .leastRequest && session == nil && slowStart == nil && locality.prefer.isEmpty
            && locality.shares.isEmpty
        return asksNothing && endpoints.allSatisfy { $0.weight == 1 }
    }
}

extension TableBuilder {
    /// Compiles a backend's policies.
    ///
    /// - Parameter listed: the backend's endpoints that are in the table, with their places there.
    /// - Returns: place of the entry; -1 when nothing but the usual is asked for.
    mutating func addBalance(
        _ backend: Backend, _ listed: [(place: Int32, endpoint: Endpoint)], _ numbers: EndpointNumbers,
        _ board: HealthBoard
    ) -> Int32 {
        let policy = backend.balance
        if backend.outlier == nil, backend.health == nil, policy.isPlain(listed.map(\.endpoint)) { return -1 }
        var entry = BalanceEntry()
        entry.algorithm = policy.algorithm
        entry.panicPercent = Int32(clamping: policy.panicPercent)
        entry.decay = Double(policy.ewma.decayMilliseconds) * 1e6
        entry.penalty = Double(policy.ewma.penaltyMilliseconds) * 1e6
        if let slow = policy.slowStart {
            entry.ramp = SlowStartRamp(
                window: nanoseconds(milliseconds: slow.windowMilliseconds),
                exponent: 100 / Double(max(1, slow.aggressionPercent)), minimum: Double(slow.minimumPercent) / 100)
        }
        if let outlier = backend.outlier { entry.rules = EjectionRules(outlier) }
        if let session = policy.session { entry.carrier = carrier(for: session) }
        if policy.isHashing {
            entry.inputs = Run(start: Int32(balance.inputs.count), count: Int32(policy.hashOn.count))
            for input in policy.hashOn { balance.inputs.append(hashInput(input)) }
        }
        if let check = backend.health { entry.check = addCheck(check, backend) }
        entry.isWatched = backend.outlier != nil || backend.health != nil || policy.slowStart != nil
        addMembers(listed, policy, numbers, board, &entry)
        if entry.rules.looksAtRates { tick(each: entry.rules.interval) }
        if let check = backend.health { tick(each: nanoseconds(milliseconds: check.intervalMilliseconds)) }
        balance.entries.append(entry)
        return Int32(balance.entries.count - 1)
    }

    private mutating func tick(each interval: UInt64) {
        let wanted = min(max(interval / 4, 10_000_000), 1_000_000_000)
        balance.tick = balance.tick == 0 ? wanted : min(balance.tick, wanted)
    }

    private mutating func addMembers(
        _ listed: [(place: Int32, endpoint: Endpoint)], _ policy: BalancePolicy, _ numbers: EndpointNumbers,
        _ board: HealthBoard, _ entry: inout BalanceEntry
    ) {
        let found = PriorityLevels.places(of: listed.map(\.endpoint), for: balance.origin, policy.locality)
        if !found.shares.isEmpty {
            entry.shares = Run(start: Int32(balance.shares.count), count: Int32(found.shares.count))
            balance.shares += found.shares.map { UInt32(clamping: $0) }
        }
        entry.elsewhere = Int32(found.places.count { $0 == nil })
        entry.levels.start = Int32(balance.levels.count)
        entry.members.start = Int32(balance.members.count)
        let last = found.places.compactMap { $0?.level }.max() ?? -1
        for level in 0..<max(0, last + 1) {
            let start = Int32(balance.members.count)
            var hashed: [HashMember] = []
            for (item, place) in zip(listed, found.places) {
                guard let place, place.level == level else { continue }
                let number = endpoints[Int(item.place)].number
                if entry.isWatched { watch(Int(item.place), number, numbers, board) }
                balance.members.append(
                    BalanceMember(
                        endpoint: item.place, place: endpoints[Int(item.place)].place,
                        weight: UInt32(clamping: item.endpoint.weight), group: Int32(place.group)))
                hashed.append(
                    HashMember(identity: endpoints[Int(item.place)].identity, weight: item.endpoint.weight))
            }
            var compiled = BalanceLevel(members: Run(start: start, count: Int32(balance.members.count) - start))
            if policy.isHashing { addHashTable(hashed, policy, &compiled) }
            balance.levels.append(compiled)
        }
        entry.levels.count = Int32(balance.levels.count) - entry.levels.start
        entry.members.count = Int32(balance.members.count) - entry.members.start
    }

    /// Gives an endpoint a place on the health board, the one it had before if it had one.
    private mutating func watch(_ place: Int, _ number: UInt64, _ numbers: EndpointNumbers, _ board: HealthBoard) {
        if endpoints[place].place >= 0 { return }
        let known = numbers.boardPlaces[number] ?? board.newPlace(at: Clock.monotonic)
        endpoints[place].place = known
        if known >= 0 { balance.places[number] = known }
    }

    private mutating func addHashTable(_ members: [HashMember], _ policy: BalancePolicy, _ level: inout BalanceLevel) {
        if members.isEmpty { return }
        switch policy.algorithm {
        case .maglev:
            var size = Maglev.size(members.count, wanted: policy.hashSize)
            if balance.hashBytes + size * 2 > BalanceParts.mostHashBytes {
                size = Maglev.prime(atLeast: max(Maglev.smallSize, members.count))
            }
            level.owners = Run(start: Int32(balance.owners.count), count: Int32(size))
            balance.owners += Maglev.build(members, size: size)
            balance.hashBytes += size * 2
        default:
            var size = policy.hashSize ?? HashRing.usualSize
            let expected = HashRing.pointsEach(members.count, size: size) * members.count * 6
            if balance.hashBytes + expected > BalanceParts.mostHashBytes { size = 1 }
            let ring = HashRing.build(members, size: size)
            level.points = Int32(balance.points.count)
            level.owners = Run(start: Int32(balance.owners.count), count: Int32(ring.owners.count))
            balance.points += ring.points
            balance.owners += ring.owners
            balance.hashBytes += ring.points.count * 6
        }
    }

    private mutating func hashInput(_ input: HashInput) -> HashInputEntry {
        var place: Int32 = -1
        if input.kind == .cookie, let seconds = input.cookieSeconds {
            let policy = SessionPolicy(name: input.name, seconds: seconds, path: input.cookiePath)
            place = Int32(balance.carriers.count)
            balance.carriers.append(carrierEntry(policy, .number))
        }
        return HashInputEntry(kind: input.kind, name: add(text: input.name), carrier: place)
    }

    /// The carrier of a session policy, made once.
    mutating func carrier(for policy: SessionPolicy) -> Int32 {
        if let known = balance.session[policy] { return known }
        let place = Int32(balance.carriers.count)
        balance.carriers.append(carrierEntry(policy, .endpoint))
        balance.session[policy] = place
        return place
    }

    private mutating func carrierEntry(_ policy: SessionPolicy, _ content: CarrierEntry.Content) -> CarrierEntry {
        if policy.carrier == .header {
            return CarrierEntry(
                content: content, isHeader: true, name: add(text: policy.name.lowercased()),
                before: add(text: "\(policy.name.lowercased()): "), after: add(text: "\r\n"))
        }
        var ending = "; Path=\(policy.path.isEmpty ? "/" : policy.path)"
        if policy.seconds > 0 { ending += "; Max-Age=\(policy.seconds)" }
        for attribute in policy.attributes {
            ending += attribute.value.isEmpty ? "; \(attribute.name)" : "; \(attribute.name)=\(attribute.value)"
        }
        let isHidden = policy.attributes.contains { $0.name.lowercased() == "httponly" }
        if !isHidden { ending += "; HttpOnly" }
        return CarrierEntry(
            content: content, isHeader: false, name: add(text: policy.name),
            before: add(text: "set-cookie: \(policy.name)="), after: add(text: ending + "\r\n"))
    }

    private mutating func addCheck(_ check: HealthCheck, _ backend: Backend) -> Int32 {
        let host = check.host.isEmpty ? backend.service : check.host
        let request: [UInt8]
        switch check.kind {
        case .tcp: request = []
        case .http:
            let name = host.isEmpty ? "health" : host
            request = Array(
                "GET \(check.path) HTTP/1.1\r\nhost: \(name)\r\nuser-agent: weft-health\r\nconnection: close\r\n\r\n"
                    .utf8)
        case .grpc: request = HealthRequest.grpc(service: check.grpcService, host: host)
        }
        let statuses = check.statuses.map { UInt16(clamping: $0) }
        let entry = CheckEntry(
            kind: check.kind, request: add(bytes: request), port: UInt16(clamping: check.port ?? 0),
            statuses: Run(start: Int32(balance.checkStatuses.count), count: Int32(statuses.count)),
            interval: nanoseconds(milliseconds: check.intervalMilliseconds),
            timeout: nanoseconds(milliseconds: check.timeoutMilliseconds),
            healthyThreshold: Int32(clamping: check.healthyThreshold),
            unhealthyThreshold: Int32(clamping: check.unhealthyThreshold))
        balance.checkStatuses += statuses
        balance.checks.append(entry)
        return Int32(balance.checks.count - 1)
    }

    /// All that was added, as plain memory.
    func balanceArrays() -> BalanceArrays {
        var identities: [IdentityEntry] = []
        if !balance.session.isEmpty {
            for (place, endpoint) in endpoints.enumerated() {
                identities.append(IdentityEntry(identity: endpoint.identity, endpoint: Int32(place)))
            }
            identities.sort { $0.identity < $1.identity }
        }
        return BalanceArrays(
            entries: memory.keep(balance.entries), entryCount: balance.entries.count,
            levels: memory.keep(balance.levels),
            members: memory.keep(balance.members), shares: memory.keep(balance.shares),
            points: memory.keep(balance.points),
            owners: memory.keep(balance.owners), inputs: memory.keep(balance.inputs),
            carriers: memory.keep(balance.carriers),
            identities: memory.keep(identities), identityCount: identities.count,
            checks: memory.keep(balance.checks), checkStatuses: memory.keep(balance.checkStatuses), tick: balance.tick)
    }
}

/// What health checks send.
enum HealthRequest {
    /// `grpc.health.v1.Health/Check` over HTTP/2 by prior knowledge. Header fields are literals without a table (RFC 7541 §6.2.2).
    static func grpc(service: String, host: String) -> [UInt8] {
        var block: [UInt8] = []
        func text(_ text: String) -> [UInt8] {
            let bytes = Array(text.utf8)
            if bytes.count < 127 { return [UInt8(bytes.count)] + bytes }
            // RFC 7541 §5.1: what does not fit into the prefix follows in sevens.
            var length: [UInt8] = [127]
            var rest = bytes.count - 127
            while rest >= 128 {
                length.append(UInt8(rest & 127) | 128)
                rest >>= 7
            }
            return length + [UInt8(rest)] + bytes
        }
        let fields = [
            (":method", "POST"), (":scheme", "http"), (":path", "/grpc.health.v1.Health/Check"),
            (":authority", host.isEmpty ? "health" : host), ("te", "trailers"), ("content-type", "application/grpc"),
            ("user-agent", "weft-health"),
        ]
        for (name, value) in fields { block += [0] + text(name) + text(value) }
        var message: [UInt8] = []
        if !service.isEmpty {
            var body = ProtobufWriter()
            body.string(1, service)
            message = body.bytes
        }
        var out = FrameHeader.preface
        FrameHeader(length: 0, kind: .settings).write(to: &out)
        FrameHeader(length: block.count, kind: .headers, flags: FrameFlag.endHeaders, stream: 1).write(to: &out)
        out += block
        FrameHeader(length: message.count + 5, kind: .data, flags: FrameFlag.endStream, stream: 1).write(to: &out)
        out += [0, 0, 0, UInt8(truncatingIfNeeded: message.count >> 8), UInt8(truncatingIfNeeded: message.count)]
        return out + message
    }
}
