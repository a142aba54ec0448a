/// A request or an answer, read whole.
struct HTTPMessage {
    struct Header {
        var name: String
        var value: String
    }

    /// `GET /items HTTP/1.1`, or `HTTP/1.1 200 OK`.
    var startLine: [Substring]
    var headers: [Header]
    var body: [UInt8] = []

    subscript(name: String) -> String? { headers.first { $0.name == name }?.value }

    var method: String { startLine.first.map(String.init) ?? "" }
    var target: String { startLine.count > 1 ? String(startLine[1]) : "" }
    var path: String { String(target.prefix { $0 != "?" }) }
    var status: Int { startLine.count > 1 ? Int(startLine[1]) ?? 0 : 0 }

    /// Whether the connection may carry another message after this one.
    var keepsAlive: Bool {
        let words = (self["connection"] ?? "").lowercased()
        let isOld = startLine.first == "HTTP/1.0" || startLine.last == "HTTP/1.0"
        return isOld ? words.contains("keep-alive") : !words.contains("close")
    }
}

enum HTTPFault: Error {
    /// The peer closed the connection before a message began.
    case ended
    case malformed(String)
    case tooLarge(String)
    case timedOut
    case socket(String)
}

/// Reads HTTP/1.1 messages from one socket, one after the other.
struct HTTPReader {
    private static let longestHead = 32 << 10
    private static let longestBody = 8 << 20

    let socket: CInt
    private var buffer: [UInt8] = []
    private var start = 0

    init(_ socket: CInt) { self.socket = socket }

    /// - Parameters:
    ///   - isAnswerTo: the method of the request this answers; `nil` when a request is read.
    ///   - onBegin: called when the first byte is there: the connection is busy from here on.
    mutating func next(isAnswerTo method: String? = nil, onBegin: () -> Void = {}) throws(HTTPFault) -> HTTPMessage {
        var message: HTTPMessage
        repeat {
            message = try head(onBegin)
            // An interim answer says only that the real one will come.
        } while method != nil && (100..<200).contains(message.status)
        let isAnswer = method != nil
        if isAnswer, method == "HEAD" || message.status == 204 || message.status == 304 { return message }
        if let coding = message["transfer-encoding"]?.lowercased() {
            guard coding == "chunked" else { throw .malformed("transfer coding \"\(coding)\" is not known") }
            message.body = try chunks()
        } else if let text = message["content-length"] {
            guard let length = Int(text), length >= 0 else { throw .malformed("content-length \"\(text)\"") }
            if length > Self.longestBody { throw .tooLarge("a body of \(length) bytes") }
            message.body = try take(length)
        } else if isAnswer {
            message.body = try untilEnd()
            message.headers.append(.init(name: "connection", value: "close"))
        }
        return message
    }

    private mutating func head(_ onBegin: () -> Void) throws(HTTPFault) -> HTTPMessage {
        var lines: [String] = []
        var size = 0
        while true {
            if lines.isEmpty, start == buffer.count {
                guard try fill() else { throw .ended }
            }
            if lines.isEmpty, size == 0 { onBegin() }
            let line = try line()
            size += line.utf8.count + 2
            if size > Self.longestHead { throw .tooLarge("the header") }
            if line.isEmpty {
                // Empty lines before a request are to be overlooked (RFC 9112 §2.2).
                if lines.isEmpty { continue }
                break
            }
            lines.append(line)
        }
        let words = lines[0].split(separator: " ", maxSplits: 2)
        guard words.count >= 2 else { throw .malformed("the line \"\(lines[0].prefix(80))\"") }
        var headers: [HTTPMessage.Header] = []
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { throw .malformed("the header \"\(line.prefix(80))\"") }
            let value = line[line.index(after: colon)...]
            headers.append(.init(name: line[..<colon].lowercased(), value: trimmed(value)))
        }
        return HTTPMessage(startLine: words, headers: headers)
    }

    private func trimmed(_ text: Substring) -> String {
        var text = text
        while let first = text.first, first == " " || first == "\t" { text.removeFirst() }
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return String(text)
    }

    private mutating func chunks() throws(HTTPFault) -> [UInt8] {
        var body: [UInt8] = []
        while true {
            let line = try line()
            guard let size = Int(line.prefix { $0 != ";" && $0 != " " }, radix: 16), size >= 0 else {
                throw .malformed("the chunk size \"\(line.prefix(20))\"")
            }
            if size == 0 { break }
            if size > Self.longestBody - body.count { throw .tooLarge("a chunked body") }
            body += try take(size)
            guard try endsLine() else { throw .malformed("a chunk longer than its size") }
        }
        while try !endsLine() {}
        return body
    }

    private mutating func endsLine() throws(HTTPFault) -> Bool { try line().isEmpty }

    /// One line without its end.
    private mutating func line() throws(HTTPFault) -> String {
        var searched = start
        while true {
            if let end = buffer[searched...].firstIndex(of: 10) {
                let last = end > start && buffer[end - 1] == 13 ? end - 1 : end
                let line = String(decoding: buffer[start..<last], as: UTF8.self)
                start = end + 1
                return line
            }
            searched = buffer.count
            if buffer.count - start > Self.longestHead { throw .tooLarge("a header line") }
            let moved = start
            guard try fill() else { throw .malformed("the connection ended inside a message") }
            searched -= moved - start
        }
    }

    private mutating func take(_ count: Int) throws(HTTPFault) -> [UInt8] {
        while buffer.count - start < count {
            guard try fill() else { throw .malformed("the connection ended inside a body") }
        }
        defer { start += count }
        return Array(buffer[start..<start + count])
    }

    private mutating func untilEnd() throws(HTTPFault) -> [UInt8] {
        while try fill() {
            if buffer.count - start > Self.longestBody { throw .tooLarge("a body") }
        }
        defer { start = buffer.count }
        return Array(buffer[start...])
    }

    /// - Returns: `false` at the end of the stream.
    private mutating func fill() throws(HTTPFault) -> Bool {
        if start > 0 {
            buffer.removeSubrange(..<start)
            start = 0
        }
        return try Socket.read(socket, into: &buffer)
    }
}
