import Glibc
import Loop
import ProxyResources
import Wire

extension Engine {
    /// Works out a routed request's affinity from its head: where its session is, or the hash of what its backend looks at.
    mutating func noteAffinity(_ client: Conn, _ bytes: UnsafePointer<UInt8>) {
        guard let table = client.pointee.table else { return }
        let arrays = table.pointee.arrays
        let rule = client.pointee.choice.rule
        let place = arrays.pointee.backends[Int(client.pointee.backend)].balance
        var carrier = rule >= 0 ? arrays.pointee.rules[Int(rule)].session : -1
        if carrier < 0 && place < 0 { return }
        if carrier < 0 { carrier = arrays.pointee.balance.entries[Int(place)].carrier }
        if carrier >= 0 {
            client.pointee.affinity.carrier = carrier
            followSession(client, table, arrays.pointee.balance.carriers[Int(carrier)], bytes)
        }
        if place < 0 || client.pointee.affinity.wanted >= 0 { return }
        let inputs = arrays.pointee.balance.entries[Int(place)].inputs
        if inputs.count > 0 { hashInputs(client, arrays, inputs, bytes) }
    }

    // MARK: sessions

    /// The endpoint the client was told, if it is still one of the backend's, or of another backend the rule sends requests to.
    private mutating func followSession(
        _ client: Conn, _ table: UnsafeMutablePointer<LiveTable>, _ carrier: CarrierEntry,
        _ bytes: UnsafePointer<UInt8>
    ) {
        let arrays = table.pointee.arrays
        guard let value = carried(arrays, carrier.name, isHeader: carrier.isHeader, bytes),
            let identity = Self.number(value)
        else { return }
        var low = 0
        var high = arrays.pointee.balance.identityCount
        while low < high {
            let middle = (low &+ high) >> 1
            if arrays.pointee.balance.identities[middle].identity < identity {
                low = middle &+ 1
            } else {
                high = middle
            }
        }
        while low < arrays.pointee.balance.identityCount, arrays.pointee.balance.identities[low].identity == identity {
            let endpoint = arrays.pointee.balance.identities[low].endpoint
            if let (backend, weight) = owner(of: endpoint, arrays, client.pointee.choice) {
                client.pointee.affinity.wanted = table.pointee.slots[Int(endpoint)]
                if backend != client.pointee.backend {
                    client.pointee.choice.weight = weight
                    client.pointee.backend = backend
                    client.pointee.choice.backend = backend
                    client.pointee.service = arrays.pointee.backends[Int(backend)].label
                    client.pointee.choice.service = client.pointee.service
                }
                return
            }
            low &+= 1
        }
    }

    private func owner(of endpoint: Int32, _ arrays: TableView, _ choice: RouteChoice) -> (
        backend: Int32, weight: Int32
    )? {
        if has(arrays, choice.backend, endpoint) { return (choice.backend, choice.weight) }
        if choice.rule < 0 { return nil }
        let run = arrays.pointee.rules[Int(choice.rule)].backends
        for place in Int(run.start)..<Int(run.start &+ run.count) {
            let backend = arrays.pointee.weights[place].backend
            if backend >= 0 && arrays.pointee.weights[place].weight > 0 && has(arrays, backend, endpoint) {
                return (backend, Int32(place))
            }
        }
        return nil
    }

    private func has(_ arrays: TableView, _ backend: Int32, _ endpoint: Int32) -> Bool {
        let members = arrays.pointee.backends[Int(backend)].members
        for place in Int(members.start)..<Int(members.start &+ members.count)
        where arrays.pointee.members[place] == endpoint {
            return true
        }
        return false
    }

    // MARK: hashes

    private mutating func hashInputs(
        _ client: Conn, _ arrays: TableView, _ inputs: Run, _ bytes: UnsafePointer<UInt8>
    ) {
        for place in Int(inputs.start)..<Int(inputs.start &+ inputs.count) {
            let input = arrays.pointee.balance.inputs[place]
            var hash = StableHash()
            switch input.kind {
            case .source:
                client.pointee.affinity.hash = Self.hash(source: client.pointee.remoteAddress)
                return
            case .path:
                let path = target(bytes)
                hash.add(path.path.baseAddress ?? bytes, path.path.count)
            case .query:
                guard let value = parameter(arrays, input.name, target(bytes).query) else { continue }
                hash.add(value.baseAddress ?? bytes, value.count)
            case .header, .cookie:
                if let value = carried(arrays, input.name, isHeader: input.kind == .header, bytes) {
                    hash.add(value.baseAddress ?? bytes, value.count)
                } else if input.carrier >= 0 && client.pointee.affinity.carrier < 0 {
                    // The client's next request comes with this number, so its first is hashed like it.
                    let number = chance.next()
                    client.pointee.affinity.number = number
                    client.pointee.affinity.carrier = input.carrier
                    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 16) { digits in
                        Self.write(number, digits)
                        if let start = digits.baseAddress { hash.add(start, 16) }
                    }
                } else {
                    continue
                }
            }
            client.pointee.affinity.hash = hash.mixed
            return
        }
    }

    private static func hash(source: UInt32) -> UInt64 { StableHash(seed: UInt64(source)).mixed }

    /// An opaque connection has nothing but its source.
    func tunnelAffinity(_ client: Conn, _ backend: Int32) -> Affinity {
        var affinity = Affinity()
        guard let arrays = client.pointee.table?.pointee.arrays else { return affinity }
        let place = arrays.pointee.backends[Int(backend)].balance
        if place < 0 { return affinity }
        let inputs = arrays.pointee.balance.entries[Int(place)].inputs
        for place in Int(inputs.start)..<Int(inputs.start &+ inputs.count)
        where arrays.pointee.balance.inputs[place].kind == .source {
            affinity.hash = Self.hash(source: client.pointee.remoteAddress)
        }
        return affinity
    }

    // MARK: parts of the head

    private typealias Part = UnsafeBufferPointer<UInt8>

    /// The value of a header, or of a cookie (RFC 6265 §4.2.1).
    private func carried(_ arrays: TableView, _ name: TextRange, isHeader: Bool, _ bytes: UnsafePointer<UInt8>)
        -> Part?
    {
        let wanted = arrays.pointee.text + Int(name.offset)
        let count = Int(name.count)
        if isHeader {
            guard let line = findLine(bytes, wanted, count) else { return nil }
            let found = parser.lines[line]
            return Part(start: bytes + Int(found.valueOffset), count: Int(found.valueLength))
        }
        for place in 0..<parser.head.lineCount where parser.lines[place].nameLength == 6 {
            let line = parser.lines[place]
            if !sameName(bytes + Int(line.offset), StaticText.cookie.utf8Start, 6) { continue }
            let text = Part(start: bytes + Int(line.valueOffset), count: Int(line.valueLength))
            if let value = Self.find(wanted, count, in: text, separator: 59) { return value }
        }
        return nil
    }

    /// The value of `name=value` among such pairs.
    private static func find(_ name: UnsafePointer<UInt8>, _ count: Int, in text: Part, separator: UInt8) -> Part? {
        var at = 0
        while at < text.count {
            while at < text.count && text[at] == 32 { at &+= 1 }
            var end = at
            while end < text.count && text[end] != separator { end &+= 1 }
            if end &- at > count && text[at &+ count] == 61, let start = text.baseAddress,
                memcmp(start + at, name, count) == 0
            {
                return Part(start: start + at + count + 1, count: end &- at &- count &- 1)
            }
            at = end &+ 1
        }
        return nil
    }

    private func parameter(_ arrays: TableView, _ name: TextRange, _ query: Part) -> Part? {
        Self.find(arrays.pointee.text + Int(name.offset), Int(name.count), in: query, separator: 38)
    }

    private func target(_ bytes: UnsafePointer<UInt8>) -> (path: Part, query: Part) {
        let start = bytes + parser.head.pathOffset
        let count = parser.head.pathLength
        guard let mark = memchr(start, 63, count) else {
            return (Part(start: start, count: count), Part(start: nil, count: 0))
        }
        let length = UnsafeRawPointer(start).distance(to: UnsafeRawPointer(mark))
        return (
            Part(start: start, count: length), Part(start: start + length + 1, count: count &- length &- 1)
        )
    }

    // MARK: what the response says

    /// Bytes `putAffinity` may need.
    @inline(__always)
    func affinityRoom(_ client: Conn) -> Int {
        if client.pointee.affinity.carrier < 0 { return 0 }
        guard let arrays = client.pointee.table?.pointee.arrays else { return 0 }
        let carrier = arrays.pointee.balance.carriers[Int(client.pointee.affinity.carrier)]
        return Int(carrier.before.count &+ carrier.after.count) &+ 16
    }

    /// Tells the client which endpoint its session has now, unless it knows.
    func putAffinity(_ client: Conn, _ out: Bytes, _ at: inout Int) {
        guard let arrays = client.pointee.table?.pointee.arrays, client.pointee.endpoint >= 0 else { return }
        let carrier = arrays.pointee.balance.carriers[Int(client.pointee.affinity.carrier)]
        var number = client.pointee.affinity.number
        if carrier.content == .endpoint {
            if client.pointee.endpoint == client.pointee.affinity.wanted { return }
            number = endpoints[Int(client.pointee.endpoint)].identity
        }
        put(arrays.pointee.text + Int(carrier.before.offset), Int(carrier.before.count), out, &at)
        Self.write(number, UnsafeMutableBufferPointer(start: out + at, count: 16))
        at &+= 16
        put(arrays.pointee.text + Int(carrier.after.offset), Int(carrier.after.count), out, &at)
    }

    /// 16 hexadecimal digits.
    private static func write(_ number: UInt64, _ digits: UnsafeMutableBufferPointer<UInt8>) {
        for place in 0..<16 {
            let digit = UInt8(truncatingIfNeeded: number >> UInt64(60 &- place &* 4)) & 15
            digits[place] = digit < 10 ? digit &+ 48 : digit &+ 87
        }
    }

    private static func number(_ digits: Part) -> UInt64? {
        if digits.count != 16 { return nil }
        var number: UInt64 = 0
        for byte in digits {
            switch byte {
            case 48...57: number = number << 4 | UInt64(byte &- 48)
            case 97...102: number = number << 4 | UInt64(byte &- 87)
            default: return nil
            }
        }
        return number
    }
}
