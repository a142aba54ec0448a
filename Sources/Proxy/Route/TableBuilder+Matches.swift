import ProxyResources
import Wire

extension TableBuilder {
    /// Adds the rules of a service's port or of a host at a listener's.
    ///
    /// What this proxy or this port can never meet is left out; a rule all of whose matches are left out is so itself.
    ///
    /// - Parameter scope: where the rules stand, since their names may repeat.
    mutating func add(rules list: [RouteRule], in scope: String, port: Int) -> RuleRun {
        let start = Int32(rules.count)
        let firstMatch = Int32(matches.count)
        for rule in list {
            let kept = rule.matches.filter { isPossible($0, port: port) }
            if kept.isEmpty && !rule.matches.isEmpty { continue }
            let place = Int32(rules.count)
            var run = Run(start: Int32(matches.count), count: 0)
            for match in kept {
                guard var entry = entry(match) else { continue }
                entry.rule = place
                matches.append(entry)
                run.count += 1
            }
            if run.count == 0 {
                if !kept.isEmpty { continue }
                // For the index; the rule itself says that it takes all by having none.
                matches.append(MatchEntry(pathKind: .any, rule: place))
            }
            add(rule: rule, run, in: scope)
        }
        let count = Int32(rules.count) - start
        let known = Int(firstMatch)..<matches.count
        return RuleRun(start: start, count: count, index: known.count > Self.triedInTurn ? addIndex(known) : -1)
    }

    /// Up to so many matches are tried one by one: quicker than looking them up.
    static let triedInTurn = 6

    private func isPossible(_ match: RouteMatch, port: Int) -> Bool {
        if let wanted = match.port, wanted != port { return false }
        if let namespace = match.source.namespace, namespace != routes.namespace { return false }
        return match.source.labels.allSatisfy { routes.labels[$0.key] == $0.value }
    }

    /// `nil` for a match whose expression cannot be compiled; resources that came through JSON have none.
    private mutating func entry(_ match: RouteMatch) -> MatchEntry? {
        var entry = MatchEntry(pathKind: .any, ignoresPathCase: match.ignoresPathCase)
        func spelled(_ text: String) -> String { match.ignoresPathCase ? text.lowercased() : text }
        switch match.path {
        case .any: break
        case .exact(let value): (entry.pathKind, entry.path) = (.exact, add(text: spelled(value)))
        case .prefix(let value):
            // `/foo/` and `/foo` mean the same; `/` matches all.
            var trimmed = spelled(value)
            while trimmed.hasSuffix("/") { trimmed.removeLast() }
            if !trimmed.isEmpty { (entry.pathKind, entry.path) = (.elements, add(text: trimmed)) }
        case .textPrefix(let value): (entry.pathKind, entry.path) = (.text, add(text: spelled(value)))
        case .regex(let value):
            guard let pattern = add(pattern: value, ignoresCase: match.ignoresPathCase) else { return nil }
            (entry.pathKind, entry.pattern) = (.regex, pattern)
        }
        entry.method = add(text: match.method ?? "")
        var conditions: [ConditionEntry] = []
        for header in match.headers {
            guard let condition = self.entry(header) else { return nil }
            conditions.append(condition)
        }
        for parameter in match.query {
            guard let text = self.entry(parameter.text) else { return nil }
            conditions.append(ConditionEntry(subject: .query, name: add(text: parameter.name), text: text))
        }
        let texts: [(ConditionEntry.Subject, TextMatch?)] = [
            (.scheme, match.scheme), (.authority, match.authority), (.method, match.methodText),
        ]
        for (subject, wanted) in texts {
            guard let wanted else { continue }
            guard let text = self.entry(wanted) else { return nil }
            conditions.append(ConditionEntry(subject: subject, text: text))
        }
        if !match.source.addresses.isEmpty {
            let start = Int32(routes.ranges.count)
            for range in match.source.addresses.compactMap(AddressRange.init) {
                routes.ranges.append(RangeEntry(address: range.address, mask: range.mask))
            }
            let run = Run(start: start, count: Int32(routes.ranges.count) - start)
            conditions.append(ConditionEntry(subject: .address, ranges: run))
        }
        entry.conditions = Run(start: Int32(routes.conditions.count), count: Int32(conditions.count))
        routes.conditions += conditions
        return entry
    }

    private mutating func entry(_ header: HeaderMatch) -> ConditionEntry? {
        guard let text = entry(header.text) else { return nil }
        return ConditionEntry(
            subject: .header, isInverted: header.isInverted, name: add(text: header.name.lowercased()), text: text)
    }

    /// Conditions on headers that are not part of a match; see `headerHolds`.
    mutating func add(headers list: [HeaderMatch]) -> Run {
        let made = list.compactMap { entry($0) }
        let run = Run(start: Int32(routes.conditions.count), count: Int32(made.count))
        routes.conditions += made
        return run
    }

    mutating func entry(_ text: TextMatch) -> TextEntry? {
        if text.kind == .regex {
            guard let pattern = add(pattern: text.value, ignoresCase: text.ignoresCase) else { return nil }
            return TextEntry(kind: .regex, pattern: pattern)
        }
        return TextEntry(
            kind: text.kind, ignoresCase: text.ignoresCase,
            value: add(text: text.ignoresCase ? text.value.lowercased() : text.value))
    }

    /// The same expression is compiled once for a table.
    mutating func add(pattern text: String, ignoresCase: Bool = false) -> Int32? {
        let key = ignoresCase ? "i\(text)" : "c\(text)"
        if let known = routes.patternPlaces[key] { return known }
        guard let pattern = try? Pattern(text, ignoresCase: ignoresCase) else {
            log("the expression \(text) cannot be used; what asks for it matches nothing", level: "error")
            return nil
        }
        let place = Int32(routes.patterns.count)
        routes.patterns.append(pattern)
        routes.patternPlaces[key] = place
        return place
    }

    // MARK: by path

    private struct PathLists {
        var exact: [Int32] = []
        var elements: [Int32] = []
        var text: [Int32] = []
    }

    /// Makes an index of these matches.
    private mutating func addIndex(_ range: Range<Int>) -> Int32 {
        var byPath: [[UInt8]: PathLists] = [[]: PathLists()]
        var others: [Int32] = []
        for place in range {
            let match = matches[place]
            let from = Int(match.path.offset)
            let path = Array(text[from..<from + Int(match.path.count)])
            switch match.pathKind {
            case _ where match.ignoresPathCase: others.append(Int32(place))
            case .any, .regex: others.append(Int32(place))
            case .exact: byPath[path, default: PathLists()].exact.append(Int32(place))
            case .elements: byPath[path, default: PathLists()].elements.append(Int32(place))
            case .text: byPath[path, default: PathLists()].text.append(Int32(place))
            }
        }
        let sorted = byPath.sorted { $0.key.lexicographicallyPrecedes($1.key) }
        let root = Int32(routes.nodes.count)
        routes.nodes.append(PathNode(label: TextRange()))
        grow(root, sorted[...], depth: 0)
        routes.indexes.append(RuleIndexEntry(root: root, others: add(candidates: others)))
        return Int32(routes.indexes.count - 1)
    }

    private mutating func add(candidates list: [Int32]) -> Run {
        let run = Run(start: Int32(routes.candidates.count), count: Int32(list.count))
        routes.candidates += list
        return run
    }

    /// Fills in a node of the tree; `paths` are sorted, and their first `depth` bytes lead to the node. Depth of recursion is bounded
    /// by the number of paths that are prefixes of each other.
    private mutating func grow(_ node: Int32, _ paths: ArraySlice<(key: [UInt8], value: PathLists)>, depth: Int) {
        var rest = paths
        if let first = rest.first, first.key.count == depth {
            routes.nodes[Int(node)].exact = add(candidates: first.value.exact)
            routes.nodes[Int(node)].elements = add(candidates: first.value.elements)
            routes.nodes[Int(node)].text = add(candidates: first.value.text)
            rest = rest.dropFirst()
        }
        // Paths with the same next byte go on together as far as they agree.
        var branches: [(paths: ArraySlice<(key: [UInt8], value: PathLists)>, depth: Int)] = []
        while let first = rest.first {
            var end = rest.startIndex
            while end < rest.endIndex, rest[end].key[depth] == first.key[depth] { end += 1 }
            let branch = rest[rest.startIndex..<end]
            let last = branch[end - 1].key
            var common = depth + 1
            while common < first.key.count, common < last.count, first.key[common] == last[common] { common += 1 }
            branches.append((branch, common))
            rest = rest[end...]
        }
        let start = Int32(routes.nodes.count)
        routes.nodes[Int(node)].children = Run(start: start, count: Int32(branches.count))
        for branch in branches {
            let label = branch.paths[branch.paths.startIndex].key[depth..<branch.depth]
            let range = TextRange(offset: Int32(text.count), count: Int32(label.count))
            text += label
            routes.nodes.append(PathNode(label: range))
        }
        for (index, branch) in branches.enumerated() {
            grow(start + Int32(index), branch.paths, depth: branch.depth)
        }
    }

    // MARK: by host

    /// Makes an index of a gateway's hosts, which are in the order they are tried.
    func hostIndex(_ run: Run, slots: inout [Int32]) -> HostIndexEntry {
        var index = HostIndexEntry()
        let places = Int(run.start)..<Int(run.start + run.count)
        index.any = places.first { hosts[$0].kind == .any }.map(Int32.init) ?? -1
        if places.count <= Self.triedInTurn { return index }
        var size = 16
        while size < places.count * 2 { size *= 2 }
        var made = [Int32](repeating: -1, count: size)
        for place in places where hosts[place].kind != .any {
            let name = name(of: hosts[place])
            var slot = Int(truncatingIfNeeded: HostHash.of(name)) & (size - 1)
            var isKnown = false
            while made[slot] >= 0 {
                let other = hosts[Int(made[slot])]
                // The first one stays.
                if other.kind == hosts[place].kind && self.name(of: other) == name {
                    isKnown = true
                    break
                }
                slot = (slot + 1) & (size - 1)
            }
            if !isKnown { made[slot] = Int32(place) }
        }
        index.slots = Run(start: Int32(slots.count), count: Int32(size))
        slots += made
        return index
    }

    private func name(of host: HostEntry) -> ArraySlice<UInt8> {
        text[Int(host.name.offset)..<Int(host.name.offset + host.name.count)]
    }
}

/// FNV-1a over a name from its end, so that one pass gives the hashes of all its suffixes.
enum HostHash {
    static let start: UInt64 = 0xCBF2_9CE4_8422_2325

    @inline(__always) static func add(_ hash: UInt64, _ byte: UInt8) -> UInt64 {
        (hash ^ UInt64(byte)) &* 0x100_0000_01B3
    }
    /// The lower bits of FNV are its best; they are used as they are.
    static func of(_ name: ArraySlice<UInt8>) -> UInt64 { name.reversed().reduce(start, add) }
}
