import Glibc
import ProxyResources

/// Listening sockets on their way from one process of a proxy to the next, by names that can stand in LISTEN_FDNAMES.
///
/// A loop's own sockets are `outbound/0.0.0.0/15001#1.0`: what for, where, the loop's number, and a number among the loop's. The names
/// others gave (a gateway's, from the node) have no `#` and go on as they are.
enum HandedSockets {
    static func key(_ purpose: String, _ address: String, _ port: Int) -> String {
        "\(purpose)/\(address.isEmpty ? "0.0.0.0" : address)/\(port)"
    }

    static func isLoops(_ name: String) -> Bool { name.contains("#") }

    /// A loop's share of what was handed on for one place. With fewer loops than before each takes more, so that none is left alone:
    /// connections wait at each socket that listens.
    static func share(of key: String, in handed: [String: CInt], loop: Int, of loops: Int) -> [CInt] {
        handed.compactMap { name, descriptor -> (Int, String, CInt)? in
            guard name.hasPrefix(key + "#"), let number = Int(name.dropFirst(key.count + 1).prefix { $0 != "." }),
                number % max(1, loops) == loop
            else { return nil }
            return (number, name, descriptor)
        }.sorted { ($0.0, $0.1) < ($1.0, $1.1) }.map(\.2)
    }
}

extension Engine {
    /// What this loop accepts at, named for the next process.
    func listeningSockets() -> [(name: String, descriptor: CInt)] {
        var found: [(name: String, descriptor: CInt)] = []
        for listening in listeners where listening.descriptor >= 0 {
            if listening.isShared {
                found.append((listening.inherited, listening.descriptor))
            } else {
                found.append(("\(listening.handedKey)#\(loopNumber).\(found.count)", listening.descriptor))
            }
        }
        return found
    }

    /// From now on the next process accepts. The sockets stay open there.
    mutating func stopAccepting() {
        isLeaving = true
        for place in listeners.indices where listeners[place].descriptor >= 0 {
            let gatewayPlace = listeners[place].gatewayPlace
            takeWaiting(at: place)
            stopListening(place)
            listeners[place].gatewayPlace = gatewayPlace
        }
    }

    /// Finds connections that are still here the routes of a configuration that came after the listeners were left.
    mutating func followLeaving(_ gateways: [GatewayListener]) {
        for place in listeners.indices where listeners[place].side == .gateway {
            let found = gateways.firstIndex { listeners[place].serves($0) }
            listeners[place].gatewayPlace = Int32(found ?? -1)
        }
    }
}

extension Listening {
    var handedKey: String { HandedSockets.key("\(side)", address, Int(port)) }
}
