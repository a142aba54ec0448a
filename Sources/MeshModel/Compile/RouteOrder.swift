import KubeTypes
import ProxyResources

/// One match of one rule, with what decides its place among all of a parent.
struct RankedRoute {
    var rule: RouteRule  // with one match
    var created: String
    var key: ObjectKey
    var place: (rule: Int, match: Int)

    /// Gateway API's order: exact path, longest prefix, method, most headers; then oldest route, name, order in the route.
    static func precedes(_ one: RankedRoute, _ other: RankedRoute) -> Bool {
        let (a, b) = (one.weight, other.weight)
        if a != b { return a.lexicographicallyPrecedes(b) == false }
        if one.created != other.created { return one.created < other.created }
        if one.key != other.key { return one.key < other.key }
        return one.place < other.place
    }

    private var weight: [Int] {
        guard let match = rule.matches.first else { return [0, 0, 0, 0, 0] }
        var path = [0, 1]
        switch match.path {
        case .any: break
        case .exact(let value): path = [2, value.utf8.count]
        // Where an expression stands is left to the implementation: before prefixes, as most do.
        case .regex(let value): path = [1, value.utf8.count]
        case .prefix(let value), .textPrefix(let value): path = [0, value.utf8.count]
        }
        return path + [match.method == nil ? 0 : 1, match.headers.count, match.query.count]
    }
}

/// Puts routes in order and joins neighbours that came from one rule again.
func ordered(_ routes: [RankedRoute]) -> [RouteRule] {
    var rules: [RouteRule] = []
    for route in routes.sorted(by: RankedRoute.precedes) {
        if var last = rules.last {
            let matches = last.matches
            last.matches = route.rule.matches
            if last == route.rule {
                rules[rules.count - 1].matches = matches + route.rule.matches
                continue
            }
        }
        rules.append(route.rule)
    }
    return rules.map { rule in
        var rule = rule
        // Any request at all: said shortly.
        if rule.matches.contains(RouteMatch()) { rule.matches = [] }
        return rule
    }
}

extension RouteRule {
    /// The end of a list of routes no one of which may be missed.
    static let notFound = RouteRule(name: "no route matches", directStatus: 404)
}

extension References {
    /// The rules of an HTTPRoute, one for each match, and what is wrong with its references.
    func ranked(_ route: HTTPRoute) -> (routes: [RankedRoute], failures: [(HTTPRoute.BackendReference, Resolved)]) {
        var routes: [RankedRoute] = []
        var failures: [(HTTPRoute.BackendReference, Resolved)] = []
        for rule in route.rules {
            var backends: [WeightedBackend] = []
            for reference in rule.backends {
                let resolved = resolve(reference, from: route.key.namespace)
                if resolved.backend == nil { failures.append((reference, resolved)) }
                let weight = min(max(0, reference.weight), 1_000_000)
                backends.append(WeightedBackend(backend: resolved.backend ?? "", weight: weight))
            }
            var made = RouteRule(
                name: "\(route.reference) rule \(rule.index)", backends: backends,
                timeoutMilliseconds: rule.timeoutMilliseconds, setRequestHeaders: rule.headers.set,
                addRequestHeaders: rule.headers.add, removeRequestHeaders: rule.headers.remove)
            made.resilience.retry = rule.retry
            made.resilience = made.resilience.over(route.resilience.value)
            made.answerWithoutBackend(refused: rule.isRefused)
            for (index, match) in rule.matches.enumerated() {
                made.matches = [match]
                routes.append(
                    RankedRoute(rule: made, created: route.created, key: route.key, place: (rule.index, index)))
            }
        }
        return (routes, failures)
    }
}

extension RouteRule {
    /// A rule none of whose backends can be reached answers 500, as both languages ask.
    mutating func answerWithoutBackend(refused: Bool) {
        let isUsable = backends.contains { $0.weight > 0 && !$0.backend.isEmpty }
        if refused || !isUsable {
            directStatus = directStatus ?? 500
            backends = []
        }
    }
}
