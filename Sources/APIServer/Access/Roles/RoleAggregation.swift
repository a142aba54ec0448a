import KubeClient
import KubeTypes
import Logging
import Wire

/// The rules of ClusterRoles with an `aggregationRule`: those of all ClusterRoles it selects.
enum RoleAggregation {
    /// What the rules of each aggregated role should be, where they are not so yet.
    ///
    /// Roles that select each other (view -> edit -> admin) come to rest after as many passes as the chain is long.
    static func changes(_ roles: [KubeObject]) -> [(name: String, rules: [JSON])] {
        let ordered = roles.sorted { $0.name < $1.name }
        return ordered.compactMap { role in
            guard let selectors = role.json["aggregationRule"]?["clusterRoleSelectors"]?.array else { return nil }
            let parsed = selectors.compactMap { try? LabelSelector($0) }
            var rules: [JSON] = []
            for other in ordered where other.name != role.name {
                guard parsed.contains(where: { $0.matches(other) }) else { continue }
                for rule in other.json["rules"]?.array ?? [] where !rules.contains(rule) { rules.append(rule) }
            }
            return rules == (role.json["rules"]?.array ?? []) ? nil : (role.name, rules)
        }
    }

    /// The roles with all aggregation done.
    static func settled(_ roles: [KubeObject]) -> [KubeObject] {
        var roles = roles
        for _ in 0..<8 {
            let wanted = changes(roles)
            if wanted.isEmpty { break }
            for (name, rules) in wanted {
                guard let place = roles.firstIndex(where: { $0.name == name }) else { continue }
                roles[place].json["rules"] = .array(rules)
            }
        }
        return roles
    }
}

/// Writes the rules of aggregated roles whenever a ClusterRole changes.
struct RoleAggregator: Sendable {
    let registry: Registry

    /// - Returns: what ends it when cancelled.
    func start() throws(APIFailure) -> [Task<Void, Never>] {
        let (wakes, waker) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let follower = try RegistryFollower(registry: registry, type: .clusterRoles).start { _ in waker.yield() }
        Task {
            await follower.value
            waker.finish()
        }
        Task {
            for await _ in wakes { await write() }
        }
        return [follower]
    }

    private func write() async {
        guard let definition = try? registry.definition(of: .clusterRoles) else { return }
        guard let roles = try? registry.list(definition, namespace: "", .all).items else { return }
        for (name, rules) in RoleAggregation.changes(roles) {
            do throws(APIFailure) {
                _ = try await registry.change(definition, ObjectKey(name: name), WriteContext(user: .apiServer)) {
                    old throws(APIFailure) in
                    var fresh = old
                    fresh.json["rules"] = .array(rules)
                    return fresh
                }
            } catch {
                registry.logger.debug("aggregating ClusterRole \(name): \(error)")
            }
        }
    }
}
