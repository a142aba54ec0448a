import KubeTypes
import ProxyResources

/// One match of one rule, with what decides its place among all of a parent.
struct RankedRoute {
    var rule: RouteRule  // with one match
    var created: String
    var key: ObjectKey
    var place: (rule: Int, match: Int)
    /// Of a GRPCRoute's match: see `HTTPRoute.Rule`.
    var callWeight: [Int]?

    /// Gateway API's order: exact path, longest prefix, method, most headers; of calls the longest service, longest method and most
    /// headers; then oldest route, name, order in the route.
    static func precedes(_ one: RankedRoute, _ other: RankedRoute) -> Bool {
        let (a, b) = (one.weight, other.weight)
        if a != b { return a.lexicographicallyPrecedes(b) == false }
        if one.created != other.created { return one.created < other.created }
        if one.key != other.key { return one.key < other.key }
        return one.place < other.place
    }

    private var weight: [Int] {
        guard let match = rule.matches.first else { return [0, 0, 0, 0, 0] }
        if let callWeight { return [0, 0] + callWeight + [match.headers.count] }
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
    static let notFound: RouteRule = {
        var rule = RouteRule(name: "no route matches", directStatus: 404)
        rule.isNoRoute = true
        return rule
    }()
}

/// The rules of a route, one for each match, and what is wrong with its references.
struct RankedRoutes {
    fileprivate var routes: [RankedRoute] = []
    var failures: [References.Failure] = []

    /// As they hold at a port: a redirect that says neither scheme nor port keeps it.
    func routes(at port: Int) -> [RankedRoute] {
        routes.map { route in
            var route = route
            if let redirect = route.rule.actions.redirect, redirect.port == nil, redirect.scheme == nil {
                route.rule.actions.redirect?.port = port
            }
            return route
        }
    }
}

extension References {
    func ranked(_ route: HTTPRoute) -> RankedRoutes {
        var made = RankedRoutes()
        let parents = Set(route.parents.filter(\.isService).map(\.key))
        for rule in route.rules {
            func resolved(_ reference: HTTPRoute.BackendReference) -> String? {
                let resolved = resolve(reference, from: route.reference, parents: parents)
                if resolved.backend == nil { made.failures.append((reference, resolved)) }
                return resolved.backend
            }
            var compiled = RouteRule(
                name: "\(route.reference) rule \(rule.index)",
                backends: rule.backends.map { reference in
                    WeightedBackend(
                        backend: resolved(reference) ?? "", weight: min(max(0, reference.weight), 1_000_000),
                        request: reference.request, response: reference.response)
                }, timeoutMilliseconds: rule.timeoutMilliseconds, setRequestHeaders: rule.request.set,
                addRequestHeaders: rule.request.add, removeRequestHeaders: rule.request.remove, actions: rule.actions)
            compiled.actions.mirrors = rule.mirrors.compactMap { mirror in
                resolved(mirror.backend).map { Mirror(backend: $0, millionths: mirror.millionths) }
            }
            compiled.session = rule.session
            compiled.resilience.retry = rule.retry
            compiled.resilience = compiled.resilience.over(route.resilience.value)
            compiled.answerWithoutBackend(refused: rule.isRefused)
            for (index, match) in rule.matches.enumerated() {
                compiled.matches = [match]
                made.routes.append(
                    RankedRoute(
                        rule: compiled, created: route.created, key: route.key, place: (rule.index, index),
                        callWeight: route.type == .grpcRoutes ? rule.callWeights[index] : nil))
            }
        }
        return made
    }
}

extension RouteRule {
    /// A rule none of whose backends can be reached answers 500, as both languages ask.
    mutating func answerWithoutBackend(refused: Bool) {
        if refused { actions = RouteActions() }
        if actions.redirect != nil {
            backends = []
            return
        }
        let isUsable = backends.contains { $0.weight > 0 && !$0.backend.isEmpty }
        if refused || !isUsable {
            directStatus = directStatus ?? 500
            backends = []
        }
    }
}
