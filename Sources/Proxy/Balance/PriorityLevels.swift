import ProxyResources

/// Which of a backend's endpoints come first for a proxy, by where they run.
enum PriorityLevels {
    /// Who asks.
    struct Origin {
        var locality: Locality
        var node: String
    }

    /// An endpoint's level and, where the policy gives localities fixed shares, the share its group has.
    struct Place: Equatable {
        var level: Int
        var group: Int
    }

    /// Levels of all endpoints, without gaps from 0 on; nil for one that gets nothing. Groups are given shares by `shares`.
    static func places(of endpoints: [Endpoint], for origin: Origin, _ policy: LocalityPolicy) -> (
        places: [Place?], shares: [Int]
    ) {
        if let fixed = policy.shares.first(where: { origin.locality.isCovered(by: $0.from) }) {
            var places: [Place?] = []
            for endpoint in endpoints {
                let locality = Locality(endpoint.locality)
                let group = fixed.to.firstIndex { locality.isCovered(by: $0.locality) && $0.weight > 0 }
                places.append(group.map { Place(level: 0, group: $0) })
            }
            return (places, fixed.to.map(\.weight))
        }
        if policy.prefer.isEmpty { return (endpoints.map { _ in Place(level: 0, group: 0) }, []) }
        let next = policy.failover.first { $0.from == origin.locality.region }?.to
        var ranks: [Int?] = []
        for endpoint in endpoints {
            let agreeing = agreement(endpoint, origin, policy.prefer)
            let missing = policy.prefer.count - agreeing
            if missing > 0 && policy.others == .never {
                ranks.append(nil)
            } else if agreeing == 0, let next, Locality(endpoint.locality).region != next {
                ranks.append(missing + 1)
            } else {
                ranks.append(missing)
            }
        }
        let used = Set(ranks.compactMap { $0 }).sorted()
        let levels = Dictionary(uniqueKeysWithValues: used.enumerated().map { ($0.element, $0.offset) })
        return (ranks.map { rank in rank.flatMap { levels[$0] }.map { Place(level: $0, group: 0) } }, [])
    }

    /// How many keys agree, from the first on. What is not known agrees with nothing.
    private static func agreement(_ endpoint: Endpoint, _ origin: Origin, _ keys: [LocalityPolicy.Key]) -> Int {
        let locality = Locality(endpoint.locality)
        var count = 0
        for key in keys {
            let (own, other): (String, String)
            switch key {
            case .region: (own, other) = (origin.locality.region, locality.region)
            case .zone: (own, other) = (origin.locality.zone, locality.zone)
            case .subzone: (own, other) = (origin.locality.subzone, locality.subzone)
            case .node: (own, other) = (origin.node, endpoint.node)
            }
            let mayBothBeEmpty = key == .subzone
            if own != other || (own.isEmpty && !mayBothBeEmpty) { break }
            count += 1
        }
        return count
    }

    /// How full a level is, and what that means for it.
    struct Load: Equatable {
        /// Of 65,536.
        var share: Int
        /// Too few of its endpoints are left: all of them are used, whatever their health.
        var isPanicking: Bool
    }

    /// A level with fewer than so many of its endpoints passes some of its requests on.
    private static let sparePercent = 140

    /// - Parameter levels: endpoints that can be used and all there are, level by level.
    /// - Returns: nil when no endpoint shall be used.
    static func loads(_ levels: [(usable: Int, total: Int)], panicPercent: Int) -> [Load]? {
        let health = levels.map { level in
            level.total == 0 ? 0 : min(100, level.usable * sparePercent / level.total)
        }
        let sum = min(100, health.reduce(0, +))
        if sum == 0 {
            // Even one of a great many is better than none.
            if let some = levels.firstIndex(where: { $0.usable > 0 }) {
                return levels.indices.map { Load(share: $0 == some ? 65536 : 0, isPanicking: false) }
            }
            guard panicPercent > 0, let first = levels.firstIndex(where: { $0.total > 0 }) else { return nil }
            return levels.indices.map { Load(share: $0 == first ? 65536 : 0, isPanicking: true) }
        }
        var left = 65536
        var loads: [Load] = []
        for (level, well) in zip(levels, health) {
            let share = min(left, well * 65536 / sum)
            left -= share
            let isShort = sum < 100 && level.total > 0 && level.usable * 100 < panicPercent * level.total
            loads.append(Load(share: share, isPanicking: isShort))
        }
        if left > 0, let first = loads.firstIndex(where: { $0.share > 0 }) { loads[first].share += left }
        return loads
    }
}
