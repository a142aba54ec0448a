internal import TLS

/// The head of an HTTP/1.1 response.
struct ResponseHead: Sendable {
    enum Body: Sendable { case length(Int), chunked, untilClose, none }
    var status: Int
    var headers: [String: String]  // names in lower case
    var body: Body
    var keepsConnection: Bool
}

/// One connection to the API server, used for one request after another.
final class HTTPExchange: @unchecked Sendable {  // One thread at a time uses it.
    let stream: ClientStream
    private var received: [UInt8] = []
    private var place = 0

    init(_ stream: ClientStream) { self.stream = stream }

    func send(_ method: String, _ path: String, host: String, headers: [(String, String)], body: [UInt8])
        throws(TLSFailure)
    {
        var head = "\(method) \(path) HTTP/1.1\r\nhost: \(host)\r\n"
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        if !body.isEmpty || method != "GET" { head += "content-length: \(body.count)\r\n" }
        head += "\r\n"
        try stream.write(Array(head.utf8) + body)
    }

    func readHead() throws(TLSFailure) -> ResponseHead {
        let status = try readLine().split(separator: " ")
        guard status.count >= 2, status[0].hasPrefix("HTTP/1."), let code = Int(status[1]) else {
            throw TLSFailure("the server does not speak HTTP/1.1")
        }
        var headers: [String: String] = [:]
        while true {
            let line = try readLine()
            if line.isEmpty { break }
            guard let colon = line.firstIndex(of: ":") else {
                throw TLSFailure("the server sent a header without a colon: \(line)")
            }
            var value = line[line.index(after: colon)...]
            while value.first == " " { value.removeFirst() }
            headers[line[..<colon].lowercased()] = String(value)
        }
        if code == 100 { return try readHead() }
        let body: ResponseHead.Body
        if code == 204 || code == 304 {
            body = .none
        } else if headers["transfer-encoding"]?.lowercased() == "chunked" {
            body = .chunked
        } else if let length = headers["content-length"].flatMap({ Int($0) }) {
            guard length >= 0 else { throw TLSFailure("the server sent a content-length of \(length)") }
            body = .length(length)
        } else {
            body = .untilClose
        }
        var keeps = headers["connection"]?.lowercased() != "close"
        if case .untilClose = body { keeps = false }
        return ResponseHead(status: code, headers: headers, body: body, keepsConnection: keeps)
    }

    func readBody(_ head: ResponseHead) throws(TLSFailure) -> [UInt8] {
        var body: [UInt8] = []
        try readPieces(head) { (piece) throws(TLSFailure) in
            body += piece
            return true
        }
        return body
    }

    /// Hands on the body as it comes, until its end or until `take` answers false.
    func readPieces(_ head: ResponseHead, _ take: ([UInt8]) throws(TLSFailure) -> Bool) throws(TLSFailure) {
        switch head.body {
        case .none: return
        case .length(var left):
            while left > 0 {
                let piece = try readSome(upTo: left)
                guard !piece.isEmpty else {
                    throw TLSFailure("the server closed the connection before the answer's end")
                }
                left -= piece.count
                guard try take(piece) else { return }
            }
        case .untilClose:
            while true {
                let piece = try readSome(upTo: .max)
                guard !piece.isEmpty, try take(piece) else { return }
            }
        case .chunked:
            while true {
                let line = try readLine()
                guard var left = Int(line.prefix { $0.isHexDigit }, radix: 16) else {
                    throw TLSFailure("the server sent a bad chunk size: \(line)")
                }
                if left == 0 {
                    while try !readLine().isEmpty {}  // trailers
                    return
                }
                while left > 0 {
                    let piece = try readSome(upTo: left)
                    guard !piece.isEmpty else {
                        throw TLSFailure("the server closed the connection before the answer's end")
                    }
                    left -= piece.count
                    guard try take(piece) else { return }
                }
                _ = try readLine()
            }
        }
    }

    /// So many bytes, whatever they are.
    func take(_ count: Int) throws(TLSFailure) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let piece = try readSome(upTo: count - bytes.count)
            guard !piece.isEmpty else { throw TLSFailure("the server closed the connection") }
            bytes += piece
        }
        return bytes
    }

    private func readSome(upTo limit: Int) throws(TLSFailure) -> [UInt8] {
        if place == received.count {
            received = try stream.read()
            place = 0
        }
        let end = min(received.count, limit > received.count - place ? received.count : place + limit)
        defer { place = end }
        return Array(received[place..<end])
    }

    /// A line without its CRLF. A head's line beyond 64 KiB is refused.
    private func readLine() throws(TLSFailure) -> String {
        var line: [UInt8] = []
        while true {
            if let end = received[place...].firstIndex(of: 0x0A) {
                line += received[place..<end]
                place = end + 1
                if line.last == 0x0D { line.removeLast() }
                return String(decoding: line, as: UTF8.self)
            }
            line += received[place...]
            guard line.count < 65_536 else { throw TLSFailure("the server sent a header of more than 64 KiB") }
            received = try stream.read()
            place = 0
            guard !received.isEmpty else { throw TLSFailure("the server closed the connection before answering") }
        }
    }
}
