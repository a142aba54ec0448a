import CKernel
import Glibc

/// A route of the main table.
package struct Route: Sendable, Hashable {
    /// `unreachable` answers with ICMP, or EHOSTUNREACH to a local caller, at once.
    package enum Way: Sendable, Hashable { case link(Int32), gateway(IPv4Address, link: Int32), unreachable }
    package var destination: IPv4Range
    package var way: Way
    /// The address a socket without one gets.
    package var source: IPv4Address?
    package init(_ destination: IPv4Range, _ way: Way, source: IPv4Address? = nil) {
        self.destination = destination
        self.way = way
        self.source = source
    }
}

/// An address on a link.
package struct LinkAddress: Sendable, Hashable {
    package var link: Int32
    package var address: IPv4Range
}

extension NetlinkSocket {
    private static let put = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE

    /// Adds an address; there already is fine. No route comes with it: routes are said one by one.
    package mutating func addAddress(_ address: IPv4Range, to link: Link) throws(SystemCallFailed) {
        var info = ifaddrmsg()
        info.ifa_family = UInt8(AF_INET)
        info.ifa_prefixlen = UInt8(address.prefixLength)
        info.ifa_index = UInt32(link.index)
        var message = NetlinkMessage(type: UInt16(RTM_NEWADDR), flags: Self.put)
        message.append(info)
        message.attribute(IFA_LOCAL, bytes: address.address.octets)
        message.attribute(IFA_ADDRESS, bytes: address.address.octets)
        message.attribute(IFA_FLAGS, UInt32(0x200))  // IFA_F_NOPREFIXROUTE
        try ask(message, "add address \(address) to \(link.name)")
    }

    package mutating func addresses() throws(SystemCallFailed) -> [LinkAddress] {
        var info = ifaddrmsg()
        info.ifa_family = UInt8(AF_INET)
        var message = NetlinkMessage(type: UInt16(RTM_GETADDR), flags: NLM_F_REQUEST | NLM_F_DUMP)
        message.append(info)
        return try ask(message, "list addresses").compactMap { reply in
            guard Int(reply.type) == RTM_NEWADDR, let info = reply.load(ifaddrmsg.self) else { return nil }
            let attributes = reply.attributes(after: MemoryLayout<ifaddrmsg>.size)
            guard let address = attributes.address(IFA_LOCAL), info.ifa_prefixlen <= 32 else { return nil }
            return LinkAddress(
                link: Int32(bitPattern: info.ifa_index),
                address: IPv4Range(address, prefixLength: Int(info.ifa_prefixlen)))
        }
    }

    /// Adds a route, or replaces the one to the same destination.
    package mutating func putRoute(_ route: Route) throws(SystemCallFailed) {
        try ask(message(UInt16(RTM_NEWROUTE), Self.put, route), "add route to \(route.destination)")
    }

    /// Not there is fine.
    package mutating func deleteRoute(to destination: IPv4Range) throws(SystemCallFailed) {
        var info = rtmsg()
        info.rtm_family = UInt8(AF_INET)
        info.rtm_dst_len = UInt8(destination.prefixLength)
        info.rtm_table = UInt8(RT_TABLE_MAIN.rawValue)
        info.rtm_scope = UInt8(RT_SCOPE_NOWHERE.rawValue)  // any
        var message = NetlinkMessage(type: UInt16(RTM_DELROUTE), flags: NLM_F_REQUEST | NLM_F_ACK)
        message.append(info)
        message.attribute(Int(RTA_DST.rawValue), bytes: destination.base.octets)
        do throws(SystemCallFailed) { try ask(message, "delete route to \(destination)") } catch {
            if error.code != ESRCH { throw error }
        }
    }

    private func message(_ type: UInt16, _ flags: Int32, _ route: Route) -> NetlinkMessage {
        var info = rtmsg()
        info.rtm_family = UInt8(AF_INET)
        info.rtm_dst_len = UInt8(route.destination.prefixLength)
        info.rtm_table = UInt8(RT_TABLE_MAIN.rawValue)
        info.rtm_protocol = UInt8(RTPROT_STATIC)
        switch route.way {
        case .link:
            info.rtm_type = UInt8(RTN_UNICAST)
            info.rtm_scope = UInt8(RT_SCOPE_LINK.rawValue)
        case .gateway:
            info.rtm_type = UInt8(RTN_UNICAST)
            info.rtm_flags = UInt32(RTNH_F_ONLINK)
        case .unreachable:
            info.rtm_type = UInt8(RTN_UNREACHABLE)
        }
        var message = NetlinkMessage(type: type, flags: flags)
        message.append(info)
        if route.destination.prefixLength > 0 {
            message.attribute(Int(RTA_DST.rawValue), bytes: route.destination.base.octets)
        }
        switch route.way {
        case .link(let link): message.attribute(Int(RTA_OIF.rawValue), link)
        case .gateway(let gateway, let link):
            message.attribute(Int(RTA_GATEWAY.rawValue), bytes: gateway.octets)
            message.attribute(Int(RTA_OIF.rawValue), link)
        case .unreachable: break
        }
        if let source = route.source { message.attribute(Int(RTA_PREFSRC.rawValue), bytes: source.octets) }
        return message
    }

    /// Says which hardware address an address has, for good: nobody needs to ask by ARP.
    package mutating func putNeighbour(
        _ address: IPv4Address, _ hardwareAddress: MACAddress, on link: Link
    ) throws(SystemCallFailed) {
        var info = ndmsg()
        info.ndm_family = UInt8(AF_INET)
        info.ndm_ifindex = link.index
        info.ndm_state = UInt16(NUD_PERMANENT)
        var message = NetlinkMessage(type: UInt16(RTM_NEWNEIGH), flags: Self.put)
        message.append(info)
        message.attribute(NDA_DST, bytes: address.octets)
        message.attribute(NDA_LLADDR, bytes: hardwareAddress.octets)
        try ask(message, "add neighbour \(address) on \(link.name)")
    }

    /// Not there is fine.
    package mutating func deleteNeighbour(_ address: IPv4Address, on link: Link) throws(SystemCallFailed) {
        var info = ndmsg()
        info.ndm_family = UInt8(AF_INET)
        info.ndm_ifindex = link.index
        var message = NetlinkMessage(type: UInt16(RTM_DELNEIGH), flags: NLM_F_REQUEST | NLM_F_ACK)
        message.append(info)
        message.attribute(NDA_DST, bytes: address.octets)
        do throws(SystemCallFailed) { try ask(message, "delete neighbour \(address) on \(link.name)") } catch {
            if error.code != ENOENT { throw error }
        }
    }
}
