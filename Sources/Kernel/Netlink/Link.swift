import CKernel
import Glibc

/// A network interface.
package struct Link: Sendable, Hashable {
    package var index: Int32
    package var name: String
    package var kind: String?  // `veth`, `bridge`; nil for loopback and hardware
    package var isUp: Bool
    package var master: Int32?
    package var hardwareAddress: MACAddress?
}

extension NetlinkSocket {
    private static let change = NLM_F_REQUEST | NLM_F_ACK
    private static let create = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL

    package mutating func links() throws(SystemCallFailed) -> [Link] {
        var message = NetlinkMessage(type: UInt16(RTM_GETLINK), flags: NLM_F_REQUEST | NLM_F_DUMP)
        message.append(ifinfomsg())
        return try ask(message, "list links").compactMap(Link.init)
    }

    /// - Returns: `nil` when there is no link of that name.
    package mutating func link(named name: String) throws(SystemCallFailed) -> Link? {
        var message = NetlinkMessage(type: UInt16(RTM_GETLINK), flags: Self.change)
        message.append(ifinfomsg())
        message.attribute(IFLA_IFNAME, text: name)
        do throws(SystemCallFailed) {
            return try ask(message, "look up link \(name)").compactMap(Link.init).first
        } catch {
            if error.code == ENODEV { return nil }
            throw error
        }
    }

    package mutating func requireLink(named name: String) throws(SystemCallFailed) -> Link {
        guard let link = try link(named: name) else {
            throw SystemCallFailed("netlink", code: ENODEV, on: "link \(name)")
        }
        return link
    }

    package mutating func createBridge(_ name: String, hardwareAddress: MACAddress) throws(SystemCallFailed) {
        var message = NetlinkMessage(type: UInt16(RTM_NEWLINK), flags: Self.create)
        message.append(ifinfomsg())
        message.attribute(IFLA_IFNAME, text: name)
        message.attribute(IFLA_ADDRESS, bytes: hardwareAddress.octets)
        message.nest(IFLA_LINKINFO) { $0.attribute(IFLA_INFO_KIND, text: "bridge") }
        try ask(message, "create bridge \(name)")
    }

    /// Makes a pair of links, one here and one in the namespace `peerNamespace` (an open descriptor) stands for.
    package mutating func createVeth(
        _ name: String, peer: String, peerHardwareAddress: MACAddress, peerNamespace: borrowing OwnedDescriptor
    ) throws(SystemCallFailed) {
        let namespace = UInt32(peerNamespace.number)
        var message = NetlinkMessage(type: UInt16(RTM_NEWLINK), flags: Self.create)
        message.append(ifinfomsg())
        message.attribute(IFLA_IFNAME, text: name)
        message.nest(IFLA_LINKINFO) { info in
            info.attribute(IFLA_INFO_KIND, text: "veth")
            info.nest(IFLA_INFO_DATA) { data in
                data.nest(VETH_INFO_PEER) { other in
                    other.append(ifinfomsg())
                    other.attribute(IFLA_IFNAME, text: peer)
                    other.attribute(IFLA_ADDRESS, bytes: peerHardwareAddress.octets)
                    other.attribute(IFLA_NET_NS_FD, namespace)
                }
            }
        }
        try ask(message, "create veth \(name) with peer \(peer)")
    }

    package mutating func setUp(_ link: Link) throws(SystemCallFailed) {
        let up: UInt32 = 1  // IFF_UP
        var info = ifinfomsg()
        info.ifi_index = link.index
        info.ifi_flags = up
        info.ifi_change = up
        var message = NetlinkMessage(type: UInt16(RTM_NEWLINK), flags: Self.change)
        message.append(info)
        try ask(message, "set link \(link.name) up")
    }

    package mutating func setMaster(_ link: Link, _ bridge: Link) throws(SystemCallFailed) {
        var info = ifinfomsg()
        info.ifi_index = link.index
        var message = NetlinkMessage(type: UInt16(RTM_NEWLINK), flags: Self.change)
        message.append(info)
        message.attribute(IFLA_MASTER, bridge.index)
        try ask(message, "put link \(link.name) into \(bridge.name)")
    }

    /// Not there is fine. A veth's other end goes with it.
    package mutating func deleteLink(named name: String) throws(SystemCallFailed) {
        var message = NetlinkMessage(type: UInt16(RTM_DELLINK), flags: Self.change)
        message.append(ifinfomsg())
        message.attribute(IFLA_IFNAME, text: name)
        do throws(SystemCallFailed) { try ask(message, "delete link \(name)") } catch {
            if error.code != ENODEV { throw error }
        }
    }
}

extension Link {
    fileprivate init?(_ reply: NetlinkReply) {
        guard Int(reply.type) == RTM_NEWLINK, let info = reply.load(ifinfomsg.self) else { return nil }
        let attributes = reply.attributes(after: MemoryLayout<ifinfomsg>.size)
        index = info.ifi_index
        isUp = info.ifi_flags & 1 != 0
        name = attributes.text(IFLA_IFNAME) ?? ""
        kind = attributes.nested(IFLA_LINKINFO)?.text(IFLA_INFO_KIND)
        master = attributes.number(IFLA_MASTER, as: Int32.self)
        hardwareAddress = attributes.bytes(IFLA_ADDRESS).flatMap(MACAddress.init(octets:))
    }
}
