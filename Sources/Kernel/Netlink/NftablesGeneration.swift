import CKernel
import Glibc

extension NetlinkSocket {
    /// The number of the namespace's nftables rules: each transaction, whoever makes it, adds one.
    ///
    /// For a socket of `NETLINK_NETFILTER`. Numbers from linux/netfilter/nf_tables.h.
    package mutating func nftablesGeneration() throws(SystemCallFailed) -> UInt32 {
        let subsystem: UInt16 = 10  // NFNL_SUBSYS_NFTABLES
        let getGeneration: UInt16 = 16
        let newGeneration: UInt16 = 15
        let identifier = 1  // NFTA_GEN_ID
        var message = NetlinkMessage(type: subsystem << 8 | getGeneration, flags: NLM_F_REQUEST | NLM_F_ACK)
        message.append(NetfilterHeader())
        let replies = try ask(message, "read nftables generation")
        for reply in replies where reply.type == subsystem << 8 | newGeneration {
            let attributes = reply.attributes(after: MemoryLayout<NetfilterHeader>.size)
            if let number = attributes.number(identifier) { return UInt32(bigEndian: number) }
        }
        throw SystemCallFailed("netlink", code: EBADMSG, on: "nftables generation")
    }
}

/// `struct nfgenmsg`: family, version, resource.
struct NetfilterHeader: BitwiseCopyable {
    var family: UInt8 = 0
    var version: UInt8 = 0
    var resource: UInt16 = 0
}
