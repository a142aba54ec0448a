import Glibc
import Loop
import ProxyResources
import Wire

/// Where a request goes, before an endpoint is chosen.
struct RouteChoice {
    /// -1 when no rule applies and the default is taken.
    var rule: Int32 = -1
    /// The match that chose the rule; -1 when the rule takes every request.
    var match: Int32 = -1
    /// The backend's entry among the rule's weights.
    var weight: Int32 = -1
    var backend: Int32 = -1
    /// A pod called by its own address, or the app in this pod.
    var endpoint: Int32 = -1
    var service: UInt32 = 0
    var flag = ResponseFlag.none
    /// With `flag` or a direct response.
    var status = 0
}

extension Engine {
    /// Routes the request whose head was just parsed at `bytes`.
    mutating func route(_ client: Conn, _ bytes: UnsafePointer<UInt8>) -> RouteChoice {
        var choice = RouteChoice()
        if client.pointee.side == .inbound {
            choice.service = inboundPort(client.pointee.originalPort)?.label ?? 0
            choice.endpoint = localEndpoint(client.pointee.originalAddress, client.pointee.originalPort)
            return choice
        }
        guard let table else { return refused(choice, .noRoute, 503) }
        let arrays = table.pointee.arrays
        var rules = Run()
        var fallback: Int32 = -1
        if client.pointee.side == .outbound {
            let service = arrays.byAddress.find(client.pointee.originalAddress, client.pointee.originalPort)
            if service < 0 {
                let pod = arrays.byPod.find(client.pointee.originalAddress, client.pointee.originalPort)
                if pod < 0 { return refused(choice, .noRoute, 503) }
                choice.endpoint = table.pointee.slots[Int(pod)]
                choice.service = arrays.endpoints[Int(pod)].label
                return choice
            }
            let entry = arrays.services[Int(service)]
            rules = entry.rules
            choice.service = entry.label
            fallback = entry.defaultBackend
        } else {
            let place = listeners[Int(client.pointee.listener)].gatewayPlace
            guard place >= 0, let found = virtualHost(arrays, arrays.gateways[Int(place)].hosts, bytes) else {
                return refused(choice, .noRoute, 404)
            }
            rules = found
        }
        guard let rule = matchRule(arrays, rules, bytes) else {
            if fallback >= 0 {
                choice.backend = fallback
                return choice
            }
            return client.pointee.side == .gateway ? refused(choice, .noRoute, 404) : refused(choice, .noBackend, 503)
        }
        choice.rule = rule
        let entry = arrays.rules[Int(rule)]
        if entry.directStatus > 0 {
            choice.status = Int(entry.directStatus)
            return choice
        }
        let picked = pickBackend(arrays, entry)
        if picked.backend < 0 {
            return refused(choice, .noBackend, picked.isUnresolved || entry.totalWeight == 0 ? 500 : 503)
        }
        choice.backend = picked.backend
        choice.service = arrays.backends[Int(picked.backend)].label
        return choice
    }

    private func refused(_ choice: RouteChoice, _ flag: ResponseFlag, _ status: Int) -> RouteChoice {
        var choice = choice
        choice.flag = flag
        choice.status = status
        return choice
    }

    /// The first rule that matches; rules come in order of precedence.
    @inline(__always)
    func matchRule(_ arrays: TableArrays, _ rules: Run, _ bytes: UnsafePointer<UInt8>) -> Int32? {
        let path = bytes + parser.head.pathOffset
        var pathLength = parser.head.pathLength
        if let query = memchr(path, 63, pathLength) {
            pathLength = UnsafeRawPointer(path).distance(to: UnsafeRawPointer(query))
        }
        for place in Int(rules.start)..<Int(rules.start &+ rules.count) {
            let run = arrays.rules[place].matches
            if run.count == 0 { return Int32(place) }
            for index in Int(run.start)..<Int(run.start &+ run.count)
            where matches(arrays, arrays.matches[index], bytes, path, pathLength) {
                return Int32(place)
            }
        }
        return nil
    }

    private func matches(
        _ arrays: TableArrays, _ match: MatchEntry, _ bytes: UnsafePointer<UInt8>, _ path: UnsafePointer<UInt8>,
        _ pathLength: Int
    ) -> Bool {
        let wanted = arrays.text + Int(match.path.offset)
        let length = Int(match.path.count)
        switch match.pathKind {
        case .any: break
        case .exact: if length != pathLength || memcmp(wanted, path, length) != 0 { return false }
        case .elements:
            if length > pathLength || memcmp(wanted, path, length) != 0 { return false }
            if pathLength > length && path[length] != 47 { return false }
        case .text: if length > pathLength || memcmp(wanted, path, length) != 0 { return false }
        }
        if match.method.count > 0 {
            let method = Int(match.method.count)
            if method != parser.head.methodLength || memcmp(arrays.text + Int(match.method.offset), bytes, method) != 0
            {
                return false
            }
        }
        for place in Int(match.headers.start)..<Int(match.headers.start &+ match.headers.count)
        where !headerMatches(arrays, arrays.headerMatches[place], bytes) {
            return false
        }
        return true
    }

    private func headerMatches(_ arrays: TableArrays, _ match: HeaderMatchEntry, _ bytes: UnsafePointer<UInt8>) -> Bool
    {
        guard let line = findLine(bytes, arrays.text + Int(match.name.offset), Int(match.name.count)) else {
            return false
        }
        let found = parser.lines[line]
        let value = bytes + Int(found.valueOffset)
        let length = Int(match.value.count)
        switch match.kind {
        case .present: return true
        case .exact:
            return Int(found.valueLength) == length && memcmp(value, arrays.text + Int(match.value.offset), length) == 0
        case .prefix:
            return Int(found.valueLength) >= length && memcmp(value, arrays.text + Int(match.value.offset), length) == 0
        case .suffix, .regex: return false
        }
    }

    /// The first line with a name, which is given in lower case.
    func findLine(_ bytes: UnsafePointer<UInt8>, _ name: UnsafePointer<UInt8>, _ count: Int) -> Int? {
        for place in 0..<parser.head.lineCount where Int(parser.lines[place].nameLength) == count {
            if sameName(bytes + Int(parser.lines[place].offset), name, count) { return place }
        }
        return nil
    }

    /// A gateway's virtual host for the Host header, without its port and in any case.
    private func virtualHost(_ arrays: TableArrays, _ hosts: Run, _ bytes: UnsafePointer<UInt8>) -> Run? {
        let host = bytes + parser.head.hostOffset
        var length = parser.head.hostLength
        if let colon = memchr(host, 58, length) {
            length = UnsafeRawPointer(host).distance(to: UnsafeRawPointer(colon))
        }
        if length > 0 && host[length - 1] == 46 { length -= 1 }
        for place in Int(hosts.start)..<Int(hosts.start &+ hosts.count) {
            let entry = arrays.hosts[place]
            let name = arrays.text + Int(entry.name.offset)
            let count = Int(entry.name.count)
            switch entry.kind {
            case .any: return entry.rules
            case .exact: if count == length && sameName(host, name, count) { return entry.rules }
            case .suffix: if length > count && sameName(host + (length - count), name, count) { return entry.rules }
            }
        }
        return nil
    }
}

/// Compares with a lower-case name, whatever the case of the other.
@inline(__always)
func sameName(_ bytes: UnsafePointer<UInt8>, _ name: UnsafePointer<UInt8>, _ count: Int) -> Bool {
    for place in 0..<count {
        let byte = bytes[place]
        let lower = (byte &- 65) < 26 ? byte | 0x20 : byte
        if lower != name[place] { return false }
    }
    return true
}
