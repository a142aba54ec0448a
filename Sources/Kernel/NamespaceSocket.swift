import CKernel
package import Glibc

/// Sockets opened inside a network namespace. A socket stays in the namespace it was opened in, whoever uses it.
/// All are non-blocking and close-on-exec.
package enum NamespaceSocket {
    /// A listening TCP socket.
    /// - Parameter port: 0 lets the kernel choose; see `localPort(of:)`.
    /// - Parameter path: a namespace's path; `nil` for the namespace the process is in.
    package static func listen(
        _ address: IPv4Address, port: UInt16, inNamespace path: String?, backlog: CInt = 1024
    ) throws(SystemCallFailed) -> OwnedDescriptor {
        let name = "tcp \(address):\(port)" + (path.map { " in \($0)" } ?? "")
        let socket = try open(AF_INET, CInt(SOCK_STREAM.rawValue), 0, inNamespace: path)
        try set(socket.number, SOL_SOCKET, SO_REUSEADDR, 1, name)
        try bind(socket, address, port, name)
        if Glibc.listen(socket.number, backlog) != 0 { throw SystemCallFailed("listen", code: errno, on: name) }
        return socket
    }

    /// A bound UDP socket.
    package static func bindDatagram(
        _ address: IPv4Address, port: UInt16, inNamespace path: String?
    ) throws(SystemCallFailed) -> OwnedDescriptor {
        let name = "udp \(address):\(port)" + (path.map { " in \($0)" } ?? "")
        let socket = try open(AF_INET, CInt(SOCK_DGRAM.rawValue), 0, inNamespace: path)
        try bind(socket, address, port, name)
        return socket
    }

    /// A TCP connection under way: writable when it is made or has failed (`SO_ERROR` says which).
    /// - Parameter mark: what nftables rules of the namespace see as `meta mark`.
    package static func connect(
        to address: IPv4Address, port: UInt16, inNamespace path: String?, mark: UInt32 = 0
    ) throws(SystemCallFailed) -> OwnedDescriptor {
        let name = "tcp to \(address):\(port)" + (path.map { " in \($0)" } ?? "")
        let socket = try open(AF_INET, CInt(SOCK_STREAM.rawValue), 0, inNamespace: path)
        if mark != 0 { try set(socket.number, SOL_SOCKET, SO_MARK, CInt(bitPattern: mark), name) }
        let code = withSocketAddress(address, port) { Glibc.connect(socket.number, $0, $1) == 0 ? 0 : errno }
        if code != 0, code != EINPROGRESS { throw SystemCallFailed("connect", code: code, on: name) }
        return socket
    }

    /// A socket of any kind.
    package static func open(
        _ domain: CInt, _ type: CInt, _ protocolNumber: CInt, inNamespace path: String?
    ) throws(SystemCallFailed) -> OwnedDescriptor {
        func make() throws(SystemCallFailed) -> CInt {
            let flags = CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
            let number = Glibc.socket(domain, type | flags, protocolNumber)
            if number < 0 { throw SystemCallFailed("socket", code: errno, on: path ?? "this namespace") }
            return number
        }
        guard let path else { return OwnedDescriptor(taking: try make()) }
        return OwnedDescriptor(taking: try NetworkNamespace.run(in: path, make))
    }

    /// The next connection of a non-blocking listener, or `nil` when none waits.
    package static func accept(_ listener: borrowing OwnedDescriptor) throws(SystemCallFailed) -> OwnedDescriptor? {
        while true {
            let result = weft_net_accept(listener.number)
            if result >= 0 { return OwnedDescriptor(taking: result) }
            switch -result {
            case EAGAIN: return nil
            // What a peer that gave up, or its network, leaves behind (man accept): the next one may be fine.
            case EINTR, ECONNABORTED, EPROTO, ENETDOWN, EHOSTDOWN, EHOSTUNREACH, ENETUNREACH: continue
            default: throw SystemCallFailed("accept", code: -result, on: "descriptor \(listener.number)")
            }
        }
    }

    package static func localPort(of socket: borrowing OwnedDescriptor) -> UInt16 {
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(socket.number, $0, &size) }
        }
        return result == 0 ? UInt16(bigEndian: address.sin_port) : 0
    }

    /// Where a redirected connection was going before the namespace's rules changed it.
    package static func originalDestination(
        of connection: borrowing OwnedDescriptor
    ) throws(SystemCallFailed) -> (address: IPv4Address, port: UInt16) {
        var address: UInt32 = 0
        var port: UInt16 = 0
        let result = weft_net_original_destination(connection.number, &address, &port)
        if result < 0 {
            throw SystemCallFailed("getsockopt SO_ORIGINAL_DST", code: -result, on: "descriptor \(connection.number)")
        }
        return (IPv4Address(bits: UInt32(bigEndian: address)), UInt16(bigEndian: port))
    }

    private static func bind(
        _ socket: borrowing OwnedDescriptor, _ address: IPv4Address, _ port: UInt16, _ name: String
    ) throws(SystemCallFailed) {
        let number = socket.number
        let code = withSocketAddress(address, port) { Glibc.bind(number, $0, $1) == 0 ? 0 : errno }
        if code != 0 { throw SystemCallFailed("bind", code: code, on: name) }
    }

    private static func set(
        _ socket: CInt, _ level: CInt, _ option: CInt, _ value: CInt, _ name: String
    ) throws(SystemCallFailed) {
        var value = value
        if setsockopt(socket, level, option, &value, socklen_t(MemoryLayout<CInt>.size)) != 0 {
            throw SystemCallFailed("setsockopt \(option)", code: errno, on: name)
        }
    }
}

/// An address as the socket calls want it.
package func withSocketAddress<Value>(
    _ address: IPv4Address, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Value
) -> Value {
    var raw = sockaddr_in()
    raw.sin_family = sa_family_t(AF_INET)
    raw.sin_port = port.bigEndian
    raw.sin_addr.s_addr = address.bits.bigEndian
    return withUnsafePointer(to: &raw) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
}
