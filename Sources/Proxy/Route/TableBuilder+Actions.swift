import ProxyResources
import Wire

extension TableBuilder {
    /// Adds one rule whose matches have been added.
    mutating func add(rule: RouteRule, _ matchRun: Run, in scope: String) {
        let weightStart = Int32(weights.count)
        var total: UInt32 = 0
        for backend in rule.backends where backend.weight > 0 {
            weights.append(
                WeightEntry(
                    backend: backendPlaces[backend.backend] ?? -1, weight: UInt32(backend.weight),
                    isUnresolved: backend.backend.isEmpty, edits: addEdits(of: backend, in: rule)))
            total += UInt32(backend.weight)
        }
        let request = add(edits: rule.requestEdits)
        rules.append(
            RuleEntry(
                name: labels.number(ofName: rule.name), matches: matchRun,
                backends: Run(start: weightStart, count: Int32(weights.count) - weightStart), totalWeight: total,
                timeoutMilliseconds: Int32(clamping: rule.timeoutMilliseconds ?? 0),
                directStatus: Int32(rule.directStatus ?? 0), isNoRoute: rule.isNoRoute, setHeaders: request.set,
                removeHeaders: request.remove, addHeaders: request.add, editBytes: request.bytes,
                session: rule.session.map { carrier(for: $0) } ?? -1, actions: add(rule.actions),
                effort: addEffort(rule, in: scope)))
    }

    /// A backend's changes come after those of its rule, so both are made into one.
    private mutating func addEdits(of backend: WeightedBackend, in rule: RouteRule) -> Int32 {
        if backend.request.isEmpty && backend.response.isEmpty { return -1 }
        let entry = BackendEditsEntry(
            request: add(edits: rule.requestEdits.followed(by: backend.request)),
            response: add(edits: rule.actions.response.followed(by: backend.response)))
        routes.backendEdits.append(entry)
        return Int32(routes.backendEdits.count - 1)
    }

    /// What is set and what is removed stand side by side: both drop lines that are there.
    private mutating func add(edits changes: HeaderEdits) -> EditRuns {
        let setStart = Int32(edits.count)
        for header in changes.set {
            edits.append(HeaderEditEntry(name: add(text: header.name.lowercased()), line: line(header)))
        }
        let removeStart = Int32(edits.count)
        for name in changes.remove {
            edits.append(HeaderEditEntry(name: add(text: name.lowercased()), line: TextRange()))
        }
        let addStart = Int32(edits.count)
        for header in changes.add { edits.append(HeaderEditEntry(name: TextRange(), line: line(header))) }
        var bytes: Int32 = 0
        for place in Int(setStart)..<edits.count { bytes += edits[place].line.count }
        return EditRuns(
            set: Run(start: setStart, count: removeStart - setStart),
            remove: Run(start: removeStart, count: addStart - removeStart),
            add: Run(start: addStart, count: Int32(edits.count) - addStart), bytes: bytes)
    }

    private mutating func line(_ header: HeaderValue) -> TextRange {
        add(text: "\(header.name.lowercased()): \(header.value)\r\n")
    }

    /// -1 for none.
    private mutating func add(_ actions: RouteActions) -> Int32 {
        if actions.isEmpty { return -1 }
        var entry = ActionsEntry(path: self.entry(actions.path), host: add(text: actions.host ?? ""))
        entry.response = add(edits: actions.response)
        if let redirect = actions.redirect { entry.redirect = add(redirect) }
        if let cors = actions.cors { entry.cors = add(cors) }
        if let fault = actions.fault { entry.fault = add(fault) }
        if let body = actions.directBody {
            entry.hasBody = true
            entry.body = add(text: body.text)
            entry.contentType = add(text: body.contentType)
        }
        let mirrorStart = Int32(routes.mirrors.count)
        for mirror in actions.mirrors where mirror.millionths > 0 {
            guard let backend = backendPlaces[mirror.backend] else { continue }
            routes.mirrors.append(MirrorEntry(backend: backend, millionths: UInt32(mirror.millionths)))
        }
        entry.mirrors = Run(start: mirrorStart, count: Int32(routes.mirrors.count) - mirrorStart)
        routes.actions.append(entry)
        return Int32(routes.actions.count - 1)
    }

    private mutating func entry(_ rewrite: PathRewrite?) -> PathChangeEntry {
        switch rewrite {
        case nil: return PathChangeEntry()
        case .full(let path): return PathChangeEntry(kind: .full, text: add(text: rooted(path)))
        case .prefix(let prefix):
            var trimmed = prefix
            while trimmed.hasSuffix("/") { trimmed.removeLast() }
            return PathChangeEntry(kind: .prefix, text: add(text: trimmed))
        case .matched(let text): return PathChangeEntry(kind: .matched, text: add(text: text))
        case .regex(let pattern, let substitution):
            guard let place = add(pattern: pattern) else { return PathChangeEntry() }
            return PathChangeEntry(kind: .regex, text: add(text: substitution), pattern: place)
        }
    }

    private func rooted(_ path: String) -> String { path.hasPrefix("/") ? path : "/\(path)" }

    private mutating func add(_ redirect: Redirect) -> Int32 {
        routes.redirects.append(
            RedirectEntry(
                status: Int32(redirect.status), scheme: add(text: redirect.scheme ?? ""),
                host: add(text: redirect.host ?? ""), port: Int32(redirect.port ?? -1),
                path: entry(redirect.path)))
        return Int32(routes.redirects.count - 1)
    }

    private mutating func add(_ policy: CORSPolicy) -> Int32 {
        var entry = CORSEntry()
        let start = Int32(routes.origins.count)
        for origin in policy.origins.map(\.asOrigin) {
            if let text = self.entry(origin) { routes.origins.append(text) }
        }
        entry.origins = Run(start: start, count: Int32(routes.origins.count) - start)
        entry.allowsCredentials = policy.allowsCredentials
        entry.forwardsUnmatched = policy.forwardsUnmatched
        entry.answersStar = !policy.allowsCredentials && policy.origins.contains { $0.asOrigin.kind == .present }
        entry.allowsAnyMethod = policy.methods.contains("*")
        entry.allowsAnyHeader = policy.headers.contains("*")
        var lines = ""
        if !entry.allowsAnyMethod && !policy.methods.isEmpty {
            lines += "access-control-allow-methods: \(policy.methods.joined(separator: ", "))\r\n"
        }
        if !entry.allowsAnyHeader && !policy.headers.isEmpty {
            lines += "access-control-allow-headers: \(policy.headers.joined(separator: ", "))\r\n"
        }
        if let age = policy.maxAgeSeconds { lines += "access-control-max-age: \(age)\r\n" }
        // `*` among credentials would be a name and no wildcard (WHATWG Fetch §3.3.4); so it is left out.
        let exposed = policy.allowsCredentials ? policy.exposedHeaders.filter { $0 != "*" } : policy.exposedHeaders
        let expose =
            exposed.isEmpty ? "" : "access-control-expose-headers: \(exposed.joined(separator: ", "))\r\n"
        entry.preflightLines = add(text: lines + expose)
        entry.exposeLine = add(text: expose)
        routes.cors.append(entry)
        return Int32(routes.cors.count - 1)
    }

    private mutating func add(_ fault: Fault) -> Int32 {
        var entry = FaultEntry(isHeaderControlled: fault.isHeaderControlled)
        if let delay = fault.delay {
            entry.delayMilliseconds = UInt32(delay.milliseconds)
            entry.delayMillionths = UInt32(delay.millionths)
        }
        if let abort = fault.abort {
            entry.abortMillionths = UInt32(abort.millionths)
            switch abort.answer {
            case .http(let status): entry.abortStatus = Int32(status)
            case .grpc(let status): (entry.abortStatus, entry.abortGRPC) = (200, Int32(status))
            }
        }
        routes.faults.append(entry)
        return Int32(routes.faults.count - 1)
    }

    var plainRoutes: RouteTables {
        RouteTables(
            conditions: memory.keep(routes.conditions), ranges: memory.keep(routes.ranges),
            patterns: memory.keep(routes.patterns.map(\.view)), indexes: memory.keep(routes.indexes),
            nodes: memory.keep(routes.nodes),
            candidates: memory.keep(routes.candidates), hostSlots: memory.keep(routes.hostSlots),
            actions: memory.keep(routes.actions),
            backendEdits: memory.keep(routes.backendEdits), redirects: memory.keep(routes.redirects),
            mirrors: memory.keep(routes.mirrors), origins: memory.keep(routes.origins), cors: memory.keep(routes.cors),
            faults: memory.keep(routes.faults))
    }
}
