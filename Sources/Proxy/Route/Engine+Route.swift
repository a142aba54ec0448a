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
        // The one the request began with, which may have waited since.
        guard let table = client.pointee.table ?? table else { return refused(choice, .noRoute, 503) }
        let arrays = table.pointee.arrays
        var rules = RuleRun()
        var fallback: Int32 = -1
        if client.pointee.side == .outbound {
            let service = arrays.pointee.byAddress.find(client.pointee.originalAddress, client.pointee.originalPort)
            if service < 0 {
                let pod = arrays.pointee.byPod.find(client.pointee.originalAddress, client.pointee.originalPort)
                if pod < 0 { return refused(choice, arrays.pointee.demand.isOn ? .unresolved : .noRoute, 503) }
                choice.endpoint = table.pointee.slots[Int(pod)]
                choice.service = arrays.pointee.endpoints[Int(pod)].label
                return choice
            }
            let entry = arrays.pointee.services[Int(service)]
            rules = entry.rules
            choice.service = entry.label
            fallback = entry.defaultBackend
        } else {
            let place = listeners[Int(client.pointee.listener)].gatewayPlace
            guard place >= 0, let host = virtualHost(arrays, arrays.pointee.gateways[Int(place)], bytes) else {
                return refused(choice, .noRoute, 404)
            }
            rules = arrays.pointee.hosts[Int(host)].rules
        }
        let taken = matchRule(arrays, rules, client, bytes)
        guard taken.rule >= 0 else {
            if fallback >= 0 {
                choice.backend = fallback
                return choice
            }
            return client.pointee.side == .gateway ? refused(choice, .noRoute, 404) : refused(choice, .noBackend, 503)
        }
        choice.rule = taken.rule
        choice.match = taken.match
        let entry = arrays.pointee.rules[Int(taken.rule)]
        if entry.directStatus > 0 {
            if entry.isNoRoute { return refused(choice, .noRoute, Int(entry.directStatus)) }
            // With actions or limits there may be more to it: `admit` answers.
            if entry.actions < 0 && entry.effort < 0 { choice.status = Int(entry.directStatus) }
            return choice
        }
        if entry.actions >= 0 && arrays.pointee.routes.actions[Int(entry.actions)].redirect >= 0 { return choice }
        let picked = pickBackend(arrays, entry)
        if picked.backend < 0 {
            return refused(choice, .noBackend, picked.isUnresolved || entry.totalWeight == 0 ? 500 : 503)
        }
        choice.backend = picked.backend
        choice.weight = picked.weight
        choice.service = arrays.pointee.backends[Int(picked.backend)].label
        return choice
    }

    private func refused(_ choice: RouteChoice, _ flag: ResponseFlag, _ status: Int) -> RouteChoice {
        var choice = choice
        choice.flag = flag
        choice.status = status
        return choice
    }

    /// The first line with a name, which is given in lower case.
    func findLine(_ bytes: UnsafePointer<UInt8>, _ name: UnsafePointer<UInt8>, _ count: Int) -> Int? {
        for place in 0..<parser.head.lineCount where Int(parser.lines[place].nameLength) == count {
            if sameName(bytes + Int(parser.lines[place].offset), name, count) { return place }
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
