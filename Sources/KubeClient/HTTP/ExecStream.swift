internal import Kernel
package import KubeTypes
internal import TLS
internal import Wire

/// What became of a command in a container.
package struct ExecResult: Sendable {
    package var stdout: [UInt8]
    package var stderr: [UInt8]
    /// 0 when it went well.
    package var exitCode: Int
}

extension HTTPAPI {
    /// Runs a command in a running container, as `kubectl exec` does: over one WebSocket, with Kubernetes' channels on it.
    ///
    /// - Parameters:
    ///   - input: all that the command reads; it sees the end of it afterwards. nil for a command that reads nothing.
    ///   - patience: seconds the server may be silent.
    package func exec(
        _ pod: ObjectKey, container: String, _ command: [String], input: [UInt8]?, patience: Int
    ) async throws(APIFailure) -> ExecResult {
        var query = "container=\(percentEncoded(container))&stdout=true&stderr=true"
        if input != nil { query += "&stdin=true" }
        for word in command { query += "&command=\(percentEncoded(word))" }
        let path = ResourceType.pods.path(namespace: pod.namespace, name: pod.name, subresource: "exec") + "?" + query
        let result = await onThread { [self] in
            Result<ExecResult, ExecFault> { () throws(ExecFault) in
                let stream = ExecStream(try webSocket(path, patience))
                if let input { stream.feed(input) }
                return try stream.finish()
            }
        }
        do throws(ExecFault) { return try result.get() } catch {
            switch error {
            case .refused(let failure): throw failure
            case .broken(let why): throw .internalError("exec in pod \(pod), container \(container): \(why)")
            }
        }
    }

    /// TLS says who answers, so the handshake's own proof of that (`sec-websocket-accept`) adds nothing.
    private func webSocket(_ path: String, _ patience: Int) throws(ExecFault) -> HTTPExchange {
        let headers = [
            ("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13"),
            ("sec-websocket-key", Base64.encode((0..<16).map { _ in UInt8.random(in: 0...255) })),
            ("sec-websocket-protocol", "v5.channel.k8s.io"),
        ]
        let connection: HTTPExchange
        let head: ResponseHead
        let body: [UInt8]
        do throws(TLSFailure) {
            (connection, head) = try open(path, headers, patience: patience)
            if head.status == 101 && head.headers["sec-websocket-protocol"] == "v5.channel.k8s.io" {
                return connection
            }
            body = try connection.readBody(head)
        } catch { throw .broken("\(error)") }
        if let status = try? JSON(parsing: body) { throw .refused(APIFailure(status: status)) }
        throw .broken("the server does not speak version 5 of the channel protocol")
    }
}

/// Why a command could not be run to its end.
enum ExecFault: Error {
    case refused(APIFailure)
    case broken(String)
}

/// The client's end of a WebSocket (RFC 6455) that carries a command's streams: the first byte of a message is its channel.
private struct ExecStream {
    private enum Opcode: UInt8 { case more = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 }
    private static let piece = 32_768
    private static let mostBytes = 16 << 20

    private let connection: HTTPExchange

    init(_ connection: HTTPExchange) { self.connection = connection }

    /// Sends the command's input and its end. What cannot be sent any more is for `finish` to explain.
    func feed(_ input: [UInt8]) {
        var place = 0
        do throws(TLSFailure) {
            while place < input.count {
                let end = min(input.count, place + Self.piece)
                try send(.binary, [0], input[place..<end])
                place = end
            }
            // Version 5 of the protocol: channel 0 is closed.
            try send(.binary, [255, 0], [])
        } catch {}
    }

    /// Reads what the command says until it has ended.
    func finish() throws(ExecFault) -> ExecResult {
        var result = ExecResult(stdout: [], stderr: [], exitCode: -1)
        while true {
            let message: [UInt8]?
            do throws(TLSFailure) { message = try next() } catch {
                throw .broken("the server ended the connection before the command had ended: \(error)")
            }
            guard let message, let channel = message.first else {
                throw .broken("the server ended the connection before the command had ended")
            }
            switch channel {
            case 1: result.stdout += message.dropFirst()
            case 2: result.stderr += message.dropFirst()
            case 3:
                result.exitCode = try Self.exitCode(Array(message.dropFirst()))
                return result
            default: break
            }
            if result.stdout.count + result.stderr.count > Self.mostBytes {
                throw .broken("the command says more than \(Self.mostBytes) bytes")
            }
        }
    }

    private static func exitCode(_ status: [UInt8]) throws(ExecFault) -> Int {
        guard let json = try? JSON(parsing: status) else { throw .broken("the server's last word is no Status") }
        if json["status"]?.string == "Success" { return 0 }
        for cause in json["details"]?["causes"]?.array ?? [] where cause["reason"]?.string == "ExitCode" {
            if let code = cause["message"]?.string.flatMap({ Int($0) }) { return code }
        }
        throw .refused(APIFailure(status: json))
    }

    // MARK: frames

    private func send(_ opcode: Opcode, _ head: [UInt8], _ body: ArraySlice<UInt8>) throws(TLSFailure) {
        let count = head.count + body.count
        var frame: [UInt8] = [0x80 | opcode.rawValue]
        if count < 126 {
            frame.append(0x80 | UInt8(count))
        } else if count < 65_536 {
            frame += [0x80 | 126, UInt8(count >> 8), UInt8(count & 0xFF)]
        } else {
            frame.append(0x80 | 127)
            for shift in stride(from: 56, through: 0, by: -8) { frame.append(UInt8(count >> shift & 0xFF)) }
        }
        let mask = UInt32.random(in: 1 ... .max)
        let key = withUnsafeBytes(of: mask) { Array($0) }
        frame += key
        let start = frame.count
        frame += head
        frame += body
        frame.withUnsafeMutableBytes { bytes in
            for place in start..<bytes.count { bytes[place] ^= key[(place - start) & 3] }
        }
        try connection.stream.write(frame)
    }

    /// The next message; nil when the server says goodbye.
    private func next() throws(TLSFailure) -> [UInt8]? {
        var message: [UInt8] = []
        while true {
            let head = try connection.take(2)
            guard let opcode = Opcode(rawValue: head[0] & 0x0F) else { throw TLSFailure("a frame of an unknown kind") }
            var count = Int(head[1] & 0x7F)
            if count >= 126 {
                count = try connection.take(count == 126 ? 2 : 8).reduce(0) { $0 << 8 | Int($1) }
            }
            if head[1] & 0x80 != 0 || count < 0 || count > Self.mostBytes - message.count {
                throw TLSFailure("a frame that is masked or too long")
            }
            let body = try connection.take(count)
            switch opcode {
            case .ping: try send(.pong, [], body[...])
            case .pong: break
            case .close: return nil
            case .text, .binary, .more:
                message += body
                if head[0] & 0x80 != 0 { return message }
            }
        }
    }
}
