import Kernel

/// The nftables commands of the service rules.
///
/// The shape: a frontend is looked up once in `dispatch`, which gives the number of a way to spread; a static chain a way
/// picks a random slot and looks the slot up in `backends`. Maps hold data, not verdicts, so the kernel need not walk
/// them when one element changes.
enum RuleCommands {
    static let table = "ip weft_services"
    private static let frontend = "ip daddr . meta l4proto . th dport"
    /// On connections whose source becomes the node's address.
    private static let masqueradeBit = "0x4000"
    /// In each sticky number, in no slot and no way's code.
    private static let stickyBit = "0x80000000"

    /// The commands of a change: a delete and an add a collection at most, and what new chains need. The elements of a
    /// command are sorted, so that the same change reads the same.
    static func commands(_ changes: RuleChanges) -> [String] {
        var commands = changes.chains.sorted().flatMap(chain)
        commands += elements("delete", changes.removed)
        commands += elements("add", changes.added)
        return commands
    }

    private static func elements(_ verb: String, _ elements: Set<RuleElement>) -> [String] {
        let groups = Dictionary(grouping: elements, by: \.collection)
        return RuleElement.Collection.allCases.compactMap { collection in
            guard let group = groups[collection] else { return nil }
            let texts = group.map { verb == "add" ? $0.text : $0.key }.sorted()
            return "\(verb) element \(table) \(collection.rawValue) { \(texts.joined(separator: ", ")) }"
        }
    }

    private static func chain(_ dispatch: Dispatch) -> [String] {
        let chain = "\(table) \(dispatch.chain)"
        var rules: [String] = []
        if dispatch.masquerades { rules.append("ct mark set ct mark or \(masqueradeBit)") }
        let toBackend = "dnat ip to \(frontend) . meta mark map @backends"
        if let affinity = dispatch.affinity {
            let client = "ip saddr . \(frontend)"
            rules += [
                // Its backend of last time, if that is still there; the entry lives on from now. An update changes no
                // number, so the entry of a backend that is gone is deleted first.
                "meta mark set \(client) map @clients",
                "meta mark and \(stickyBit) == \(stickyBit) update @clients { \(client) timeout \(affinity)s : meta mark }",
                toBackend,
                "delete @clients { \(client) : meta mark }",
                "meta mark set numgen random mod \(dispatch.count)",
                "meta mark set \(frontend) . meta mark map @sticky_numbers",
                "update @clients { \(client) timeout \(affinity)s : meta mark }",
                toBackend,
            ]
        } else {
            rules += ["meta mark set numgen random mod \(dispatch.count)", toBackend]
        }
        // A packet that looked up the count just before a transaction and the slot just after finds the slot gone: the
        // first slot is always there.
        rules += ["meta mark set 0", toBackend]
        return ["add chain \(chain)"] + rules.map { "add rule \(chain) \($0)" }
            + ["add element \(table) ways { \(dispatch.code) : goto \(dispatch.chain) }"]
    }

    /// The commands that make the table exactly `all`, whatever was there: one transaction, so that no packet meets less.
    /// What clients are stuck to stays.
    static func whole(_ all: RuleChanges, _ scope: RuleScope) -> [String] {
        var commands = skeleton(scope)
        commands += self.commands(all)
        return commands
    }

    private static func skeleton(_ scope: RuleScope) -> [String] {
        let key = "ipv4_addr . inet_proto . inet_service"
        var commands = [
            "add table \(table)",
            "add map \(table) clients { type ipv4_addr . \(key) : mark; size 262144; flags dynamic,timeout; }",
            "add map \(table) dispatch { type \(key) : mark; }",
            "add map \(table) backends { type \(key) . mark : ipv4_addr . inet_service; }",
            "add map \(table) sticky_numbers { type \(key) . mark : mark; }",
            "add set \(table) refused { type \(key); }",
            "add set \(table) hairpins { type ipv4_addr . ipv4_addr; }",
            "add map \(table) ways { type mark : verdict; }",
        ]
        commands += ["dispatch", "backends", "sticky_numbers", "ways"].map { "flush map \(table) \($0)" }
        commands += ["refused", "hairpins"].map { "flush set \(table) \($0)" }
        commands += ["services", "refuse", "refusals"].map { "add chain \(table) \($0)" }
        let hooks = [
            ("prerouting", "nat hook prerouting priority -100"), ("output", "nat hook output priority -100"),
            ("postrouting", "nat hook postrouting priority 100"), ("forward", "filter hook forward priority 0"),
            ("outgoing", "filter hook output priority 0"),
        ]
        commands += hooks.map { "add chain \(table) \($0.0) { type \($0.1); }" }
        commands.append("flush table \(table)")  // the rules of all chains
        let rules = [
            ("services", "meta mark set 0"),
            ("services", "meta mark set \(frontend) map @dispatch"),
            ("services", "meta mark vmap @ways"),
            ("refuse", "meta l4proto 6 reject with tcp reset"),
            ("refuse", "reject with icmp type port-unreachable"),
            ("refusals", "oifname \"lo\" return"),
            ("refusals", "\(frontend) @refused goto refuse"),
            ("refusals", "ip daddr \(scope.serviceRange) goto refuse"),
            ("prerouting", "jump services"), ("output", "jump services"),
            ("postrouting", "ct mark and \(masqueradeBit) == \(masqueradeBit) masquerade"),
            ("postrouting", "ct status dnat ip saddr . ip daddr @hairpins masquerade"),
            ("forward", "jump refusals"), ("outgoing", "jump refusals"),
        ]
        return commands + rules.map { "add rule \(table) \($0.0) \($0.1)" }
    }

    static let removal = ["add table \(table)", "delete table \(table)"]
}
