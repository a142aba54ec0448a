import COpenSSL
import Glibc
import Loop
import ProxyResources
import Wire

/// The numbers of fields of `envoy.service.auth.v3.CheckRequest` and what it is made of.
private enum CheckField {
    static let attributes = 1
    static let source = 1
    static let destination = 2
    static let request = 4
    static let extensions = 10
    static let tlsSession = 12

    static let address = 1
    static let service = 2
    static let labels = 3
    static let principal = 4
    static let certificate = 5

    static let time = 1
    static let http = 2
    static let id = 1
    static let method = 2
    static let headers = 3
    static let path = 4
    static let host = 5
    static let scheme = 6
    static let size = 9
    static let version = 10
    static let body = 11
    static let rawBody = 12
}

extension Engine {
    /// A call of `Check`, as a request of HTTP/1 text that becomes one of HTTP/2, with its one message.
    func writeCheck(
        _ client: Conn, _ bytes: UnsafePointer<UInt8>, _ access: UnsafePointer<AccessTable>, _ entry: AuthorizerEntry,
        _ view: AccessView
    ) -> Question? {
        let body = shownBody(client, bytes, entry)
        let certificate = entry.includesCertificate ? peerCertificate(client) : []
        let fixed = Int(entry.added.count) + Int(entry.authority.count) + Int(entry.extensions.count) + 3072
        // A line becomes a map's entry; the path, the host and the method stand in two places.
        let head = 2 * parser.head.length + 16 * parser.head.lineCount
        guard let sizeClass = BufferPool.sizeClass(for: head + body.count + certificate.count + fixed) else {
            return nil
        }
        let out = buffers.take(sizeClass)
        let size = BufferPool.size(sizeClass)
        var message = BackwardMessage(out, endingAt: size)
        putAttributes(client, bytes, access, entry, view, body, certificate, &message)
        message.embed(CheckField.attributes, endingAt: size)
        let length = size - message.start
        // The prefix of a message: not compressed, its length.
        if let prefix = message.reserve(5) {
            prefix[0] = 0
            for place in 0..<4 { prefix[1 + place] = UInt8(truncatingIfNeeded: length >> (24 - 8 * place)) }
        }
        var at = 0
        if !message.isFull && message.start > Int(entry.added.count) + Int(entry.authority.count) + 320 {
            put("POST /envoy.service.auth.v3.Authorization/Check HTTP/1.1\r\nhost: ", out, &at)
            put(access.pointee.text + Int(entry.authority.offset), Int(entry.authority.count), out, &at)
            put("\r\ncontent-type: application/grpc\r\nte: trailers\r\nuser-agent: weft\r\ngrpc-timeout: ", out, &at)
            putNumber(max(1, Int(entry.timeout / 1_000_000)), out, &at)
            put("m\r\n", out, &at)
            put(access.pointee.text + Int(entry.added.offset), Int(entry.added.count), out, &at)
            put("content-length: ", out, &at)
            putNumber(length + 5, out, &at)
            put("\r\n\r\n", out, &at)
        }
        guard at > 0 else {
            buffers.give(out, sizeClass)
            return nil
        }
        memmove(out + at, out + message.start, length + 5)
        return Question(bytes: out, length: at + length + 5, sizeClass: sizeClass)
    }

    private func putAttributes(
        _ client: Conn, _ bytes: UnsafePointer<UInt8>, _ access: UnsafePointer<AccessTable>, _ entry: AuthorizerEntry,
        _ view: AccessView, _ body: ShownBody, _ certificate: [UInt8], _ message: inout BackwardMessage
    ) {
        if view.serverName.count > 0 {
            let end = message.start
            message.text(1, view.serverName.start, view.serverName.count)
            message.embed(CheckField.tlsSession, endingAt: end)
        }
        if let room = message.reserve(Int(entry.extensions.count)) {
            memcpy(room, access.pointee.text + Int(entry.extensions.offset), Int(entry.extensions.count))
        }
        let end = message.start
        putHTTP(client, bytes, access, entry, view, body, &message)
        putTime(client, &message)
        message.embed(CheckField.request, endingAt: end)

        let carrier = client.pointee.carrier ?? client
        let destination = message.start
        if let own = ownPrincipal(client) { message.text(CheckField.principal, own.start, own.count) }
        putAddress(view.destinationAddress, view.destinationPort, &message)
        message.embed(CheckField.destination, endingAt: destination)

        let source = message.start
        if !certificate.isEmpty {
            certificate.withUnsafeBufferPointer { text in
                if let start = text.baseAddress { message.bytes(CheckField.certificate, start, text.count) }
            }
        }
        if view.principal.count > 0 { message.text(CheckField.principal, view.principal.start, view.principal.count) }
        putLabels(client, &message)
        putAddress(view.remoteAddress, carrier.pointee.remotePort, &message)
        message.embed(CheckField.source, endingAt: source)
    }

    private func putHTTP(
        _ client: Conn, _ bytes: UnsafePointer<UInt8>, _ access: UnsafePointer<AccessTable>, _ entry: AuthorizerEntry,
        _ view: AccessView, _ body: ShownBody, _ message: inout BackwardMessage
    ) {
        let start = message.start
        if body.count > 0, let room = message.reserve(body.count) {
            body.copy(room)
            if !entry.packsBodyAsBytes { UTF8Text.mend(room, body.count) }
            message.embed(entry.packsBodyAsBytes ? CheckField.rawBody : CheckField.body, endingAt: start)
        }
        let draft = draft(client)
        if draft.pointee.majorVersion == 2 {
            message.text(CheckField.version, "HTTP/2")
        } else {
            message.text(CheckField.version, client.pointee.oldClient ? "HTTP/1.0" : "HTTP/1.1")
        }
        let size = parser.head.isChunked ? -1 : max(0, parser.head.contentLength)
        message.varint(CheckField.size, UInt64(bitPattern: Int64(size)))
        let scheme = isSecure(client, bytes)
        message.text(CheckField.scheme, scheme ? "https" : "http")
        message.text(CheckField.host, view.host.start, view.host.count)
        putPath(bytes, CheckField.path, &message)
        putHeaders(client, bytes, access, entry, body, isSecure: scheme, &message)
        message.text(CheckField.method, view.method.start, view.method.count)
        let id = draft.pointee.requestID
        message.text(CheckField.id, draft.textStart + Int(id.offset), Int(id.count))
        message.embed(CheckField.http, endingAt: start)
    }

    /// The target's path and query; a target without a path means `/`.
    private func putPath(_ bytes: UnsafePointer<UInt8>, _ field: Int, _ message: inout BackwardMessage) {
        if parser.head.pathLength == 0 {
            message.text(field, parser.head.isConnect ? "" : "/")
        } else {
            message.text(field, bytes + parser.head.pathOffset, parser.head.pathLength)
        }
    }

    private func isSecure(_ client: Conn, _ bytes: UnsafePointer<UInt8>) -> Bool {
        if client.pointee.side == .gateway { return (client.pointee.carrier ?? client).pointee.ssl != nil }
        if parser.head.forwardedProtoLine < 0 { return false }
        let line = parser.lines[parser.head.forwardedProtoLine]
        return line.valueLength == 5 && sameName(bytes + Int(line.valueOffset), StaticText.https.utf8Start, 5)
    }

    /// Seconds, and the rest in nanoseconds, since 1970, when the head began to come.
    private func putTime(_ client: Conn, _ message: inout BackwardMessage) {
        let wall = Clock.wall - Int64((now &- client.pointee.startedAt) / 1_000_000)
        let end = message.start
        message.varint(2, UInt64(wall % 1000) * 1_000_000)
        message.varint(1, UInt64(wall / 1000))
        message.embed(CheckField.time, endingAt: end)
    }

    // MARK: headers

    private func putHeaders(
        _ client: Conn, _ bytes: UnsafePointer<UInt8>, _ access: UnsafePointer<AccessTable>, _ entry: AuthorizerEntry,
        _ body: ShownBody, isSecure: Bool, _ message: inout BackwardMessage
    ) {
        if entry.shownBody > 0 {
            let end = message.start
            message.text(2, body.isWhole ? "false" : "true")
            message.text(1, "x-envoy-auth-partial-body")
            message.embed(CheckField.headers, endingAt: end)
        }
        for place in 0..<parser.head.lineCount {
            let line = parser.lines[place]
            let name = bytes + Int(line.offset)
            let length = Int(line.nameLength)
            let isShown = entry.shown.count == 0 || access.pointee.names(entry.shown, name, length)
            if !isShown || OwnLines.areHidden(name, length) || isRepeated(bytes, place) { continue }
            putHeader(bytes, place, &message)
        }
        // As Envoy shows them, which servers look for.
        var end = message.start
        message.text(2, isSecure ? "https" : "http")
        message.text(1, ":scheme")
        message.embed(CheckField.headers, endingAt: end)
        end = message.start
        putPath(bytes, 2, &message)
        message.text(1, ":path")
        message.embed(CheckField.headers, endingAt: end)
        end = message.start
        message.text(2, bytes, parser.head.methodLength)
        message.text(1, ":method")
        message.embed(CheckField.headers, endingAt: end)
        end = message.start
        message.text(2, bytes + parser.head.hostOffset, parser.head.hostLength)
        message.text(1, ":authority")
        message.embed(CheckField.headers, endingAt: end)
    }

    private func isSame(_ bytes: UnsafePointer<UInt8>, _ one: Int, _ other: Int) -> Bool {
        let (first, second) = (parser.lines[one], parser.lines[other])
        if first.nameLength != second.nameLength { return false }
        for place in 0..<Int(first.nameLength) {
            let (left, right) = (bytes[Int(first.offset) + place], bytes[Int(second.offset) + place])
            if left != right && (left ^ right != 32 || left | 32 < 97 || left | 32 > 122) { return false }
        }
        return true
    }

    /// Whether a line before has the same name, and so shows this one's value too.
    private func isRepeated(_ bytes: UnsafePointer<UInt8>, _ place: Int) -> Bool {
        for earlier in 0..<place where isSame(bytes, earlier, place) { return true }
        return false
    }

    /// A header with the values of all its lines, as a list (RFC 9110 §5.3); of cookies as theirs (RFC 6265 §5.4).
    private func putHeader(_ bytes: UnsafePointer<UInt8>, _ first: Int, _ message: inout BackwardMessage) {
        let line = parser.lines[first]
        let name = bytes + Int(line.offset)
        let length = Int(line.nameLength)
        let isCookie = length == 6 && sameName(name, StaticText.cookie.utf8Start, 6)
        let end = message.start
        var place = parser.head.lineCount - 1
        while place >= first {
            let next = parser.lines[place]
            defer { place -= 1 }
            if place > first && !isSame(bytes, first, place) { continue }
            if message.start < end, let out = message.reserve(isCookie ? 2 : 1) {
                out[0] = isCookie ? 59 : 44
                if isCookie { out[1] = 32 }
            }
            guard let out = message.reserve(Int(next.valueLength)) else { return }
            memcpy(out, bytes + Int(next.valueOffset), Int(next.valueLength))
            UTF8Text.mend(out, Int(next.valueLength))
        }
        message.embed(2, endingAt: end)
        let value = message.start
        guard let out = message.reserve(length) else { return }
        memcpy(out, name, length)
        HeaderBlockEncoder.lower(out, length)
        message.embed(1, endingAt: value)
        message.embed(CheckField.headers, endingAt: end)
    }

    // MARK: peers

    /// An `envoy.config.core.v3.Address` with a `SocketAddress`.
    private func putAddress(_ address: UInt32, _ port: UInt16, _ message: inout BackwardMessage) {
        let end = message.start
        message.varint(3, UInt64(port))
        let text = message.start
        // From the last digit on.
        for shift in stride(from: UInt32(0), through: 24, by: 8) {
            if shift > 0, let out = message.reserve(1) { out[0] = 46 }
            var part = address >> shift & 255
            repeat {
                if let out = message.reserve(1) { out[0] = UInt8(48 + part % 10) }
                part /= 10
            } while part > 0
        }
        message.embed(2, endingAt: text)
        message.embed(1, endingAt: end)
        message.embed(CheckField.address, endingAt: end)
    }

    /// What is known of a caller inside the mesh.
    private func putLabels(_ client: Conn, _ message: inout BackwardMessage) {
        if client.pointee.peerLabels == 0 || client.pointee.side != .inbound { return }
        let peers = labels.contents().peers
        let place = Int(client.pointee.peerLabels)
        if place >= peers.count { return }
        let peer = peers[place]
        for (name, value) in [("app", peer.app), ("version", peer.version), ("namespace", peer.namespace)] {
            if value == "unknown" || value.isEmpty { continue }
            let end = message.start
            message.text(2, value)
            message.text(1, name)
            message.embed(CheckField.labels, endingAt: end)
        }
        if peer.workload != "unknown" { message.text(CheckField.service, peer.workload) }
    }

    /// Our own identity, as the line about the client's certificate has it: `By=…;`.
    private func ownPrincipal(_ client: Conn) -> ByteView? {
        let carrier = client.pointee.carrier ?? client
        guard let line = carrier.pointee.certificateLine else { return nil }
        let count = Int(carrier.pointee.certificateLineLength)
        let prefix: StaticString = "x-forwarded-client-cert: By="
        let start = prefix.utf8CodeUnitCount
        guard count > start, memcmp(line, prefix.utf8Start, start) == 0,
            let end = memchr(line + start, 59, count - start)
        else { return nil }
        return ByteView(start: line + start, count: UnsafeRawPointer(line + start).distance(to: UnsafeRawPointer(end)))
    }

    /// The client's certificate as PEM in URL encoding; empty when it has none.
    private func peerCertificate(_ client: Conn) -> [UInt8] {
        guard let ssl = (client.pointee.carrier ?? client).pointee.ssl,
            let certificate = SSL_get1_peer_certificate(ssl)
        else { return [] }
        defer { X509_free(certificate) }
        guard let memory = BIO_new(BIO_s_mem()) else { return [] }
        defer { BIO_free(memory) }
        guard PEM_write_bio_X509(memory, certificate) == 1 else { return [] }
        var pem = [UInt8](repeating: 0, count: 16384)
        let count = BIO_read(memory, &pem, Int32(pem.count))
        if count <= 0 { return [] }
        return PercentText.encode(pem[..<Int(count)])
    }
}
