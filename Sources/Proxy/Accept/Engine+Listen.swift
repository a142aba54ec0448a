import CKernel
import Glibc
import Loop
import ProxyResources

extension Engine {
    /// Starts to accept from a descriptor.
    mutating func listen(_ listening: Listening) {
        guard let door = open(listening.descriptor, .listener) else { return }
        // Places are not used again: connections accepted earlier find their routes by them.
        door.pointee.listener = Int16(truncatingIfNeeded: listeners.count)
        listeners.append(listening)
        if !poller.addListener(listening.descriptor, key: key(door)) {
            log("listener on port \(listening.port): the poller does not take it: \(String(cString: strerror(errno)))")
        }
    }

    /// Closes the gateway's listeners no longer wanted, opens new ones, and finds each its routes in the current table.
    ///
    /// A listener is its address, port and the descriptor it inherits; its name may change while it is open. Closing comes first: an
    /// inherited descriptor can be in the poller once only.
    mutating func follow(_ gateways: [GatewayListener]) {
        if isLeaving {
            followLeaving(gateways)
            return
        }
        for place in listeners.indices where listeners[place].side == .gateway && listeners[place].descriptor >= 0 {
            if !gateways.contains(where: { listeners[place].serves($0) }) { stopListening(place) }
        }
        let isFirst = takesHanded
        takesHanded = false
        for (place, gateway) in gateways.enumerated() {
            if update(gateway, Int32(place)) { continue }
            if isFirst, takeHanded(gateway, Int32(place)) { continue }
            var descriptor: CInt = -1
            let isInherited = inherited[gateway.inherited] != nil
            if let passed = inherited[gateway.inherited] {
                descriptor = passed
            } else if let port = UInt16(exactly: gateway.port) {
                descriptor = weft_listen_ipv4(IPv4(gateway.address)?.value ?? 0, port, 1, 1024)
            }
            if descriptor < 0 {
                log("gateway listener \(gateway.name): port \(gateway.port): \(String(cString: strerror(-descriptor)))")
                continue
            }
            listen(
                Listening(
                    descriptor: descriptor, side: .gateway, gateway: gateway.name, address: gateway.address,
                    port: UInt16(clamping: gateway.port), gatewayPlace: Int32(place), isShared: isInherited,
                    inherited: gateway.inherited))
        }
    }

    /// Gives a listener that is open its routes; it is open more than once when this loop took over from several.
    private mutating func update(_ gateway: GatewayListener, _ gatewayPlace: Int32) -> Bool {
        var isOpen = false
        for place in listeners.indices where listeners[place].descriptor >= 0 && listeners[place].serves(gateway) {
            listeners[place].gateway = gateway.name
            listeners[place].gatewayPlace = gatewayPlace
            isOpen = true
        }
        return isOpen
    }

    /// Goes on listening at this loop's share of the sockets the process before this one had for it.
    private mutating func takeHanded(_ gateway: GatewayListener, _ gatewayPlace: Int32) -> Bool {
        if inherited.isEmpty || inherited[gateway.inherited] != nil { return false }
        let key = HandedSockets.key("gateway", gateway.address, gateway.port)
        let taken = HandedSockets.share(of: key, in: inherited, loop: Int(loopNumber), of: loops.count)
        for descriptor in taken {
            listen(
                Listening(
                    descriptor: descriptor, side: .gateway, gateway: gateway.name, address: gateway.address,
                    port: UInt16(clamping: gateway.port), gatewayPlace: gatewayPlace, inherited: gateway.inherited))
        }
        return !taken.isEmpty
    }

    mutating func stopListening(_ place: Int) {
        let descriptor = listeners[place].descriptor
        for index in 0..<Int(top)
        where slab[index].role == .listener && slab[index].fd == descriptor && Int(slab[index].listener) == place {
            let door = slab + index
            poller.remove(descriptor)
            if !listeners[place].isShared { _ = Glibc.close(descriptor) }
            door.pointee.role = .free
            door.pointee.generation &+= 1
            door.pointee.next = freeHead
            freeHead = door.pointee.index
        }
        // Connections accepted here keep the place; without routes their next request gets 404.
        listeners[place].descriptor = -1
        listeners[place].gatewayPlace = -1
    }
}

extension Listening {
    func serves(_ gateway: GatewayListener) -> Bool {
        side == .gateway && port == UInt16(clamping: gateway.port) && address == gateway.address
            && inherited == gateway.inherited
    }
}
