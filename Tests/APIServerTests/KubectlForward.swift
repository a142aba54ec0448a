import Glibc
import Kernel
import TestSupport
import Testing

/// A `kubectl port-forward` that runs, and connections through it.
final class KubectlForward: Sendable {
    private let child: TestProcess
    private let output: String
    private let ports: [UInt16]

    init(_ kubectl: Kubectl, _ pod: String, ports wanted: [Int]) async throws {
        let started = try kubectl.start(["port-forward", "pod/\(pod)"] + wanted.map { ":\($0)" })
        child = started.child
        output = started.output
        var ports: [UInt16] = []
        let isForwarding = await eventually {
            let text = text(of: started.output)
            ports = wanted.compactMap { port in
                let mark = text.split(separator: "\n").first { $0.contains("127.0.0.1:") && $0.hasSuffix("-> \(port)") }
                return mark?.split(separator: ":").last?.split(separator: " ").first.flatMap { UInt16($0) }
            }
            return ports.count == wanted.count
        }
        self.ports = ports
        try #require(isForwarding, "kubectl forwards nothing: \(text(of: started.output))")
    }

    /// What kubectl has printed.
    var said: String { text(of: output) }

    /// Sends a text, says that no more comes, and reads to the end.
    func exchange(_ place: Int, _ text: String) async -> String {
        let port = ports[place]
        return await onThread {
            guard let socket = try? NamespaceSocket.connect(to: IPv4Address(127, 0, 0, 1), port: port, inNamespace: nil)
            else { return "" }
            _ = fcntl(socket.number, F_SETFL, fcntl(socket.number, F_GETFL) & ~O_NONBLOCK)
            var limit = timeval(tv_sec: 120, tv_usec: 0)
            setsockopt(socket.number, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
            let bytes = Array(text.utf8)
            let number = socket.number
            let sender = Thread.sending(bytes, to: number)
            var answer: [UInt8] = []
            var space = [UInt8](repeating: 0, count: 65536)
            while true {
                let count = recv(number, &space, space.count, 0)
                if count <= 0 { break }
                answer += space[..<count]
            }
            pthread_join(sender, nil)
            return String(decoding: answer, as: UTF8.self)
        }
    }

    func end() { child.end(SIGTERM) }
}

private func text(of file: String) -> String {
    (try? SmallFile.read(file)).map { String(decoding: $0, as: UTF8.self) } ?? ""
}

private enum Thread {
    private final class Work {
        let bytes: [UInt8]
        let descriptor: CInt
        init(_ bytes: [UInt8], _ descriptor: CInt) {
            self.bytes = bytes
            self.descriptor = descriptor
        }
    }

    static func sending(_ bytes: [UInt8], to descriptor: CInt) -> pthread_t {
        var thread = pthread_t()
        pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let work = Unmanaged<Work>.fromOpaque(argument).takeRetainedValue()
                var rest = work.bytes[...]
                while !rest.isEmpty {
                    let count = rest.withUnsafeBytes {
                        send(work.descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
                    }
                    if count <= 0 { break }
                    rest = rest.dropFirst(count)
                }
                shutdown(work.descriptor, CInt(SHUT_WR))
                return nil
            }, Unmanaged.passRetained(Work(bytes, descriptor)).toOpaque())
        return thread
    }
}
