import Glibc

/// The few socket calls the service needs. Blocking; timeouts are the socket's own.
enum Socket {
    /// - Returns: `false` at the end of the stream.
    static func read(_ socket: CInt, into buffer: inout [UInt8]) throws(HTTPFault) -> Bool {
        while true {
            var code: CInt = 0
            let before = buffer.count
            let space = [UInt8](unsafeUninitializedCapacity: 16384) { space, count in
                let got = recv(socket, space.baseAddress, space.count, 0)
                code = errno
                count = max(0, got)
                if got >= 0 { code = 0 }
            }
            buffer += space
            if code == EINTR { continue }
            if code == EAGAIN { throw .timedOut }
            if code != 0 { throw .socket(String(cString: strerror(code))) }
            return buffer.count > before
        }
    }

    static func write(_ socket: CInt, _ bytes: [UInt8]) throws(HTTPFault) {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { space in
                space.baseAddress.map { send(socket, $0 + done, space.count - done, CInt(MSG_NOSIGNAL)) } ?? 0
            }
            let code = errno
            if count < 0 {
                if code == EINTR { continue }
                throw .socket(String(cString: strerror(code)))
            }
            done += count
        }
    }

    static func listen(port: UInt16) -> Result<CInt, HTTPFault> {
        let socket = Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        guard socket >= 0 else { return .failure(.socket(String(cString: strerror(errno)))) }
        set(socket, SOL_SOCKET, SO_REUSEADDR)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard bound == 0, Glibc.listen(socket, 1024) == 0 else {
            let code = errno
            close(socket)
            return .failure(.socket(String(cString: strerror(code))))
        }
        return .success(socket)
    }

    /// Looks the name up and connects to the first address that answers.
    static func connect(_ host: String, _ port: UInt16, seconds: Int) throws(HTTPFault) -> CInt {
        var hints = addrinfo()
        hints.ai_family = AF_INET
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let result = getaddrinfo(host, String(port), &hints, &found)
        guard result == 0 else { throw .socket("cannot look up \"\(host)\": \(String(cString: gai_strerror(result)))") }
        defer { freeaddrinfo(found) }
        var cause = "no address"
        var entry = found
        while let candidate = entry {
            let socket = Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
            if socket < 0 { throw .socket(String(cString: strerror(errno))) }
            limit(socket, seconds: seconds)
            set(socket, CInt(IPPROTO_TCP), TCP_NODELAY)
            // SO_SNDTIMEO bounds connect(2) too, which then says EINPROGRESS.
            if Glibc.connect(socket, candidate.pointee.ai_addr, candidate.pointee.ai_addrlen) == 0 { return socket }
            let code = errno
            cause = code == EINPROGRESS ? "no answer in time" : String(cString: strerror(code))
            close(socket)
            entry = candidate.pointee.ai_next
        }
        throw .socket("cannot connect to \(host):\(port): \(cause)")
    }

    static func limit(_ socket: CInt, seconds: Int) {
        var time = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    }

    static func set(_ socket: CInt, _ level: CInt, _ option: CInt) {
        var one: CInt = 1
        setsockopt(socket, level, option, &one, socklen_t(MemoryLayout<CInt>.size))
    }
}

/// One line, at once: a container's log is read while it runs.
func say(_ line: String, to descriptor: CInt = 1) {
    let bytes = Array((line + "\n").utf8)
    _ = write(descriptor, bytes, bytes.count)
}
