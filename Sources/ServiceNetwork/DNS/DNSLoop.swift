import CKernel
import Glibc
import Kernel
import Wire

/// The sockets of a DNS server and the loop that serves them. Used by one thread only, after `init`.
final class DNSLoop: @unchecked Sendable {  // Made by one thread, then handed to another for good.
    private let lookUp: @Sendable (DNSQuestion, Int) -> DNSAnswer
    private let epoll: OwnedDescriptor
    private let wake: CInt
    private var datagrams: Set<CInt> = []
    private var listeners: Set<CInt> = []
    private var connections: [CInt: Connection] = [:]
    private var turn = 0

    /// More connections than this at once: the one that waited longest for a query goes.
    private static let connectionLimit = 256
    /// Nanoseconds without a query (RFC 7766 §6.2.3 wants a few seconds).
    private static let idleTime = 10_000_000_000

    private struct Connection {
        var input: [UInt8] = []
        var output: [UInt8] = []
        /// Nanoseconds of the monotonic clock: in seconds, a newcomer ties with hundreds that came before it.
        var lastActive: Int
    }

    init(
        _ addresses: [IPv4Address], _ port: UInt16, wake: CInt, inNamespace path: String,
        _ lookUp: @escaping @Sendable (DNSQuestion, Int) -> DNSAnswer
    ) throws(SystemCallFailed) {
        self.lookUp = lookUp
        self.wake = wake
        let number = epoll_create1(CInt(EPOLL_CLOEXEC))
        if number < 0 { throw SystemCallFailed("epoll_create1", code: errno, on: "DNS server") }
        epoll = OwnedDescriptor(taking: number)
        try watch(wake)
        for address in addresses {
            let datagram = try NamespaceSocket.bindDatagram(address, port: port, inNamespace: path).release()
            datagrams.insert(datagram)
            try watch(datagram)
            let listener = try NamespaceSocket.listen(address, port: port, inNamespace: path, backlog: 128).release()
            listeners.insert(listener)
            try watch(listener)
        }
    }

    deinit { for number in datagrams.union(listeners).union(connections.keys) { close(number) } }

    /// Serves until the wake descriptor is readable.
    func run() {
        var events = [epoll_event](repeating: epoll_event(), count: 64)
        var space = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = epoll_wait(epoll.number, &events, CInt(events.count), 1000)
            if count < 0, errno != EINTR { return }  // our own mistake: the agent's health check sees no answers
            for event in events.prefix(Int(max(count, 0))) {
                let number = event.data.fd
                if number == wake { return }
                if datagrams.contains(number) {
                    serveDatagrams(number, &space)
                } else if listeners.contains(number) {
                    accept(number)
                } else {
                    serveConnection(number, event.events, &space)
                }
            }
            closeIdle()
        }
    }

    private func watch(_ number: CInt, for events: UInt32 = EPOLLIN.rawValue) throws(SystemCallFailed) {
        var event = epoll_event()
        event.events = events
        event.data.fd = number
        if epoll_ctl(epoll.number, EPOLL_CTL_ADD, number, &event) != 0 {
            throw SystemCallFailed("epoll_ctl", code: errno, on: "descriptor \(number)")
        }
    }

    private func respond(to bytes: [UInt8], overTCP: Bool) -> [UInt8]? {
        DNSResponder.respond(to: bytes, overTCP: overTCP) { question in
            turn &+= 1
            return lookUp(question, turn & 0xffff)
        }
    }

    private func serveDatagrams(_ number: CInt, _ space: inout [UInt8]) {
        for _ in 0..<64 {  // then the others have their turn
            var peer = sockaddr_in()
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            let count = withUnsafeMutablePointer(to: &peer) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    recvfrom(number, &space, space.count, 0, $0, &size)
                }
            }
            if count < 0 {
                if errno == EAGAIN { return }
                continue  // an ICMP answer to something we sent
            }
            guard let response = respond(to: Array(space[..<count]), overTCP: false) else { continue }
            withUnsafePointer(to: &peer) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    // An answer that cannot be sent is a lost datagram: the asker asks again.
                    _ = sendto(number, response, response.count, CInt(MSG_NOSIGNAL), $0, size)
                }
            }
        }
    }

    private func accept(_ listener: CInt) {
        while true {
            let number = weft_net_accept(listener)
            if number < 0 { return }
            do throws(SystemCallFailed) { try watch(number) } catch {
                close(number)
                continue
            }
            if connections.count >= Self.connectionLimit,
                let oldest = connections.min(by: { $0.value.lastActive < $1.value.lastActive })
            {
                end(oldest.key)
            }
            connections[number] = Connection(lastActive: Self.now())
        }
    }

    private func serveConnection(_ number: CInt, _ events: UInt32, _ space: inout [UInt8]) {
        guard var connection = connections.removeValue(forKey: number) else { return }
        var isOpen = true
        if events & (EPOLLIN.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0 {
            let count = recv(number, &space, space.count, 0)
            if count > 0 {
                connection.input += space[..<count]
                answerWhole(&connection)
            } else if count == 0 || errno != EAGAIN {
                isOpen = false
            }
        }
        if isOpen { isOpen = flush(number, &connection) }
        connections[number] = connection
        if !isOpen { end(number) }
    }

    /// Answers each whole message, behind its length in two bytes (RFC 1035 §4.2.2).
    private func answerWhole(_ connection: inout Connection) {
        var place = 0
        while connection.input.count - place >= 2 {
            let length = Int(connection.input[place]) << 8 | Int(connection.input[place + 1])
            guard connection.input.count - place - 2 >= length else { break }
            let message = Array(connection.input[(place + 2)..<(place + 2 + length)])
            place += 2 + length
            guard let response = respond(to: message, overTCP: true) else { continue }
            connection.lastActive = Self.now()
            connection.output += [UInt8(response.count >> 8), UInt8(response.count & 255)] + response
        }
        connection.input.removeFirst(place)
    }

    /// - Returns: whether the connection is still good. A peer that asks and never reads is not.
    private func flush(_ number: CInt, _ connection: inout Connection) -> Bool {
        while !connection.output.isEmpty {
            let sent = send(number, connection.output, connection.output.count, CInt(MSG_NOSIGNAL))
            if sent > 0 {
                connection.output.removeFirst(sent)
            } else if errno == EAGAIN {
                break
            } else {
                return false
            }
        }
        var event = epoll_event()
        event.events = EPOLLIN.rawValue | (connection.output.isEmpty ? 0 : EPOLLOUT.rawValue)
        event.data.fd = number
        return epoll_ctl(epoll.number, EPOLL_CTL_MOD, number, &event) == 0 && connection.output.count < 1 << 20
    }

    private func closeIdle() {
        if connections.isEmpty { return }
        let oldest = Self.now() - Self.idleTime
        for (number, connection) in connections where connection.lastActive < oldest { end(number) }
    }

    private func end(_ number: CInt) {
        connections[number] = nil
        close(number)
    }

    private static func now() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
}
