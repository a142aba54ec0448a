import Glibc
import ProxyResources
import Wire

/// Some bytes in place.
struct ByteView {
    var start: UnsafePointer<UInt8>
    var count: Int

    static var none: ByteView { ByteView(start: StaticText.slash.utf8Start, count: 0) }

    func isSame(as other: ByteView) -> Bool { count == other.count && memcmp(start, other.start, count) == 0 }
    func dropFirst(_ number: Int) -> ByteView { ByteView(start: start + number, count: count - number) }
}

/// What authorization looks at, in place: bytes of the request's head and of the connection's peer. See `AccessFacts`, whose
/// meaning this has.
struct AccessView {
    var isRequest: Bool
    var principal = ByteView.none
    var sourceAddress: UInt32 = 0
    var remoteAddress: UInt32 = 0
    var destinationAddress: UInt32 = 0
    var destinationPort: UInt16 = 0
    var serverName = ByteView.none
    var method = ByteView.none
    var path = ByteView.none
    var host = ByteView.none
    /// The request's head, and the parser's lines of it.
    var head: UnsafePointer<UInt8>? = nil
    var lines: UnsafeMutablePointer<HeaderLine>? = nil
    var lineCount = 0
    var token: UnsafePointer<LiveToken>? = nil
}

/// What policies say: whether they let it pass, and the place of the one that decided, -1 when none did.
struct AccessOutcome {
    var isAllowed: Bool
    var policy: Int32
}

extension AccessTable {
    /// DENY and ALLOW policies, those in force or those on trial; see `ProxyResources.authorize`, with which this agrees.
    func decide(_ view: AccessView, isDryRun: Bool = false) -> AccessOutcome {
        var isLimited = false
        for place in 0..<policyCount where policies[place].isDryRun == isDryRun {
            let policy = policies[place]
            switch policy.action {
            case .custom, .audit: break
            case .deny: if match(policy, view) >= 0 { return AccessOutcome(isAllowed: false, policy: Int32(place)) }
            case .allow:
                if !speaks(policy, ofPort: view.destinationPort) { continue }
                if match(policy, view) >= 0 { return AccessOutcome(isAllowed: true, policy: Int32(place)) }
                isLimited = true
            }
        }
        return AccessOutcome(isAllowed: !isLimited, policy: -1)
    }

    /// The first policy in force of a kind that the request matches.
    func firstMatch(_ view: AccessView, _ action: AuthorizationPolicy.Action) -> Int32? {
        for place in 0..<policyCount where policies[place].action == action && !policies[place].isDryRun {
            if match(policies[place], view) >= 0 { return Int32(place) }
        }
        return nil
    }

    /// The first rule of the policy that the request matches; -1 when none does, or the policy is not about this port.
    func match(_ policy: PolicyEntry, _ view: AccessView) -> Int32 {
        if !speaks(policy, ofPort: view.destinationPort) { return -1 }
        for place in 0..<policy.rules.count {
            let rule = rules[Int(policy.rules.start &+ place)]
            if !view.isRequest && policy.action == .allow && rule.asksOfRequests { continue }
            if holdsAny(rule.sources, view) && holdsAny(rule.operations, view) && holdsAll(rule.conditions, view) {
                return place
            }
        }
        return -1
    }

    func speaks(_ policy: PolicyEntry, ofPort port: UInt16) -> Bool {
        if policy.ports.count == 0 { return true }
        for place in Int(policy.ports.start)..<Int(policy.ports.start &+ policy.ports.count) where ports[place] == port
        {
            return true
        }
        return false
    }

    private func holdsAny(_ run: Run, _ view: AccessView) -> Bool {
        if run.count == 0 { return true }
        for place in Int(run.start)..<Int(run.start &+ run.count) where holdsAll(clauses[place], view) { return true }
        return false
    }

    private func holdsAll(_ run: Run, _ view: AccessView) -> Bool {
        for place in Int(run.start)..<Int(run.start &+ run.count) {
            let test = tests[place]
            // On opaque bytes these cannot be tested; ALLOW rules that ask for them never come here.
            if test.isOfRequests && !view.isRequest { continue }
            if holds(test, view) == test.isNegated { return false }
        }
        return true
    }

    private func holds(_ test: AccessTestEntry, _ view: AccessView) -> Bool {
        switch test.attribute {
        case .principal:
            let scheme = 9  // `spiffe://`
            return any(test.patterns, view.principal.count > scheme ? view.principal.dropFirst(scheme) : .none)
        case .namespace: return any(test.patterns, SPIFFEView(view.principal)?.namespace ?? .none)
        case .serviceAccount: return isAccount(test.patterns, view.principal)
        case .trustDomain:
            if view.principal.count <= 9 { return any(test.patterns, .none) }
            var domain = view.principal.dropFirst(9)
            if let slash = memchr(domain.start, 47, domain.count) {
                domain.count = UnsafeRawPointer(domain.start).distance(to: UnsafeRawPointer(slash))
            }
            return any(test.patterns, domain)
        case .sourceAddress: return any(test.patterns, address: view.sourceAddress)
        case .remoteAddress: return any(test.patterns, address: view.remoteAddress)
        case .destinationAddress: return any(test.patterns, address: view.destinationAddress)
        case .port:
            for place in Int(test.patterns.start)..<Int(test.patterns.start &+ test.patterns.count)
            where patterns[place].number == UInt32(view.destinationPort) {
                return true
            }
            return false
        case .serverName: return any(test.patterns, view.serverName)
        case .host: return any(test.patterns, view.host, ignoringCase: true)
        case .method: return any(test.patterns, view.method)
        case .path: return any(test.patterns, view.path)
        case .header: return header(test, view)
        case .requestPrincipal:
            guard let token = view.token else { return any(test.patterns, .none) }
            return any(test.patterns, token.pointee.view(token.pointee.principal))
        case .audience: return claim(test.patterns, LiveToken.audienceKey, view.token)
        case .presenter: return claim(test.patterns, LiveToken.presenterKey, view.token)
        case .claim:
            let key = ByteView(start: text + Int(test.key.offset), count: Int(test.key.count))
            return claim(test.patterns, key, view.token)
        }
    }

    private func any(_ run: Run, _ value: ByteView, ignoringCase: Bool = false) -> Bool {
        for place in Int(run.start)..<Int(run.start &+ run.count)
        where admits(patterns[place], value, ignoringCase) {
            return true
        }
        return false
    }

    private func any(_ run: Run, address: UInt32) -> Bool {
        for place in Int(run.start)..<Int(run.start &+ run.count) {
            let block = patterns[place]
            if !block.isForeign && address & block.mask == block.number { return true }
        }
        return false
    }

    private func admits(_ pattern: PatternEntry, _ value: ByteView, _ ignoringCase: Bool) -> Bool {
        let wanted = text + Int(pattern.text.offset)
        let count = Int(pattern.text.count)
        func same(_ at: UnsafePointer<UInt8>) -> Bool {
            ignoringCase ? sameName(at, wanted, count) : memcmp(at, wanted, count) == 0
        }
        switch pattern.kind {
        case .present: return value.count > 0
        case .exact: return value.count == count && same(value.start)
        case .prefix: return value.count >= count && same(value.start)
        case .suffix: return value.count >= count && same(value.start + (value.count - count))
        case .template: return admits(pattern.parts, value)
        case .block, .port: return false
        }
    }

    /// See `PathTemplate.admits`.
    private func admits(_ run: Run, _ path: ByteView) -> Bool {
        var rest = path
        let end = Int(run.start &+ run.count)
        for place in Int(run.start)..<end {
            let part = parts[place]
            let wanted = text + Int(part.text.offset)
            let count = Int(part.text.count)
            switch part.kind {
            case .text:
                guard rest.count >= count, memcmp(rest.start, wanted, count) == 0 else { return false }
                rest = rest.dropFirst(count)
            case .element:
                var length = 0
                while length < rest.count, rest.start[length] != 47 { length &+= 1 }
                if length == 0 { return false }
                rest = rest.dropFirst(length)
            case .rest:
                guard place + 1 < end else { return true }
                let last = parts[place + 1].text
                let size = Int(last.count)
                return rest.count >= size
                    && memcmp(rest.start + (rest.count - size), text + Int(last.offset), size) == 0
            }
        }
        return rest.count == 0
    }

    private func isAccount(_ run: Run, _ principal: ByteView) -> Bool {
        guard let parts = SPIFFEView(principal) else { return false }
        for place in Int(run.start)..<Int(run.start &+ run.count) {
            let wanted = text + Int(patterns[place].text.offset)
            let count = Int(patterns[place].text.count)
            guard count == parts.namespace.count + 1 + parts.account.count else { continue }
            let isSame =
                memcmp(wanted, parts.namespace.start, parts.namespace.count) == 0
                && wanted[parts.namespace.count] == 47
                && memcmp(wanted + parts.namespace.count + 1, parts.account.start, parts.account.count) == 0
            if isSame { return true }
        }
        return false
    }

    /// Several lines of one name are one value, joined by commas; they are matched without being put together.
    private func header(_ test: AccessTestEntry, _ view: AccessView) -> Bool {
        guard let head = view.head, let lines = view.lines else { return false }
        let name = text + Int(test.key.offset)
        let length = Int(test.key.count)
        var joined = JoinedLines(head: head)
        for place in 0..<view.lineCount where Int(lines[place].nameLength) == length {
            if sameName(head + Int(lines[place].offset), name, length) { joined.add(lines[place]) }
        }
        if joined.count == 0 { return false }
        for place in Int(test.patterns.start)..<Int(test.patterns.start &+ test.patterns.count) {
            let pattern = patterns[place]
            if pattern.kind == .present { return true }
            let wanted = text + Int(pattern.text.offset)
            if joined.admits(pattern.kind, wanted, Int(pattern.text.count), lines, view.lineCount, name, length) {
                return true
            }
        }
        return false
    }

    private func claim(_ run: Run, _ key: ByteView, _ token: UnsafePointer<LiveToken>?) -> Bool {
        guard let token else { return false }
        for place in 0..<token.pointee.claimCount {
            let claim = token.pointee.claims[place]
            guard Int(claim.key.count) == key.count,
                memcmp(token.pointee.text + Int(claim.key.offset), key.start, key.count) == 0
            else { continue }
            if any(run, token.pointee.view(claim.value)) { return true }
        }
        return false
    }
}

/// Header lines of one name read as one value.
private struct JoinedLines {
    let head: UnsafePointer<UInt8>
    var count = 0
    /// Of the value with its commas.
    var length = 0
    private var only = 0

    init(head: UnsafePointer<UInt8>) { self.head = head }

    mutating func add(_ line: HeaderLine) {
        if count == 0 { only = Int(line.valueOffset) }
        length += Int(line.valueLength) + (count == 0 ? 0 : 1)
        count += 1
    }

    func admits(
        _ kind: PatternEntry.Kind, _ wanted: UnsafePointer<UInt8>, _ size: Int,
        _ lines: UnsafeMutablePointer<HeaderLine>,
        _ lineCount: Int, _ name: UnsafePointer<UInt8>, _ nameLength: Int
    ) -> Bool {
        if length < size || (kind == .exact && length != size) { return false }
        let from = kind == .suffix ? length - size : 0
        if count == 1 { return memcmp(head + only + from, wanted, size) == 0 }
        var place = 0
        var isFirst = true
        func agrees(_ byte: UInt8) -> Bool {
            defer { place += 1 }
            let index = place - from
            return index < 0 || index >= size || wanted[index] == byte
        }
        for index in 0..<lineCount where Int(lines[index].nameLength) == nameLength {
            guard sameName(head + Int(lines[index].offset), name, nameLength) else { continue }
            if !isFirst && !agrees(44) { return false }
            isFirst = false
            for offset in 0..<Int(lines[index].valueLength) {
                if !agrees(head[Int(lines[index].valueOffset) + offset]) { return false }
            }
        }
        return true
    }
}

/// The parts of `spiffe://domain/ns/<namespace>/sa/<account>`, in place; `nil` for an ID of another form.
struct SPIFFEView {
    var namespace: ByteView
    var account: ByteView

    init?(_ principal: ByteView) {
        guard principal.count > 9 else { return nil }
        var slashes: (Int, Int, Int, Int) = (0, 0, 0, 0)
        var found = 0
        for place in 9..<principal.count where principal.start[place] == 47 {
            switch found {
            case 0: slashes.0 = place
            case 1: slashes.1 = place
            case 2: slashes.2 = place
            case 3: slashes.3 = place
            default: return nil
            }
            found += 1
        }
        guard found == 4, slashes.1 - slashes.0 == 3, slashes.3 - slashes.2 == 3 else { return nil }
        let bytes = principal.start
        let isForm =
            memcmp(bytes, "spiffe://", 9) == 0 && bytes[slashes.0 + 1] == 110 && bytes[slashes.0 + 2] == 115
            && bytes[slashes.2 + 1] == 115 && bytes[slashes.2 + 2] == 97
        guard isForm else { return nil }
        namespace = ByteView(start: bytes + slashes.1 + 1, count: slashes.2 - slashes.1 - 1)
        account = ByteView(start: bytes + slashes.3 + 1, count: principal.count - slashes.3 - 1)
    }
}
