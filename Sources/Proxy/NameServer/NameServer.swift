import CKernel
import Glibc
import Kernel
import Loop
import ProxyResources
import Wire

/// Answers the pod's DNS queries: services by what the proxy knows, all else by the cluster's name server.
struct NameServer: ~Copyable, Sendable {
    private struct Forwarded {
        var descriptor: CInt
        var address: UInt32
        var port: UInt16
        var query: DNSMessage
        var bytes: [UInt8]
        var deadline: UInt64
        var isRepeated = false
    }

    private static let mostForwarded = 512
    private static let patience: UInt64 = 1_500_000_000
    private let socket: CInt
    private let farewell: CInt
    private let names: NameSource
    private var forwarded: [Forwarded] = []

    /// - Parameter handed: sockets of the process before this one, by name.
    /// - Returns: the sockets, named for the next.
    @discardableResult
    static func start(
        port: Int, state: ProgramState, handed: [String: CInt] = [:]
    ) throws(SystemCallFailed) -> [(name: String, descriptor: CInt)] {
        // Queries are redirected to loopback. A socket of all addresses would answer from the pod's own address, and no
        // asker waits for an answer from there.
        let loopback: UInt32 = 0x7f00_0001
        let socketName = HandedSockets.key("names", "127.0.0.1", port)
        let doorName = HandedSockets.key("long-names", "127.0.0.1", port)
        let socket = handed[socketName] ?? weft_udp_ipv4(loopback, UInt16(clamping: port))
        if socket < 0 { throw SystemCallFailed("bind", code: -socket, on: "UDP port \(port)") }
        let door = handed[doorName] ?? weft_listen_ipv4(loopback, UInt16(clamping: port), 0, 64)
        if door < 0 { throw SystemCallFailed("listen", code: -door, on: "TCP port \(port)") }
        let names = NameSource(state: state)
        _ = Thread.start("dns") {
            var server = NameServer(socket: socket, names: names, farewell: state.farewell)
            server.run()
        }
        _ = Thread.start("dns-tcp") { StreamNameServer.run(door, names, farewell: state.farewell) }
        return [(socketName, socket), (doorName, door)]
    }

    private init(socket: CInt, names: NameSource, farewell: CInt) {
        self.socket = socket
        self.farewell = farewell
        self.names = names
    }

    private mutating func run() {
        var space = [UInt8](repeating: 0, count: 4096)
        var hasLeft = false
        while true {
            var waiting = [pollfd(fd: hasLeft ? -1 : socket, events: Int16(POLLIN), revents: 0)]
            for one in forwarded { waiting.append(pollfd(fd: one.descriptor, events: Int16(POLLIN), revents: 0)) }
            waiting.append(pollfd(fd: hasLeft ? -1 : farewell, events: Int16(POLLIN), revents: 0))
            if poll(&waiting, nfds_t(waiting.count), forwarded.isEmpty ? -1 : 100) < 0 { continue }
            let now = Clock.monotonic
            for place in forwarded.indices.reversed() {
                if waiting[place + 1].revents != 0 {
                    takeAnswer(place, &space)
                } else if now >= forwarded[place].deadline {
                    expire(place, now)
                }
            }
            if waiting.last?.revents != 0 { hasLeft = true }
            if hasLeft && forwarded.isEmpty {
                close(socket)
                return
            }
            if waiting[0].revents != 0 {
                for _ in 0..<32 where !takeQuery(&space, now) { break }
            }
        }
    }

    /// False when no query waits.
    private mutating func takeQuery(_ space: inout [UInt8], _ now: UInt64) -> Bool {
        var address: UInt32 = 0
        var port: UInt16 = 0
        let count = space.withUnsafeMutableBytes {
            weft_receive_from(socket, $0.baseAddress, $0.count, &address, &port)
        }
        if count < 0 { return false }
        let bytes = Array(space[..<count])
        guard let query = try? DNSMessage(parsing: bytes), !query.isResponse else { return true }
        if let answer = names.answer(query) {
            send(answer.composed(limit: Int(query.extensions?.payloadSize ?? 512)), address, port)
        } else {
            forward(query, bytes, address, port, now)
        }
        return true
    }

    private func send(_ bytes: [UInt8], _ address: UInt32, _ port: UInt16) {
        _ = bytes.withUnsafeBytes { weft_send_to(socket, $0.baseAddress, $0.count, address, port) }
    }

    /// Each query goes from a port of its own under a number of its own, so that answers are hard to forge.
    private mutating func forward(
        _ query: DNSMessage, _ bytes: [UInt8], _ address: UInt32, _ port: UInt16, _ now: UInt64
    ) {
        guard let upstream = names.upstream, forwarded.count < Self.mostForwarded else {
            send(query.response(.serverFailure).composed(limit: 512), address, port)
            return
        }
        let descriptor = weft_udp_ipv4(0, 0)
        if descriptor < 0 {
            send(query.response(.serverFailure).composed(limit: 512), address, port)
            return
        }
        var changed = bytes
        let number = UInt16.random(in: 0...UInt16.max)
        changed[0] = UInt8(number >> 8)
        changed[1] = UInt8(number & 255)
        _ = changed.withUnsafeBytes {
            weft_send_to(descriptor, $0.baseAddress, $0.count, upstream.address.value, upstream.port)
        }
        forwarded.append(
            Forwarded(
                descriptor: descriptor, address: address, port: port, query: query, bytes: changed,
                deadline: now + Self.patience))
    }

    private mutating func takeAnswer(_ place: Int, _ space: inout [UInt8]) {
        let one = forwarded[place]
        var address: UInt32 = 0
        var port: UInt16 = 0
        let count = space.withUnsafeMutableBytes {
            weft_receive_from(one.descriptor, $0.baseAddress, $0.count, &address, &port)
        }
        if count >= 12 {
            guard let upstream = names.upstream, address == upstream.address.value, port == upstream.port,
                space[0] == one.bytes[0],
                space[1] == one.bytes[1]
            else { return }
            space[0] = UInt8(one.query.id >> 8)
            space[1] = UInt8(one.query.id & 255)
            send(Array(space[..<count]), one.address, one.port)
        } else {
            send(one.query.response(.serverFailure).composed(limit: 512), one.address, one.port)
        }
        close(one.descriptor)
        forwarded.remove(at: place)
    }

    /// Asks once more, then gives up.
    private mutating func expire(_ place: Int, _ now: UInt64) {
        let one = forwarded[place]
        if !one.isRepeated, let upstream = names.upstream {
            forwarded[place].isRepeated = true
            forwarded[place].deadline = now + Self.patience
            _ = one.bytes.withUnsafeBytes {
                weft_send_to(one.descriptor, $0.baseAddress, $0.count, upstream.address.value, upstream.port)
            }
            return
        }
        send(one.query.response(.serverFailure).composed(limit: 512), one.address, one.port)
        close(one.descriptor)
        forwarded.remove(at: place)
    }
}
