import CKernel
import Glibc
import Kernel
import Synchronization

/// A server in a namespace that answers each TCP connection and each UDP datagram with
/// `name peer-address original-destination`, on a thread of its own.
final class Answerer: Sendable {
    private let stopped: Atomic<Bool>
    private let thread: NamespaceThread
    let port: UInt16

    init(
        _ name: String, in namespace: String, at address: IPv4Address = IPv4Address(0, 0, 0, 0), port: UInt16 = 0,
        udp: Bool = false
    ) throws {
        let listener = try NamespaceSocket.listen(address, port: port, inNamespace: namespace)
        let bound = NamespaceSocket.localPort(of: listener)
        self.port = bound
        let datagrams =
            udp ? try NamespaceSocket.bindDatagram(address, port: bound, inNamespace: namespace).release() : -1
        let number = listener.release()
        let flag = Flag()
        self.flag = flag
        stopped = Atomic(false)
        thread = try NetworkNamespace.startThread(in: namespace) {
            serve(
                name, OwnedDescriptor(taking: number), datagrams >= 0 ? OwnedDescriptor(taking: datagrams) : nil, flag)
        }
    }

    private let flag: Flag

    func stop() {
        if stopped.exchange(true, ordering: .relaxed) { return }
        flag.value.store(true, ordering: .releasing)
        thread.join()
    }

    deinit { stop() }
}

final class Flag: Sendable { let value = Atomic(false) }

private func serve(
    _ name: String, _ listener: consuming OwnedDescriptor, _ datagrams: consuming OwnedDescriptor?, _ flag: Flag
) {
    let datagramNumber = datagrams?.number ?? -1
    while !flag.value.load(ordering: .acquiring) {
        var waiting = [
            pollfd(fd: listener.number, events: Int16(POLLIN), revents: 0),
            pollfd(fd: datagramNumber, events: Int16(POLLIN), revents: 0),
        ]
        guard poll(&waiting, 2, 50) > 0 else { continue }
        while let connection = try? NamespaceSocket.accept(listener) { answer(name, connection) }
        if waiting[1].revents != 0 { answerDatagram(name, datagramNumber) }
    }
    _ = consume datagrams
}

private func answer(_ name: String, _ connection: consuming OwnedDescriptor) {
    var peer = sockaddr_in()
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    _ = withUnsafeMutablePointer(to: &peer) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(connection.number, $0, &size) }
    }
    let source = IPv4Address(bits: UInt32(bigEndian: peer.sin_addr.s_addr))
    var original = "-"
    if let destination = try? NamespaceSocket.originalDestination(of: connection) {
        original = "\(destination.address):\(destination.port)"
    }
    let text = Array("\(name) \(source) \(original)".utf8)
    _ = send(connection.number, text, text.count, CInt(MSG_NOSIGNAL))
    // Left for the client to close first, so that the server's side has no TIME_WAIT.
    var byte: UInt8 = 0
    var waiting = pollfd(fd: connection.number, events: Int16(POLLIN), revents: 0)
    if poll(&waiting, 1, 1000) > 0 { _ = recv(connection.number, &byte, 1, 0) }
}

private func answerDatagram(_ name: String, _ socket: CInt) {
    var space = [UInt8](repeating: 0, count: 2048)
    var peer = sockaddr_in()
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    withUnsafeMutablePointer(to: &peer) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { peer in
            let count = recvfrom(socket, &space, space.count, 0, peer, &size)
            guard count >= 0 else { return }
            let text = Array("\(name)".utf8)
            _ = sendto(socket, text, text.count, 0, peer, size)
        }
    }
}

/// What a client saw.
enum Outcome: Equatable, CustomStringConvertible {
    case answer(name: String, source: String, destination: String)
    case failed(CInt)
    case silent  // no answer within the time

    var name: String? {
        guard case .answer(let name, _, _) = self else { return nil }
        return name
    }
    var description: String {
        switch self {
        case .answer(let name, let source, let destination): "\(name) saw \(source) going to \(destination)"
        case .failed(let code): String(cString: strerror(code))
        case .silent: "silent"
        }
    }
    static let refused = Outcome.failed(ECONNREFUSED)
}

enum Client {
    /// Connects from a namespace and reads the answer.
    /// - Parameter user: who the socket belongs to.
    static func tcp(
        _ address: IPv4Address, _ port: UInt16, in namespace: String, user: UInt32 = 0, mark: UInt32 = 0,
        timeout: CInt = 10_000
    ) async throws -> Outcome {
        try await NetworkNamespace.perform(in: namespace) { () throws(SystemCallFailed) in
            if user != 0 { _ = weft_net_become_file_user(user) }
            let socket: OwnedDescriptor
            do throws(SystemCallFailed) {
                socket = try NamespaceSocket.connect(to: address, port: port, inNamespace: nil, mark: mark)
            } catch {
                return .failed(error.code)
            }
            return read(socket, timeout: timeout)
        }
    }

    /// Sends one datagram from a namespace and reads the answer.
    /// - Parameter from: the source port; 0 for any. The same port again is the same flow.
    static func udp(
        _ address: IPv4Address, _ port: UInt16, in namespace: String, from source: UInt16 = 0, timeout: CInt = 10_000
    ) async throws -> Outcome {
        try await NetworkNamespace.perform(in: namespace) { () throws(SystemCallFailed) in
            let socket = try NamespaceSocket.bindDatagram(IPv4Address(0, 0, 0, 0), port: source, inNamespace: nil)
            let number = socket.number
            let code = withSocketAddress(address, port) { connect(number, $0, $1) == 0 ? 0 : errno }
            if code != 0 { return .failed(code) }
            if send(number, "hello", 5, 0) < 0 { return .failed(errno) }
            return read(socket, timeout: timeout)
        }
    }

    private static func read(_ socket: borrowing OwnedDescriptor, timeout: CInt) -> Outcome {
        var waiting = pollfd(fd: socket.number, events: Int16(POLLIN), revents: 0)
        guard poll(&waiting, 1, timeout) > 0 else { return .silent }
        var failure: CInt = 0
        var size = socklen_t(MemoryLayout<CInt>.size)
        getsockopt(socket.number, SOL_SOCKET, SO_ERROR, &failure, &size)
        if failure != 0 { return .failed(failure) }
        var space = [UInt8](repeating: 0, count: 256)
        let count = recv(socket.number, &space, space.count, 0)
        let code = errno
        guard count > 0 else { return .failed(count == 0 ? ECONNRESET : code) }
        let words = String(decoding: space[..<count], as: UTF8.self).split(separator: " ").map(String.init)
        return .answer(
            name: words.first ?? "", source: words.count > 1 ? words[1] : "",
            destination: words.count > 2 ? words[2] : "")
    }
}
