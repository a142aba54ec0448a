import Glibc
import ProxyResources
import Wire

/// Memory a loop needs while it matches and rewrites; nothing in it outlives a call.
struct MatchingSpace: ~Copyable {
    /// The longest target, and so the longest parameter of one.
    static let size = 16384
    var scratch = PatternScratch()
    let text: Bytes = .allocate(capacity: size)

    deinit { text.deallocate() }
}

/// The request at hand: where its path is, without the query.
private struct Asked {
    var bytes: UnsafePointer<UInt8>
    var path: UnsafePointer<UInt8>
    var pathLength: Int
}

extension Engine {
    /// The first rule that takes the request, and by which match; -1 for a match where the rule takes all. Rules and the matches of
    /// each come in order of precedence.
    @inline(__always)
    mutating func matchRule(_ arrays: TableView, _ rules: RuleRun, _ client: Conn, _ bytes: UnsafePointer<UInt8>)
        -> (rule: Int32, match: Int32)
    {
        let asked = Asked(bytes: bytes, path: bytes + parser.head.pathOffset, pathLength: pathLength(bytes))
        if rules.index >= 0 { return indexed(arrays, arrays.pointee.routes.indexes[Int(rules.index)], client, asked) }
        for place in Int(rules.start)..<Int(rules.start &+ rules.count) {
            let run = arrays.pointee.rules[place].matches
            if run.count == 0 { return (Int32(truncatingIfNeeded: place), -1) }
            for index in Int(run.start)..<Int(run.start &+ run.count)
            where matches(arrays, arrays.pointee.matches[index], client, asked) {
                return (Int32(truncatingIfNeeded: place), Int32(truncatingIfNeeded: index))
            }
        }
        return (-1, -1)
    }

    /// The path without its query.
    @inline(__always)
    func pathLength(_ bytes: UnsafePointer<UInt8>) -> Int {
        let path = bytes + parser.head.pathOffset
        guard let query = memchr(path, 63, parser.head.pathLength) else { return parser.head.pathLength }
        return UnsafeRawPointer(path).distance(to: UnsafeRawPointer(query))
    }

    /// Walks down the tree of paths as far as the request's goes, and then looks at the matches that are not in it.
    private mutating func indexed(
        _ arrays: TableView, _ index: RuleIndexEntry, _ client: Conn, _ asked: Asked
    ) -> (rule: Int32, match: Int32) {
        let tables = arrays.pointee.routes
        var best = Int32.max
        var node = tables.nodes[Int(index.root)]
        var place = 0
        while true {
            let isEnd = place == asked.pathLength
            if isEnd && node.exact.count > 0 { consider(arrays, node.exact, client, asked, &best) }
            if node.elements.count > 0 && (isEnd || asked.path[place] == 47) {
                consider(arrays, node.elements, client, asked, &best)
            }
            if node.text.count > 0 { consider(arrays, node.text, client, asked, &best) }
            if isEnd { break }
            let child = self.child(arrays, node, asked.path[place])
            if child < 0 { break }
            node = tables.nodes[Int(child)]
            let length = Int(node.label.count)
            if length > asked.pathLength &- place { break }
            if memcmp(asked.path + place, arrays.pointee.text + Int(node.label.offset), length) != 0 { break }
            place &+= length
        }
        for candidate in Int(index.others.start)..<Int(index.others.start &+ index.others.count) {
            let match = tables.candidates[candidate]
            if match >= best { break }
            if matches(arrays, arrays.pointee.matches[Int(match)], client, asked) {
                best = match
                break
            }
        }
        if best == .max { return (-1, -1) }
        return (arrays.pointee.matches[Int(best)].rule, best)
    }

    /// Takes the first of these matches, whose paths fit, if it comes before the best so far.
    @inline(__always)
    private mutating func consider(
        _ arrays: TableView, _ run: Run, _ client: Conn, _ asked: Asked, _ best: inout Int32
    ) {
        for candidate in Int(run.start)..<Int(run.start &+ run.count) {
            let match = arrays.pointee.routes.candidates[candidate]
            if match >= best { return }
            if restMatches(arrays, arrays.pointee.matches[Int(match)], client, asked.bytes) {
                best = match
                return
            }
        }
    }

    /// The child whose label begins with a byte; -1 when there is none.
    @inline(__always)
    private func child(_ arrays: TableView, _ node: PathNode, _ byte: UInt8) -> Int32 {
        var low = Int(node.children.start)
        var high = low &+ Int(node.children.count)
        while low < high {
            let middle = (low &+ high) >> 1
            let first = arrays.pointee.text[Int(arrays.pointee.routes.nodes[middle].label.offset)]
            if first == byte { return Int32(truncatingIfNeeded: middle) }
            if first < byte { low = middle &+ 1 } else { high = middle }
        }
        return -1
    }

    private mutating func matches(
        _ arrays: TableView, _ match: MatchEntry, _ client: Conn, _ asked: Asked
    ) -> Bool {
        pathMatches(arrays, match, asked) && restMatches(arrays, match, client, asked.bytes)
    }

    private mutating func pathMatches(_ arrays: TableView, _ match: MatchEntry, _ asked: Asked) -> Bool {
        let wanted = arrays.pointee.text + Int(match.path.offset)
        let length = Int(match.path.count)
        switch match.pathKind {
        case .any: return true
        case .exact: if length != asked.pathLength { return false }
        case .elements:
            if length > asked.pathLength { return false }
            if asked.pathLength > length && asked.path[length] != 47 { return false }
        case .text: if length > asked.pathLength { return false }
        case .regex:
            let pattern = arrays.pointee.routes.patterns[Int(match.pattern)]
            return pattern.matches(asked.path, asked.pathLength, &matching.scratch)
        }
        return match.ignoresPathCase ? sameName(asked.path, wanted, length) : memcmp(wanted, asked.path, length) == 0
    }

    /// All but the path.
    @inline(__always)
    private mutating func restMatches(
        _ arrays: TableView, _ match: MatchEntry, _ client: Conn, _ bytes: UnsafePointer<UInt8>
    ) -> Bool {
        let method = Int(match.method.count)
        if method > 0 {
            if method != parser.head.methodLength { return false }
            if memcmp(arrays.pointee.text + Int(match.method.offset), bytes, method) != 0 { return false }
        }
        for place in Int(match.conditions.start)..<Int(match.conditions.start &+ match.conditions.count)
        where !holds(arrays, arrays.pointee.routes.conditions[place], client, bytes) {
            return false
        }
        return true
    }

    private mutating func holds(
        _ arrays: TableView, _ condition: ConditionEntry, _ client: Conn, _ bytes: UnsafePointer<UInt8>
    ) -> Bool {
        switch condition.subject {
        case .header: return headerHolds(arrays, condition, bytes)
        case .query: return queryHolds(arrays, condition, bytes)
        case .method: return textMatches(arrays, condition.text, bytes, parser.head.methodLength)
        case .scheme:
            let scheme: StaticString = isSecure(client) ? "https" : "http"
            return textMatches(arrays, condition.text, scheme.utf8Start, scheme.utf8CodeUnitCount)
        case .authority:
            let length = parser.head.hostLength
            if length > MatchingSpace.size { return false }
            let host = bytes + parser.head.hostOffset
            for place in 0..<length { matching.text[place] = lowerCase(host[place]) }
            return textMatches(arrays, condition.text, matching.text, length)
        case .address:
            for place in Int(condition.ranges.start)..<Int(condition.ranges.start &+ condition.ranges.count) {
                let range = arrays.pointee.routes.ranges[place]
                if client.pointee.remoteAddress & range.mask == range.address { return true }
            }
            return false
        }
    }

    /// Whether any line of the name is like that; or none, where that is asked. Works on any message's head.
    mutating func headerHolds(
        _ arrays: TableView, _ condition: ConditionEntry, _ bytes: UnsafePointer<UInt8>
    ) -> Bool {
        let name = arrays.pointee.text + Int(condition.name.offset)
        let count = Int(condition.name.count)
        for place in 0..<parser.head.lineCount where Int(parser.lines[place].nameLength) == count {
            let line = parser.lines[place]
            if !sameName(bytes + Int(line.offset), name, count) { continue }
            if textMatches(arrays, condition.text, bytes + Int(line.valueOffset), Int(line.valueLength)) {
                return !condition.isInverted
            }
        }
        return condition.isInverted
    }

    /// The first parameter of the name decides.
    private mutating func queryHolds(
        _ arrays: TableView, _ condition: ConditionEntry, _ bytes: UnsafePointer<UInt8>
    ) -> Bool {
        let target = bytes + parser.head.pathOffset
        var place = pathLength(bytes) &+ 1
        var end = parser.head.pathLength
        if place < end, let mark = memchr(target + place, 35, end &- place) {
            end = UnsafeRawPointer(target).distance(to: UnsafeRawPointer(mark))
        }
        let wanted = arrays.pointee.text + Int(condition.name.offset)
        while place < end {
            var stop = place
            var sign = -1
            while stop < end, target[stop] != 38 {
                if target[stop] == 61 && sign < 0 { sign = stop }
                stop &+= 1
            }
            let nameEnd = sign < 0 ? stop : sign
            let name = decoded(target + place, nameEnd &- place)
            if stop > place && name.count == Int(condition.name.count) && memcmp(name.bytes, wanted, name.count) == 0 {
                let value = sign < 0 ? (bytes: target, count: 0) : decoded(target + sign + 1, stop &- sign &- 1)
                return textMatches(arrays, condition.text, value.bytes, value.count)
            }
            place = stop &+ 1
        }
        return false
    }

    /// Text with `%41` as `A`: as it is where there is none of that, else in the matching space.
    private func decoded(_ text: UnsafePointer<UInt8>, _ count: Int) -> (bytes: UnsafePointer<UInt8>, count: Int) {
        if count > MatchingSpace.size || memchr(text, 37, count) == nil { return (text, count) }
        var at = 0
        var place = 0
        while place < count {
            if text[place] == 37, place &+ 2 < count, let high = hexDigit(text[place &+ 1]),
                let low = hexDigit(text[place &+ 2])
            {
                matching.text[at] = high << 4 | low
                place &+= 3
            } else {
                matching.text[at] = text[place]
                place &+= 1
            }
            at &+= 1
        }
        return (UnsafePointer(matching.text), at)
    }

    /// `text` must not stand in the matching space unless it is decoded or in lower case there.
    mutating func textMatches(
        _ arrays: TableView, _ entry: TextEntry, _ text: UnsafePointer<UInt8>, _ count: Int
    ) -> Bool {
        let length = Int(entry.value.count)
        var start = text
        switch entry.kind {
        case .present: return true
        case .regex: return arrays.pointee.routes.patterns[Int(entry.pattern)].matches(text, count, &matching.scratch)
        case .exact: if count != length { return false }
        case .prefix: if count < length { return false }
        case .suffix:
            if count < length { return false }
            start = text + (count &- length)
        }
        let wanted = arrays.pointee.text + Int(entry.value.offset)
        return entry.ignoresCase ? sameName(start, wanted, length) : memcmp(start, wanted, length) == 0
    }

    /// A gateway's virtual host for the Host header, without its port and in any case: the exact name, else the longest suffix.
    func virtualHost(_ arrays: TableView, _ gateway: GatewayEntry, _ bytes: UnsafePointer<UInt8>) -> Int32? {
        let named = requestedHost(bytes)
        let (host, length) = (named.start, named.count)
        if gateway.index.slots.count > 0 { return indexedHost(arrays, gateway.index, host, length) }
        for place in Int(gateway.hosts.start)..<Int(gateway.hosts.start &+ gateway.hosts.count)
        where hostMatches(arrays, arrays.pointee.hosts[place], host, length) {
            return Int32(truncatingIfNeeded: place)
        }
        return nil
    }

    @inline(__always)
    /// The host of the head just parsed, without its port, or a dot at its end.
    func requestedHost(_ bytes: UnsafePointer<UInt8>) -> ByteView {
        var host = bytes + parser.head.hostOffset
        var length = parser.head.hostLength
        if length > 0 && host[0] == 91 {  // [2001:db8::1]:80
            host += 1
            length &-= 1
            if let end = memchr(host, 93, length) {
                length = UnsafeRawPointer(host).distance(to: UnsafeRawPointer(end))
            }
        } else {
            if let colon = memchr(host, 58, length) {
                length = UnsafeRawPointer(host).distance(to: UnsafeRawPointer(colon))
            }
            if length > 0 && host[length - 1] == 46 { length -= 1 }
        }
        return ByteView(start: host, count: length)
    }

    private func hostMatches(
        _ arrays: TableView, _ entry: HostEntry, _ host: UnsafePointer<UInt8>, _ length: Int
    ) -> Bool {
        let name = arrays.pointee.text + Int(entry.name.offset)
        let count = Int(entry.name.count)
        return switch entry.kind {
        case .any: true
        case .exact: count == length && sameName(host, name, count)
        case .suffix: length > count && sameName(host + (length &- count), name, count)
        }
    }

    private func indexedHost(
        _ arrays: TableView, _ index: HostIndexEntry, _ host: UnsafePointer<UInt8>, _ length: Int
    ) -> Int32? {
        var hash = HostHash.start
        var suffix: Int32 = -1
        var place = length
        while place > 0 {
            place &-= 1
            hash = HostHash.add(hash, lowerCase(host[place]))
            // The longest comes last.
            if host[place] == 46 && place > 0 {
                let found = look(arrays, index, hash, .suffix, host, length, length &- place)
                if found >= 0 { suffix = found }
            }
        }
        let exact = look(arrays, index, hash, .exact, host, length, length)
        if exact >= 0 { return exact }
        if suffix >= 0 { return suffix }
        return index.any >= 0 ? index.any : nil
    }

    @inline(__always)
    private func look(
        _ arrays: TableView, _ index: HostIndexEntry, _ hash: UInt64, _ kind: HostKind,
        _ host: UnsafePointer<UInt8>, _ length: Int, _ nameLength: Int
    ) -> Int32 {
        let slots = arrays.pointee.routes.hostSlots + Int(index.slots.start)
        let mask = Int(index.slots.count) &- 1
        var slot = Int(truncatingIfNeeded: hash) & mask
        while slots[slot] >= 0 {
            let entry = arrays.pointee.hosts[Int(slots[slot])]
            if entry.kind == kind && Int(entry.name.count) == nameLength && hostMatches(arrays, entry, host, length) {
                return slots[slot]
            }
            slot = (slot &+ 1) & mask
        }
        return -1
    }
}

@inline(__always)
func lowerCase(_ byte: UInt8) -> UInt8 { (byte &- 65) < 26 ? byte | 0x20 : byte }

@inline(__always)
func hexDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 48...57: byte &- 48
    case 65...70: byte &- 55
    case 97...102: byte &- 87
    default: nil
    }
}
