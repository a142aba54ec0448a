import Glibc
import Synchronization

/// The service another one asks, with connections kept between requests.
final class Upstream: Sendable {
    struct Address: Sendable {
        var host: String
        var port: UInt16
        var path: String

        /// - Parameter url: plain http; without a path, `/items` is asked for.
        init?(url: String) {
            guard url.hasPrefix("http://") else { return nil }
            let rest = url.dropFirst(7)
            let authority = rest.prefix { $0 != "/" }
            let path = String(rest.dropFirst(authority.count))
            self.path = path.isEmpty || path == "/" ? "/items" : path
            let parts = authority.split(separator: ":", maxSplits: 1)
            guard let name = parts.first else { return nil }
            host = String(name)
            guard let number = parts.count == 2 ? UInt16(parts[1]) : 80 else { return nil }
            port = number
        }

        var authority: String { port == 80 ? host : "\(host):\(port)" }
    }

    struct Failed: Error { let cause: String }

    private static let mostIdle = 64
    private let address: Address
    private let idle = Mutex<[CInt]>([])

    init(_ address: Address) { self.address = address }

    /// - Parameter headers: lines to send along, each `name: value`.
    func get(_ headers: [String]) throws(Failed) -> HTTPMessage {
        var request =
            "GET \(address.path) HTTP/1.1\r\nHost: \(address.authority)\r\nUser-Agent: demo-service\r\nAccept: application/json\r\n"
        for header in headers { request += header + "\r\n" }
        request += "\r\n"
        let bytes = Array(request.utf8)
        while let kept = idle.withLock({ $0.popLast() }) {
            do throws(HTTPFault) { return try ask(kept, bytes) } catch {
                // The peer may have closed it meanwhile: then nothing was done with the request, and the next one is tried.
                switch error {
                case .ended, .socket: continue
                case .malformed, .tooLarge, .timedOut:
                    throw Failed(cause: "\(address.authority): \(HTTPFault.words(error))")
                }
            }
        }
        do throws(HTTPFault) {
            return try ask(try Socket.connect(address.host, address.port, seconds: 5), bytes)
        } catch {
            throw Failed(cause: "\(address.authority): \(HTTPFault.words(error))")
        }
    }

    private func ask(_ socket: CInt, _ request: [UInt8]) throws(HTTPFault) -> HTTPMessage {
        do throws(HTTPFault) {
            try Socket.write(socket, request)
            var reader = HTTPReader(socket)
            let answer = try reader.next(isAnswerTo: "GET")
            let isKept =
                answer.keepsAlive
                && idle.withLock { sockets in
                    guard sockets.count < Self.mostIdle else { return false }
                    sockets.append(socket)
                    return true
                }
            if !isKept { close(socket) }
            return answer
        } catch {
            close(socket)
            throw error
        }
    }
}

extension HTTPFault {
    static func words(_ fault: HTTPFault) -> String {
        switch fault {
        case .ended: "the connection was closed without an answer"
        case .malformed(let what): "not HTTP: \(what)"
        case .tooLarge(let what): "too large: \(what)"
        case .timedOut: "no answer in time"
        case .socket(let what): what
        }
    }
}
