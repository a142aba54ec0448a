import CKernel
import COpenSSL
import Glibc
import Loop
import ProxyResources
import Wire

extension Engine {
    /// Whether the sender of the request whose head was just parsed at `bytes` may have it answered.
    @inline(__always)
    mutating func authorize(_ client: Conn, _ bytes: UnsafePointer<UInt8>) -> Step {
        guard client.pointee.side != .outbound, let access = client.pointee.table?.pointee.arrays.pointee.access else {
            return .go
        }
        return authorize(client, bytes, access)
    }

    private mutating func authorize(
        _ client: Conn, _ bytes: UnsafePointer<UInt8>, _ access: UnsafePointer<AccessTable>
    ) -> Step {
        var view = self.view(client, bytes, access)
        var token: UnsafeMutablePointer<CachedToken>? = nil
        if access.pointee.tokenPlaceCount > 0 {
            switch readToken(bytes, access) {
            case .none: break
            case .bad:
                refuseToken(client)
                return .over
            case .good(let found):
                token = found
                view.token = found.liveToken
                let subject = found.pointee.token.view(found.pointee.token.principal)
                draft(client).pointee.subject = draft(client).keep(subject.start, subject.count, most: 64)
            }
        }
        if access.pointee.hasCustom, let custom = access.pointee.firstMatch(view, .custom) {
            let step = askAuthorizer(client, bytes, access, custom, view)
            if step != .go { return step }
        }
        let verdict = access.pointee.decide(view)
        if access.pointee.policyCount > 0 { draft(client).pointee.verdict = .allowed }
        if access.pointee.hasTrials { tryOut(client, access, view) }
        if verdict.isAllowed {
            if access.pointee.tokenPlaceCount > 0 { grant(client, access, token) }
            return .go
        }
        refuse(client, access, verdict.policy)
        return .over
    }

    /// RFC 6750 §3: what is wrong is told in the challenge, but not how.
    private mutating func refuseToken(_ client: Conn) {
        draft(client).pointee.verdict = .unauthenticated
        skipHead(client)
        answerLines = Array("www-authenticate: Bearer error=\"invalid_token\"\r\n".utf8)
        answer(client, status: 401, .badToken, ResponseFlag.badToken.reason, close: false)
    }

    /// Whether opaque bytes may pass; otherwise the connection is gone.
    mutating func authorizeTunnel(_ client: Conn, _ serverName: ByteView) -> Bool {
        guard client.pointee.side != .outbound, let access = table?.pointee.arrays.pointee.access,
            access.pointee.policyCount > 0
        else { return true }
        var view = AccessView(isRequest: false)
        place(client, &view)
        if serverName.count > 0 { view.serverName = serverName }
        view.remoteAddress = client.pointee.remoteAddress
        var verdict = access.pointee.decide(view)
        // Authorizers are asked about requests only, so what a CUSTOM policy takes has nobody to let it in.
        if verdict.isAllowed, let custom = access.pointee.firstMatch(view, .custom) {
            verdict = AccessOutcome(isAllowed: false, policy: custom)
        }
        if access.pointee.hasTrials { tryOut(client, access, view) }
        if verdict.isAllowed { return true }
        count(access, verdict.policy, .denied)
        client.pointee.service = inboundPort(client.pointee.originalPort)?.label ?? 0
        countTunnelRefused(client, .denied)
        if let held = client.pointee.table {
            client.pointee.table = nil
            leave(held)
        }
        weft_reset_on_close(client.pointee.fd)
        close(client)
        return false
    }

    /// Counts what policies on trial would have done, and what others only want to know of.
    private mutating func tryOut(_ client: Conn, _ access: UnsafePointer<AccessTable>, _ view: AccessView) {
        var isOnTrial = false
        for place in 0..<access.pointee.policyCount {
            let policy = access.pointee.policies[place]
            if policy.action == .audit {
                if access.pointee.match(policy, view) >= 0 { count(access, Int32(place), .audited) }
            } else if policy.isDryRun, access.pointee.speaks(policy, ofPort: view.destinationPort) {
                isOnTrial = true
            }
        }
        if !isOnTrial { return }
        let trial = access.pointee.decide(view, isDryRun: true)
        if trial.isAllowed && trial.policy < 0 { return }
        count(access, trial.policy, trial.isAllowed ? .wouldAllow : .wouldDeny)
        if trial.isAllowed || !view.isRequest { return }
        draft(client).pointee.verdict = .dryRunDenied
        if trial.policy >= 0 { draft(client).pointee.policy = access.pointee.policies[Int(trial.policy)].label }
    }

    mutating func count(_ access: UnsafePointer<AccessTable>, _ policy: Int32, _ outcome: PolicyOutcome) {
        let label = policy < 0 ? 0 : access.pointee.policies[Int(policy)].label
        counts.policies[PolicyCount(policy: label, outcome: outcome), default: 0] += 1
    }

    private mutating func refuse(_ client: Conn, _ access: UnsafePointer<AccessTable>, _ policy: Int32) {
        count(access, policy, .denied)
        draft(client).pointee.verdict = .denied
        if policy >= 0 { draft(client).pointee.policy = access.pointee.policies[Int(policy)].label }
        skipHead(client)
        if access.pointee.explainsDenials {
            let name = policy < 0 ? TextRange() : access.pointee.policies[Int(policy)].name
            var line = Array("x-weft-policy: ".utf8)
            if policy < 0 { line += Array("none allows it".utf8) }
            line += UnsafeBufferPointer(start: access.pointee.text + Int(name.offset), count: Int(name.count))
            line += [13, 10]
            answerLines = line
        }
        answer(client, status: 403, .denied, ResponseFlag.denied.reason, close: false)
    }

    // MARK: facts

    private func view(_ client: Conn, _ bytes: UnsafePointer<UInt8>, _ access: UnsafePointer<AccessTable>) -> AccessView
    {
        var view = AccessView(isRequest: true)
        place(client, &view)
        view.method = ByteView(start: bytes, count: parser.head.methodLength)
        if !parser.head.isConnect {
            var length = parser.head.pathLength
            let path = bytes + parser.head.pathOffset
            if let query = memchr(path, 63, length) {
                length = UnsafeRawPointer(path).distance(to: UnsafeRawPointer(query))
            }
            view.path =
                length == 0
                ? ByteView(start: StaticText.slash.utf8Start, count: 1) : ByteView(start: path, count: length)
        }
        view.host = ByteView(start: bytes + parser.head.hostOffset, count: parser.head.hostLength)
        view.head = bytes
        view.lines = parser.lines
        view.lineCount = parser.head.lineCount
        view.remoteAddress = (client.pointee.carrier ?? client).pointee.remoteAddress
        // A sidecar believes what the peer in front of it wrote last, a gateway only proxies it was told of.
        let hops = access.pointee.trustedProxies + (client.pointee.side == .inbound ? 1 : 0)
        if hops > 0, parser.head.forwardedForLine >= 0, let told = forwardedAddress(bytes, hops) {
            view.remoteAddress = told
        }
        return view
    }

    private func place(_ client: Conn, _ view: inout AccessView) {
        let client = client.pointee.carrier ?? client
        if let line = client.pointee.certificateLine, client.pointee.principalStart > 0 {
            let start = Int(client.pointee.principalStart)
            view.principal = ByteView(
                start: line + start, count: Int(client.pointee.certificateLineLength) - 2 - start)
        }
        view.sourceAddress = client.pointee.peerAddress
        if client.pointee.side == .gateway {
            var address: UInt32 = 0
            var port: UInt16 = 0
            _ = weft_local_address(client.pointee.fd, &address, &port)
            view.destinationAddress = address
            view.destinationPort = listeners[Int(client.pointee.listener)].port
        } else {
            view.destinationAddress = client.pointee.originalAddress
            view.destinationPort = client.pointee.originalPort
        }
        if let ssl = client.pointee.ssl { view.serverName = serverName(askedIn: ssl) }
    }

    /// The address `hops` places from the end of all `x-forwarded-for` lines; `nil` when there are fewer, or it is none.
    private func forwardedAddress(_ bytes: UnsafePointer<UInt8>, _ hops: Int) -> UInt32? {
        var left = hops
        var line = parser.head.lineCount - 1
        while line >= 0 {
            let entry = parser.lines[line]
            line -= 1
            guard entry.nameLength == 15,
                sameName(bytes + Int(entry.offset), StaticText.forwardedFor.utf8Start, 15)
            else { continue }
            let value = bytes + Int(entry.valueOffset)
            var end = Int(entry.valueLength)
            while end >= 0 {
                var start = end
                while start > 0, value[start - 1] != 44 { start -= 1 }
                left -= 1
                if left == 0 { return Self.address(value + start, end - start) }
                if start == 0 { break }
                end = start - 1
            }
        }
        return nil
    }

    private static func address(_ text: UnsafePointer<UInt8>, _ count: Int) -> UInt32? {
        var bytes = UnsafeBufferPointer(start: text, count: count)[...]
        while let first = bytes.first, first == 32 || first == 9 { bytes = bytes.dropFirst() }
        while let last = bytes.last, last == 32 || last == 9 { bytes = bytes.dropLast() }
        if bytes.isEmpty || bytes.count > 15 { return nil }
        var number: UInt32 = 0
        var part: UInt32 = 0
        var digits = 0
        var dots = 0
        for byte in bytes {
            if byte == 46 {
                if digits == 0 { return nil }
                number = number << 8 | part
                (part, digits, dots) = (0, 0, dots + 1)
                continue
            }
            guard byte >= 48, byte <= 57, digits < 3 else { return nil }
            part = part * 10 + UInt32(byte - 48)
            digits += 1
            if part > 255 { return nil }
        }
        return dots == 3 && digits > 0 ? number << 8 | part : nil
    }
}

/// What a policy did, for counting.
enum PolicyOutcome: UInt8, CaseIterable {
    case denied, wouldDeny, wouldAllow, audited

    var word: String {
        switch self {
        case .denied: "denied"
        case .wouldDeny: "dry_run_denied"
        case .wouldAllow: "dry_run_allowed"
        case .audited: "audited"
        }
    }
}

struct PolicyCount: Hashable, Sendable {
    /// In the book of labels; 0 when no ALLOW policy matched.
    var policy: UInt32
    var outcome: PolicyOutcome
}
