import CKernel
import Glibc
import Loop
import Synchronization
import Wire

/// DNS over TCP (RFC 7766): a thread a connection, few at a time, since it is for long answers only.
enum StreamNameServer {
    private static let most = 32
    private static let patience = timeval(tv_sec: 3, tv_usec: 0)

    static func run(_ door: CInt, _ names: NameSource, farewell: CInt) {
        let busy = Counter()
        while true {
            var waiting = [door, farewell].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            poll(&waiting, 2, -1)
            if waiting[1].revents != 0 {
                close(door)
                return
            }
            var address: UInt32 = 0
            var port: UInt16 = 0
            let descriptor = weft_tcp_accept(door, &address, &port)
            if descriptor < 0 { continue }
            if busy.value.load(ordering: .relaxed) >= most {
                close(descriptor)
                continue
            }
            busy.value.add(1, ordering: .relaxed)
            let thread = Thread.start("dns-client") {
                makeBlocking(descriptor)
                serve(descriptor, names)
                close(descriptor)
                busy.value.subtract(1, ordering: .relaxed)
            }
            pthread_detach(thread)
        }
    }

    private final class Counter: Sendable {
        let value = Atomic<Int>(0)
    }

    private static func makeBlocking(_ descriptor: CInt) {
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
        var limit = patience
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    private static func serve(_ descriptor: CInt, _ names: NameSource) {
        while let bytes = read(descriptor) {
            guard let query = try? DNSMessage(parsing: bytes), !query.isResponse else { return }
            let answer =
                names.answer(query)?.composed() ?? ask(bytes, names) ?? query.response(.serverFailure).composed()
            if !write(descriptor, answer) { return }
        }
    }

    private static func ask(_ query: [UInt8], _ names: NameSource) -> [UInt8]? {
        guard let upstream = names.upstream else { return nil }
        let descriptor = weft_connect_ipv4(upstream.address.value, upstream.port)
        if descriptor < 0 { return nil }
        defer { close(descriptor) }
        var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        guard poll(&waiting, 1, 2000) == 1, weft_socket_error(descriptor) == 0 else { return nil }
        makeBlocking(descriptor)
        return write(descriptor, query) ? read(descriptor) : nil
    }

    private static func read(_ descriptor: CInt) -> [UInt8]? {
        guard let length = read(descriptor, 2) else { return nil }
        return read(descriptor, Int(length[0]) << 8 | Int(length[1]))
    }

    private static func read(_ descriptor: CInt, _ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let taken = bytes.withUnsafeMutableBytes {
                weft_tcp_receive(descriptor, $0.baseAddress?.advanced(by: done), count - done)
            }
            if taken <= 0 { return nil }
            done += taken
        }
        return count > 0 ? bytes : nil
    }

    private static func write(_ descriptor: CInt, _ message: [UInt8]) -> Bool {
        let bytes = [UInt8(message.count >> 8 & 255), UInt8(message.count & 255)] + message
        var done = 0
        while done < bytes.count {
            let sent = bytes.withUnsafeBytes {
                weft_tcp_send(descriptor, $0.baseAddress?.advanced(by: done), bytes.count - done)
            }
            if sent <= 0 { return false }
            done += sent
        }
        return true
    }
}
