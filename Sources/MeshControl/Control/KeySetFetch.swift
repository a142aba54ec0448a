import Glibc
import Kernel
import Logging
import MeshModel
import TLS
import Wire

/// Fetches the key sets of token issuers, so that no proxy has to. What was fetched last stays in use while an issuer is away.
actor KeySetFetch {
    enum Limits {
        static let bytes = 1 << 20
        /// Of each connect, send and receive, in seconds; and of a whole fetch.
        static let step = 5
        static let whole = 15.0
        static let refresh = Duration.seconds(300)
        static let firstRetry = Duration.seconds(2)
        static let atOnce = 8
    }

    private struct Known {
        var keys: String?
        var next: ContinuousClock.Instant
        var failures = 0
        var isUnderWay = false
    }

    private var known: [String: Known] = [:]
    private let logger: Logger
    private let adopt: @Sendable (String, String) async -> Void
    private let clock = ContinuousClock()

    /// - Parameter adopt: is given an address and its keys whenever these have changed.
    init(_ logger: Logger, adopt: @escaping @Sendable (String, String) async -> Void) {
        self.logger = logger
        self.adopt = adopt
    }

    /// Fetches what is due.
    ///
    /// - Parameter hosts: addresses of services by their host names, which the machine's own resolver does not know.
    func look(at addresses: Set<String>, hosts: [String: String]) async {
        known = known.filter { addresses.contains($0.key) }
        let now = clock.now
        for address in addresses where known[address] == nil { known[address] = Known(next: now) }
        let due = known.filter { $0.value.next <= now && !$0.value.isUnderWay }.keys.sorted().prefix(Limits.atOnce)
        for address in due { known[address]?.isUnderWay = true }
        await withTaskGroup(of: (String, Result<String, KeySetFault>).self) { tasks in
            for address in due {
                tasks.addTask { (address, await onThread { KeySetRequest.fetch(address, hosts: hosts) }) }
            }
            for await (address, result) in tasks { await take(address, result) }
        }
    }

    private func take(_ address: String, _ result: Result<String, KeySetFault>) async {
        guard var entry = known[address] else { return }
        entry.isUnderWay = false
        switch result {
        case .success(let keys):
            let isNews = entry.keys != keys
            entry = Known(keys: keys, next: clock.now + Limits.refresh)
            known[address] = entry
            if isNews { await adopt(address, keys) }
        case .failure(let fault):
            if entry.failures == 0 { logger.warning("keys at \(address): \(fault.message)") }
            entry.failures += 1
            entry.next = clock.now + min(Limits.firstRetry * (1 << min(entry.failures - 1, 6)), Limits.refresh)
            known[address] = entry
        }
    }
}

struct KeySetFault: Error, Equatable { let message: String }

/// One fetch: `GET` over HTTP/1.0, which has no framing but the end of the stream.
enum KeySetRequest {
    struct Place: Equatable {
        var isSecure: Bool
        var host: String
        var port: UInt16
        var path: String
    }

    static func place(_ address: String) -> Place? {
        let isSecure = address.hasPrefix("https://")
        guard isSecure || address.hasPrefix("http://") else { return nil }
        let rest = address.dropFirst(isSecure ? 8 : 7)
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        let target = rest.dropFirst(authority.count).prefix { $0 != "#" }
        let path = target.hasPrefix("/") ? String(target) : "/\(target)"
        let parts = authority.split(separator: ":", omittingEmptySubsequences: false)
        let isClean = address.utf8.allSatisfy { $0 > 32 && $0 < 127 }
        guard isClean, parts.count <= 2, !parts[0].isEmpty, !authority.contains("@") else { return nil }
        var port: UInt16 = isSecure ? 443 : 80
        if parts.count == 2 {
            guard let number = UInt16(parts[1]), number > 0 else { return nil }
            port = number
        }
        return Place(isSecure: isSecure, host: String(parts[0]), port: port, path: path)
    }

    static func fetch(_ address: String, hosts: [String: String]) -> Result<String, KeySetFault> {
        guard let place = place(address) else { return .failure(KeySetFault(message: "is no http or https address")) }
        let isUsual = place.port == (place.isSecure ? 443 : 80)
        let host = isUsual ? place.host : "\(place.host):\(place.port)"
        let request = Array(
            "GET \(place.path) HTTP/1.0\r\nHost: \(host)\r\nAccept: application/json\r\nUser-Agent: weft\r\n\r\n".utf8)
        do {
            let bytes = try exchange(place, hosts[place.host] ?? place.host, request)
            return try read(bytes)
        } catch let fault as KeySetFault {
            return .failure(fault)
        } catch {
            return .failure(KeySetFault(message: "\(error)"))
        }
    }

    private static func exchange(_ place: Place, _ address: String, _ request: [UInt8]) throws -> [UInt8] {
        if place.isSecure { return try secured(place, request) }
        return try plain(place, address, request)
    }

    /// The body of a good answer, when it is a set of keys.
    static func read(_ bytes: [UInt8]) throws(KeySetFault) -> Result<String, KeySetFault> {
        let mark = Array("\r\n\r\n".utf8)
        let end = bytes.indices.first { bytes[$0...].starts(with: mark) }
        guard bytes.starts(with: "HTTP/1.".utf8), let end, bytes.count > 12 else {
            throw KeySetFault(message: "the answer is no HTTP")
        }
        let status = String(decoding: bytes[9..<12], as: UTF8.self)
        guard status == "200" else { throw KeySetFault(message: "the answer is \(status)") }
        let body = String(decoding: bytes[(end + 4)...], as: UTF8.self)
        guard let json = try? JSON(parsing: Array(body.utf8)), json["keys"]?.array != nil else {
            throw KeySetFault(message: "the answer is no set of keys")
        }
        return .success(body)
    }

    private static func gather(_ next: () throws -> [UInt8]) throws -> [UInt8] {
        let clock = ContinuousClock()
        let end = clock.now + .seconds(KeySetFetch.Limits.whole)
        var bytes: [UInt8] = []
        while true {
            let chunk = try next()
            if chunk.isEmpty { return bytes }
            bytes += chunk
            if bytes.count > KeySetFetch.Limits.bytes {
                throw KeySetFault(message: "the answer is longer than \(KeySetFetch.Limits.bytes) bytes")
            }
            if clock.now > end { throw KeySetFault(message: "the answer takes too long") }
        }
    }

    private static func secured(_ place: Place, _ request: [UInt8]) throws -> [UInt8] {
        let roots = try systemRoots()
        let stream = try ClientStream(
            try ClientContext(roots: roots, identity: nil), host: place.host, port: place.port,
            timeout: KeySetFetch.Limits.step)
        try stream.write(request)
        return try gather { try stream.read() }
    }

    private static func systemRoots() throws -> [Certificate] {
        for path in ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"] {
            if let bytes = try? SmallFile.read(path) { return try Certificate.bundle(pem: bytes) }
        }
        throw KeySetFault(message: "this machine has no trusted roots (ca-certificates)")
    }

    private static func plain(_ place: Place, _ address: String, _ request: [UInt8]) throws -> [UInt8] {
        var hints = addrinfo()
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(address, "\(place.port)", &hints, &found) == 0, let first = found else {
            throw KeySetFault(message: "\(place.host) cannot be resolved")
        }
        defer { freeaddrinfo(found) }
        let socket = Glibc.socket(first.pointee.ai_family, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { throw KeySetFault(message: "no socket: \(String(cString: strerror(errno)))") }
        defer { close(socket) }
        var limit = timeval(tv_sec: KeySetFetch.Limits.step, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        guard connect(socket, first.pointee.ai_addr, first.pointee.ai_addrlen) == 0 else {
            throw KeySetFault(
                message: "\(place.host):\(place.port) does not answer: \(String(cString: strerror(errno)))")
        }
        guard send(socket, request, request.count, CInt(MSG_NOSIGNAL)) == request.count else {
            throw KeySetFault(message: "\(place.host):\(place.port) does not take the request")
        }
        return try gather {
            var chunk = [UInt8](repeating: 0, count: 16384)
            let count = recv(socket, &chunk, chunk.count, 0)
            if count < 0 { throw KeySetFault(message: "\(place.host):\(place.port) did not answer in time") }
            return Array(chunk.prefix(count))
        }
    }
}
