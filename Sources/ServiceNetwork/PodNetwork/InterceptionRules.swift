import Kernel

extension Interception {
    /// The mark of packets the node agent sends itself, such as probes: they go to the app, not to its proxy.
    package static let probeMark: UInt32 = 0x539

    static let table = "inet weft_mesh"

    /// The commands that put the rules into a pod's namespace, or replace those there, in one transaction.
    ///
    /// - Throws: when a port or a range is none; nothing unchecked becomes part of a command.
    func commands() throws(NetworkFailure) -> String {
        for (field, port) in [("outboundPort", outboundPort), ("inboundPort", inboundPort)] {
            try Self.check(port, field)
        }
        for port in excludedInboundPorts { try Self.check(port, "excludedInboundPorts") }
        for port in excludedOutboundPorts { try Self.check(port, "excludedOutboundPorts") }
        guard (0...Int(UInt32.max)).contains(proxyUser) else {
            throw NetworkFailure("interception proxyUser: \(proxyUser) is no user id")
        }
        var ranges: [IPv4Range] = []
        for text in excludedOutboundRanges {
            guard let range = IPv4Range(text) else {
                throw NetworkFailure(
                    "interception excludedOutboundRanges: \"\(text)\" is no IPv4 range such as 10.0.0.0/8")
            }
            ranges.append(range)
        }
        var rules = Self.removal
        rules += "add table \(Self.table)\n"
        rules += guardChain()
        try rules += outputChain(ranges)
        rules += inputChain()
        return rules
    }

    /// The commands that take the rules away; none there is fine.
    static let removal = "add table \(table)\ndelete table \(table)\n"

    /// Nobody outside may speak to the proxy's own ports directly: it would take itself for the destination.
    private func guardChain() -> String {
        let ports = Self.set([outboundPort, inboundPort] + (dnsPort.map { [$0] } ?? []))
        return """
            add chain \(Self.table) guard { type filter hook prerouting priority -150; }
            add rule \(Self.table) guard iifname "lo" return
            add rule \(Self.table) guard tcp dport \(ports) reject with tcp reset
            add rule \(Self.table) guard udp dport \(ports) reject

            """
    }

    private func outputChain(_ ranges: [IPv4Range]) throws(NetworkFailure) -> String {
        var rules = [
            "meta skuid \(proxyUser) return",
            "meta mark \(Self.probeMark) return",
            // To itself: over loopback, or by the pod's own address. By a service's address it goes out, and is led to the proxy.
            "oifname \"lo\" return",
        ]
        if let dnsPort {
            try Self.check(dnsPort, "dnsPort")
            rules.append("udp dport 53 redirect to :\(dnsPort)")
            rules.append("tcp dport 53 redirect to :\(dnsPort)")
        }
        if !excludedOutboundPorts.isEmpty { rules.append("tcp dport \(Self.set(excludedOutboundPorts)) return") }
        // One by one: ranges may overlap, which a set refuses.
        for range in ranges { rules.append("ip daddr \(range.base)/\(range.prefixLength) return") }
        rules.append("meta l4proto 6 redirect to :\(outboundPort)")
        return "add chain \(Self.table) output { type nat hook output priority -100; }\n"
            + rules.map { "add rule \(Self.table) output \($0)\n" }.joined()
    }

    private func inputChain() -> String {
        var rules = ["meta mark \(Self.probeMark) return"]
        if !excludedInboundPorts.isEmpty { rules.append("tcp dport \(Self.set(excludedInboundPorts)) return") }
        rules.append("meta l4proto 6 redirect to :\(inboundPort)")
        return "add chain \(Self.table) prerouting { type nat hook prerouting priority -100; }\n"
            + rules.map { "add rule \(Self.table) prerouting \($0)\n" }.joined()
    }

    private static func set(_ ports: [Int]) -> String {
        "{ " + Set(ports).sorted().map(String.init).joined(separator: ", ") + " }"
    }

    private static func check(_ port: Int, _ field: String) throws(NetworkFailure) {
        guard (1...65535).contains(port) else { throw NetworkFailure("interception \(field): \(port) is no port") }
    }
}
