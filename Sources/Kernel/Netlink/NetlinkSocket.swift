import CKernel
import Glibc

/// A netlink socket of one network namespace: requests out, answers back, one at a time.
package struct NetlinkSocket: ~Copyable {
    private let descriptor: OwnedDescriptor
    private var sequence: UInt32 = 0
    private let place: String

    /// - Parameter family: `NETLINK_ROUTE` or `NETLINK_NETFILTER`.
    /// - Parameter path: a namespace's path; `nil` for the namespace the process is in.
    package init(_ family: CInt = NETLINK_ROUTE, inNamespace path: String?) throws(SystemCallFailed) {
        place = path.map { " in \($0)" } ?? ""
        descriptor = try NamespaceSocket.open(AF_NETLINK, CInt(SOCK_RAW.rawValue), family, inNamespace: path)
        for option in [NETLINK_EXT_ACK, NETLINK_CAP_ACK] {
            var on: CInt = 1
            setsockopt(descriptor.number, SOL_NETLINK, option, &on, socklen_t(MemoryLayout<CInt>.size))
        }
    }

    /// Sends a request and waits until the kernel has done it.
    /// - Parameter what: names the request in an error: `add route 10.244.2.0/24`.
    @discardableResult
    package mutating func ask(_ message: NetlinkMessage, _ what: @autoclosure () -> String) throws(SystemCallFailed)
        -> [NetlinkReply]
    {
        // A dump the kernel's tables changed under is inconsistent: the kernel says so, and we ask again.
        for _ in 0..<8 {
            let answer = try exchange(message, what())
            if !answer.interrupted { return answer.replies }
        }
        throw SystemCallFailed("netlink", code: EAGAIN, on: what() + place)
    }

    private mutating func exchange(
        _ message: NetlinkMessage, _ what: String
    ) throws(SystemCallFailed) -> (replies: [NetlinkReply], interrupted: Bool) {
        sequence &+= 1
        let request = message.finished(sequence: sequence)
        let sent = request.withUnsafeBytes { Glibc.send(descriptor.number, $0.baseAddress, $0.count, 0) }
        if sent != request.count { throw SystemCallFailed("netlink send", code: errno, on: what + place) }

        var replies: [NetlinkReply] = []
        var interrupted = false
        var space = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = try receive(into: &space, what)
            var offset = 0
            while offset + NetlinkMessage.headerSize <= count {
                let header = space.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: nlmsghdr.self) }
                let length = Int(header.nlmsg_len)
                guard length >= NetlinkMessage.headerSize, offset + length <= count else { break }
                let payload = Array(space[(offset + NetlinkMessage.headerSize)..<(offset + length)])
                offset += (length + 3) & ~3
                guard header.nlmsg_seq == sequence else { continue }  // left by a request that failed half way
                if Int32(header.nlmsg_flags) & NLM_F_DUMP_INTR != 0 { interrupted = true }
                let reply = NetlinkReply(type: header.nlmsg_type, payload: payload)
                switch Int32(header.nlmsg_type) {
                case NLMSG_ERROR:
                    try failure(in: reply, flags: Int32(header.nlmsg_flags), what)
                    return (replies, interrupted)
                case NLMSG_DONE: return (replies, interrupted)
                case NLMSG_NOOP, NLMSG_OVERRUN: break
                default: replies.append(reply)
                }
            }
        }
    }

    private func receive(into space: inout [UInt8], _ what: String) throws(SystemCallFailed) -> Int {
        while true {
            let count = space.withUnsafeMutableBytes { Glibc.recv(descriptor.number, $0.baseAddress, $0.count, 0) }
            let code = errno
            if count > 0 { return count }
            if count == 0 { throw SystemCallFailed("netlink receive", code: EPIPE, on: what + place) }
            switch code {
            case EINTR: continue
            case EAGAIN:
                var poll = pollfd(fd: descriptor.number, events: Int16(POLLIN), revents: 0)
                let ready = Glibc.poll(&poll, 1, 10_000)
                if ready == 0 { throw SystemCallFailed("netlink receive", code: ETIMEDOUT, on: what + place) }
            default: throw SystemCallFailed("netlink receive", code: code, on: what + place)
            }
        }
    }

    /// Throws when the kernel's acknowledgement is a refusal, with the words it adds to it.
    private func failure(in reply: NetlinkReply, flags: Int32, _ what: String) throws(SystemCallFailed) {
        let code = reply.load(Int32.self) ?? -EBADMSG
        if code == 0 { return }
        var subject = what + place
        // With NETLINK_CAP_ACK only the request's header follows the code.
        let carriesWords = flags & 0x200 != 0  // NLM_F_ACK_TLVS
        let words = reply.attributes(after: 4 + NetlinkMessage.headerSize).text(Int(NLMSGERR_ATTR_MSG.rawValue))
        if carriesWords, let words { subject += " (\(words))" }
        throw SystemCallFailed("netlink", code: -code, on: subject)
    }
}
