/// Who may do what, as Istio's AuthorizationPolicy says it.
package struct AuthorizationPolicy: Sendable, Hashable {
    package enum Action: String, Sendable, CaseIterable {
        case custom = "CUSTOM"
        case deny = "DENY"
        case allow = "ALLOW"
        case audit = "AUDIT"
    }

    package var name: String  // `demo/only-frontend`
    package var action: Action
    /// It is evaluated and recorded, and nobody is refused by it.
    package var isDryRun: Bool
    /// Ports it speaks of; empty for all.
    package var ports: [Int]
    /// CUSTOM: the name of the authorizer that decides.
    package var provider: String
    /// Any of them; none matches nothing, so that an ALLOW policy without rules allows nothing.
    package var rules: [AuthorizationRule]

    package init(
        name: String, action: Action = .allow, isDryRun: Bool = false, ports: [Int] = [], provider: String = "",
        rules: [AuthorizationRule] = []
    ) {
        self.name = name
        self.action = action
        self.isDryRun = isDryRun
        self.ports = ports
        self.provider = provider
        self.rules = rules
    }
}

/// A rule matches when one of its sources, one of its operations and all of its conditions do; an absent part matches all.
package struct AuthorizationRule: Sendable, Hashable {
    package var sources: [[AccessTest]]
    package var operations: [[AccessTest]]
    package var conditions: [AccessTest]

    package init(
        sources: [[AccessTest]] = [], operations: [[AccessTest]] = [], conditions: [AccessTest] = []
    ) {
        self.sources = sources
        self.operations = operations
        self.conditions = conditions
    }
}

/// One attribute of a request or connection, and the values it must, or must not, have.
package struct AccessTest: Sendable, Hashable {
    package enum Attribute: UInt8, Sendable, CaseIterable {
        case principal, namespace, serviceAccount, trustDomain, sourceAddress, remoteAddress, requestPrincipal
        case host, port, method, path
        case header, audience, presenter, claim, destinationAddress, serverName

        /// Opaque connections have none of these.
        package var isOfRequests: Bool {
            switch self {
            case .requestPrincipal, .host, .method, .path, .header, .audience, .presenter, .claim: true
            // Who forwarded a connection is told in a header.
            case .remoteAddress: false
            case .principal, .namespace, .serviceAccount, .trustDomain, .sourceAddress, .port, .destinationAddress,
                .serverName:
                false
            }
        }
    }

    package var attribute: Attribute
    /// A header's name in lower case, or the names on the way to a claim, parted by `AccessTest.separator`.
    package var key: String
    /// Any of them.
    package var values: [String]
    package var isNegated: Bool

    package static let separator = "\u{1F}"

    package init(_ attribute: Attribute, key: String = "", _ values: [String], isNegated: Bool = false) {
        self.attribute = attribute
        self.key = key
        self.values = values
        self.isNegated = isNegated
    }
}

/// A value as policies write it: `*` for anything, `abc*`, `*abc`, or the text itself.
package enum ValuePattern: Sendable, Hashable {
    case present
    case exact(String)
    case prefix(String)
    case suffix(String)

    package init(_ text: String) {
        if text == "*" {
            self = .present
        } else if text.hasPrefix("*") {
            self = .suffix(String(text.dropFirst()))
        } else if text.hasSuffix("*") {
            self = .prefix(String(text.dropLast()))
        } else {
            self = .exact(text)
        }
    }

    func admits(_ value: String) -> Bool {
        switch self {
        case .present: !value.isEmpty
        case .exact(let text): value.utf8.elementsEqual(text.utf8)
        case .prefix(let text): value.utf8.starts(with: text.utf8)
        case .suffix(let text): value.utf8.reversed().starts(with: text.utf8.reversed())
        }
    }
}

/// An IPv4 address or block. Blocks of IPv6 are known, and no peer of ours is in one.
package struct AddressBlock: Sendable, Hashable {
    package var address: UInt32
    package var mask: UInt32
    /// IPv6: admits nobody.
    package var isForeign: Bool

    /// `10.0.0.1` or `10.0.0.0/8`; `nil` when the text is neither.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        var length = 32
        if parts[0].contains(":") {
            let isPlausible = parts[0].utf8.allSatisfy { byte in
                (48...57).contains(byte) || (97...102).contains(byte | 0x20) || byte == 58 || byte == 46
            }
            guard isPlausible, parts.count == 1 || Int(parts[1]).map({ (0...128).contains($0) }) == true else {
                return nil
            }
            (address, mask, isForeign) = (0, 0, true)
            return
        }
        if parts.count == 2 {
            guard let number = Int(parts[1]), (0...32).contains(number) else { return nil }
            length = number
        }
        guard let address = Self.number(parts[0]) else { return nil }
        let mask: UInt32 = length == 0 ? 0 : ~UInt32(0) << UInt32(32 - length)
        self.address = address & mask
        self.mask = mask
        isForeign = false
    }

    package func admits(_ address: UInt32) -> Bool { !isForeign && address & mask == self.address }

    /// Four decimal numbers; `nil` for all else.
    package static func number(_ text: some StringProtocol) -> UInt32? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var number: UInt32 = 0
        for part in parts {
            let isNumber = !part.isEmpty && part.utf8.count <= 3 && part.utf8.allSatisfy { (48...57).contains($0) }
            guard isNumber, let byte = UInt8(part) else { return nil }
            number = number << 8 | UInt32(byte)
        }
        return number
    }
}
