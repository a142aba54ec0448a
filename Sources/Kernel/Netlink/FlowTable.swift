import CKernel
import Glibc

/// A flow the kernel tracks: where the first packet went, and who answers.
package struct TrackedFlow: Sendable, Hashable {
    package var source: IPv4Address
    package var sourcePort: UInt16
    package var destination: IPv4Address
    package var destinationPort: UInt16
    package var answerer: IPv4Address
    package var answererPort: UInt16
}

/// Flows of UDP, for a socket of `NETLINK_NETFILTER`. Numbers from linux/netfilter/nfnetlink_conntrack.h.
extension NetlinkSocket {
    private static let subsystem: UInt16 = 1 << 8  // NFNL_SUBSYS_CTNETLINK
    private static let getFlow: UInt16 = 1  // IPCTNL_MSG_CT_GET
    private static let deleteFlow: UInt16 = 2  // IPCTNL_MSG_CT_DELETE
    private static let udp: UInt8 = 17

    package mutating func udpFlows() throws(SystemCallFailed) -> [TrackedFlow] {
        var message = NetlinkMessage(type: Self.subsystem | Self.getFlow, flags: NLM_F_REQUEST | NLM_F_DUMP)
        message.append(NetfilterHeader(family: UInt8(AF_INET)))
        return try ask(message, "list flows").compactMap { reply in
            let attributes = reply.attributes(after: MemoryLayout<NetfilterHeader>.size)
            guard let there = attributes.nested(1).flatMap(Self.ends),
                let back = attributes.nested(2).flatMap(Self.ends),
                there.transport == Self.udp
            else { return nil }
            return TrackedFlow(
                source: there.source, sourcePort: there.sourcePort, destination: there.destination,
                destinationPort: there.destinationPort, answerer: back.source, answererPort: back.sourcePort)
        }
    }

    /// Forgets a UDP flow: its next packet meets the rules again. Gone already is fine.
    package mutating func deleteUDPFlow(_ flow: TrackedFlow) throws(SystemCallFailed) {
        var message = NetlinkMessage(type: Self.subsystem | Self.deleteFlow, flags: NLM_F_REQUEST | NLM_F_ACK)
        message.append(NetfilterHeader(family: UInt8(AF_INET)))
        message.nest(1 | Int(NLA_F_NESTED)) { tuple in
            tuple.nest(1 | Int(NLA_F_NESTED)) { addresses in
                addresses.attribute(1, bytes: flow.source.octets)
                addresses.attribute(2, bytes: flow.destination.octets)
            }
            tuple.nest(2 | Int(NLA_F_NESTED)) { ports in
                ports.attribute(1, Self.udp)
                ports.attribute(2, flow.sourcePort.bigEndian)
                ports.attribute(3, flow.destinationPort.bigEndian)
            }
        }
        do throws(SystemCallFailed) {
            try ask(message, "delete flow to \(flow.destination):\(flow.destinationPort)")
        } catch {
            if error.code != ENOENT { throw error }
        }
    }

    private struct Ends {
        var source: IPv4Address, destination: IPv4Address
        var transport: UInt8, sourcePort: UInt16, destinationPort: UInt16
    }

    private static func ends(_ tuple: NetlinkAttributes) -> Ends? {
        guard let addresses = tuple.nested(1), let ports = tuple.nested(2),
            let source = addresses.address(1), let destination = addresses.address(2),
            let transport = ports.number(1, as: UInt8.self)
        else { return nil }
        return Ends(
            source: source, destination: destination, transport: transport,
            sourcePort: ports.number(2, as: UInt16.self).map(UInt16.init(bigEndian:)) ?? 0,
            destinationPort: ports.number(3, as: UInt16.self).map(UInt16.init(bigEndian:)) ?? 0)
    }
}
