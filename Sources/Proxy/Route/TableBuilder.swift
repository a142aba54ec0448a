import Loop
package import ProxyResources
import TLS

/// Remembers the number each endpoint has, so that connections to it outlive a change of configuration.
struct EndpointNumbers {
    struct Key: Hashable {
        var endpoint: Endpoint
        var namespace: String
        var service: String
        @Boxed var tls: BackendTLS?
        var proxyProtocol: ProxyProtocolVersion

        init(_ endpoint: Endpoint, of backend: Backend) {
            self.endpoint = endpoint
            // It stays the same one when its share or what is known of its place changes.
            (self.endpoint.weight, self.endpoint.locality, self.endpoint.node) = (1, "", "")
            namespace = backend.namespace
            service = backend.service
            tls = endpoint.principal == nil ? backend.tls : nil
            proxyProtocol = backend.proxyProtocol
        }
    }
    private var numbers: [Key: UInt64] = [:]
    private var last: UInt64 = 0

    mutating func number(_ key: Key) -> UInt64 {
        if let known = numbers[key] { return known }
        last += 1
        numbers[key] = last
        return last
    }

    mutating func keep(only keys: [Key: Int32]) { numbers = numbers.filter { keys[$0.key] != nil } }

    /// Where on the health board the endpoints of the last table are, by their numbers.
    var boardPlaces: [UInt64: Int32] = [:]
}

/// What one proxy was told, as values.
package struct ProxyConfiguration: Sendable, Equatable {
    package var workload: Workload
    package var servicePorts: [String: ServicePort]
    package var backends: [String: Backend]
    /// What was asked for, by address or host.
    package var destinations: [String: Destination]

    package init(
        workload: Workload, servicePorts: [String: ServicePort] = [:], backends: [String: Backend] = [:],
        destinations: [String: Destination] = [:]
    ) {
        self.workload = workload
        self.servicePorts = servicePorts
        self.backends = backends
        self.destinations = destinations
    }
}

/// Compiles a configuration into a routing table.
struct TableBuilder {
    let labels: LabelBook
    let memory = TableMemory()
    var text: [UInt8] = []
    private var services: [ServiceEntry] = []
    var rules: [RuleEntry] = []
    var matches: [MatchEntry] = []
    var routes = RouteDraft()
    var edits: [HeaderEditEntry] = []
    var weights: [WeightEntry] = []
    private var backends: [BackendEntry] = []
    private var backendNames: [String] = []
    var balance = BalanceParts()
    private var members: [Int32] = []
    var endpoints: [EndpointEntry] = []
    private var originations: [OriginationContext] = []
    var hosts: [HostEntry] = []
    private var gateways: [GatewayEntry] = []
    var backendPlaces: [String: Int32] = [:]
    private var resilience: ResilienceBuilder
    private var clientCertificate: KeyPair?

    private init(labels: LabelBook, resilience: ResilienceBuilder) {
        self.labels = labels
        self.resilience = resilience
    }

    static func table(
        of configuration: ProxyConfiguration, credentials: Credentials?, generation: UInt64, labels: LabelBook,
        telemetry: TelemetryPlan = TelemetryPlan(), limits: LimitBook = LimitBook(loops: 1),
        board: HealthBoard = HealthBoard(), places: [String: Int16] = [:], numbers: inout EndpointNumbers,
        contexts: inout TLSContexts
    ) -> RoutingTable {
        var builder = TableBuilder(labels: labels, resilience: ResilienceBuilder(limits, configuration))
        let demand = DemandTable(configuration, places: places, in: builder.memory)
        return builder.build(configuration, credentials, generation, telemetry, board, demand, &numbers, &contexts)
    }

    /// With TLS made afresh.
    static func table(
        of configuration: ProxyConfiguration, credentials: Credentials?, generation: UInt64, labels: LabelBook,
        numbers: inout EndpointNumbers
    ) -> RoutingTable {
        var contexts = TLSContexts()
        return table(
            of: configuration, credentials: credentials, generation: generation, labels: labels, numbers: &numbers,
            contexts: &contexts)
    }

    private mutating func build(
        _ configuration: ProxyConfiguration, _ credentials: Credentials?, _ generation: UInt64,
        _ telemetry: TelemetryPlan, _ board: HealthBoard, _ demand: DemandTable, _ numbers: inout EndpointNumbers,
        _ contexts: inout TLSContexts
    ) -> RoutingTable {
        contexts.begin()
        defer { contexts.end() }
        balance.origin = PriorityLevels.Origin(
            locality: Locality(configuration.workload.locality), node: configuration.workload.node)
        clientCertificate = configuration.workload.clientCertificate
        addEndpoints(configuration.backends, board, &numbers, &contexts)
        var serverNames = TLSTableBuilder()
        routes.namespace = configuration.workload.namespace
        routes.labels = configuration.workload.labels
        var byAddress: [(address: UInt32, port: UInt16, value: Int32)] = []
        for (_, port) in configuration.servicePorts.sorted(by: { $0.key < $1.key }) {
            let place = Int32(services.count)
            let host =
                port.hosts.first ?? "\(port.service).\(port.namespace).svc.\(configuration.workload.clusterDomain)"
            let run = add(rules: port.routes, in: port.resourceName, port: port.port)
            services.append(
                ServiceEntry(
                    appProtocol: port.appProtocol, label: labels.number(ofService: host), rules: run,
                    defaultBackend: backendPlaces[port.defaultBackend] ?? -1, tunnelRule: addTunnelRule(of: port)))
            addServerNames(of: port, to: &serverNames)
            for address in port.addresses {
                guard let address = IPv4(address), let number = UInt16(exactly: port.port) else { continue }
                byAddress.append((address.value, number, place))
            }
        }
        for listener in configuration.workload.gatewayListeners {
            add(listener)
            serverNames.add(listener, addConnectionRules(of: listener), &contexts)
        }
        var byPod: [(address: UInt32, port: UInt16, value: Int32)] = []
        for (place, endpoint) in endpoints.enumerated() {
            byPod.append((endpoint.address, endpoint.port, Int32(place)))
        }
        let workload = configuration.workload
        let inbound = workload.inboundPorts.compactMap { port -> InboundEntry? in
            guard let number = UInt16(exactly: port.port) else { return nil }
            return InboundEntry(
                port: number, appProtocol: port.appProtocol, label: labels.number(ofService: port.service),
                rates: add(rates: port.rateLimits, in: "port \(port.port)"))
        }
        let modes = workload.portMutualTLS.compactMap { port, mode -> ModeEntry? in
            UInt16(exactly: port).map { ModeEntry(port: $0, mode: mode) }
        }
        let workloadRates = add(rates: workload.rateLimits, in: "workload")
        let kept = resilience.tables(workloadRates: workloadRates, in: memory)
        let peerLine = add(text: PeerHeader.line(for: workload))
        let principal = add(text: credentials?.principal ?? workload.principal)
        let settings = telemetryEntry(telemetry)
        let arrays = TableArrays(
            text: memory.keep(text), services: memory.keep(services), rules: memory.keep(rules),
            matches: memory.keep(matches),
            routes: plainRoutes, edits: memory.keep(edits), weights: memory.keep(weights),
            backends: memory.keep(backends),
            members: memory.keep(members), endpoints: memory.keep(endpoints), endpointCount: endpoints.count,
            hosts: memory.keep(hosts),
            gateways: memory.keep(gateways), gatewayCount: gateways.count, inbound: memory.keep(inbound),
            inboundCount: inbound.count,
            modes: memory.keep(modes), modeCount: modes.count, defaultMode: workload.mutualTLS,
            byAddress: AddressIndex(byAddress, in: memory),
            byPod: AddressIndex(byPod, in: memory), demand: demand, peerLine: peerLine, principal: principal,
            passthroughLabel: labels.number(ofService: "PassthroughCluster"),
            sharing: MeshSharing(workload.multiplexing),
            telemetry: memory.keep([settings]), resilience: kept.arrays,
            access: AccessTableBuilder.table(
                of: workload.security, labels: labels, backends: backendPlaces, in: memory),
            balance: balanceArrays(), tls: serverNames.finish(in: memory))
        numbers.boardPlaces = balance.places
        return RoutingTable(
            arrays: TableView(memory.keep([arrays])), memory: memory, credentials: credentials, generation: generation,
            gateways: workload.gatewayListeners,
            resilience: kept, patterns: routes.patterns, clientLimits: workload.limits, backendNames: backendNames,
            board: board, boardPlaces: Array(balance.places.values), revoked: workload.security.revoked,
            servers: serverNames.contexts, originations: originations)
    }

    private mutating func telemetryEntry(_ plan: TelemetryPlan) -> TelemetryEntry {
        var entry = TelemetryEntry(plan)
        for (place, name) in (plan.requestHeaders + plan.responseHeaders).enumerated() {
            entry.captures[place] = add(text: name)
        }
        return entry
    }

    mutating func add(text string: String) -> TextRange { add(bytes: Array(string.utf8)) }

    mutating func add(bytes: [UInt8]) -> TextRange {
        let range = TextRange(offset: Int32(text.count), count: Int32(bytes.count))
        text += bytes
        return range
    }

    /// Endpoints are sorted by number, so that a loop can merge an old table's with a new one's.
    private mutating func addEndpoints(
        _ all: [String: Backend], _ board: HealthBoard, _ numbers: inout EndpointNumbers,
        _ contexts: inout TLSContexts
    ) {
        var keyed: [EndpointNumbers.Key: UInt64] = [:]
        var protocols: [EndpointNumbers.Key: AppProtocol] = [:]
        let sorted = all.sorted { $0.key < $1.key }
        func key(_ endpoint: Endpoint, _ backend: Backend) -> EndpointNumbers.Key {
            EndpointNumbers.Key(endpoint, of: backend)
        }
        for (_, backend) in sorted {
            for endpoint in backend.endpoints where IPv4(endpoint.address) != nil {
                let key = key(endpoint, backend)
                if keyed[key] == nil { keyed[key] = numbers.number(key) }
                if protocols[key] == nil || protocols[key] == .unknown { protocols[key] = backend.appProtocol }
            }
        }
        var places: [EndpointNumbers.Key: Int32] = [:]
        for (key, number) in keyed.sorted(by: { $0.value < $1.value }) {
            guard let address = IPv4(key.endpoint.address), let port = UInt16(exactly: key.endpoint.port) else {
                continue
            }
            places[key] = Int32(endpoints.count)
            var tls = key.tls
            if tls?.certificate == nil { tls?.certificate = clientCertificate }
            let origination = tls.flatMap { contexts.context($0, of: key.service) }
            if let origination { originations.append(origination) }
            let peer = PeerLabels(
                workload: key.endpoint.workload, namespace: key.namespace,
                principal: key.endpoint.principal ?? "unknown",
                app: key.endpoint.app, version: key.endpoint.version)
            endpoints.append(
                EndpointEntry(
                    appProtocol: protocols[key] ?? .unknown, number: number, address: address.value, port: port,
                    principal: add(text: key.endpoint.principal ?? ""),
                    labels: labels.number(of: peer), label: labels.number(ofService: key.service),
                    identity: EndpointEntry.identity(key.service, address.value, port),
                    origination: origination.map(Unmanaged.passUnretained), wantsTLS: key.tls != nil,
                    proxyProtocol: key.proxyProtocol))
        }
        numbers.keep(only: places)
        for (name, backend) in sorted {
            backendPlaces[name] = Int32(backends.count)
            let start = Int32(members.count)
            var listed: [(place: Int32, endpoint: Endpoint)] = []
            for endpoint in backend.endpoints {
                if let place = places[key(endpoint, backend)] { listed.append((place, endpoint)) }
            }
            members += listed.map(\.place)
            backendNames.append(name)
            backends.append(
                BackendEntry(
                    label: labels.number(ofService: backend.service),
                    members: Run(start: start, count: Int32(members.count) - start),
                    guardPlace: resilience.add(backend), balance: addBalance(backend, listed, numbers, board)))
        }
    }

    private mutating func add(rates list: [RateLimit], in scope: String) -> Run {
        if list.isEmpty { return Run() }
        let headers = list.map { limit in
            if case .header(let name) = limit.key { add(text: name) } else { TextRange() }
        }
        return resilience.add(list, scope, headers, labels)
    }

    mutating func addEffort(_ rule: RouteRule, in scope: String) -> Int32 {
        let wanted = rule.resilience
        if wanted == .none { return -1 }
        let run = add(headers: wanted.retry?.responseHeaders ?? [])
        let rates = add(rates: wanted.rateLimits, in: "route \(scope) \(rule.name)")
        return resilience.add(rule, in: scope, headers: run, rates: rates)
    }

    /// Hosts in the order they are tried: exact names, then longer suffixes, then any.
    private mutating func add(_ listener: GatewayListener) {
        var entries: [HostEntry] = []
        for virtualHost in listener.routes {
            let scope = "\(listener.name):\(listener.port) \(virtualHost.hosts.first ?? "")"
            let run = add(rules: virtualHost.rules, in: scope, port: listener.port)
            for host in virtualHost.hosts {
                let name = host.lowercased()
                if name == "*" {
                    entries.append(HostEntry(kind: .any, name: TextRange(), rules: run))
                } else if name.hasPrefix("*.") {
                    entries.append(HostEntry(kind: .suffix, name: add(text: String(name.dropFirst())), rules: run))
                } else {
                    entries.append(HostEntry(kind: .exact, name: add(text: name), rules: run))
                }
            }
        }
        let sorted = entries.enumerated().sorted { one, other in
            if one.element.kind != other.element.kind { return one.element.kind.rawValue < other.element.kind.rawValue }
            if one.element.name.count != other.element.name.count {
                return one.element.name.count > other.element.name.count
            }
            return one.offset < other.offset
        }
        let run = Run(start: Int32(hosts.count), count: Int32(sorted.count))
        hosts += sorted.map(\.element)
        let index = hostIndex(run, slots: &routes.hostSlots)
        gateways.append(
            GatewayEntry(
                name: add(text: listener.name), port: UInt16(clamping: listener.port), hosts: run, index: index))
    }
}

/// The header sidecars tell each other who they speak for, `x-weft-peer: w=catalog;n=demo;a=catalog;v=v1`.
enum PeerHeader {
    static func line(for workload: Workload) -> String {
        func clean(_ text: String) -> String {
            String(text.filter { $0 != ";" && $0 != "\r" && $0 != "\n" && $0 != "\r\n" })
        }
        return
            "x-weft-peer: w=\(clean(workload.name));n=\(clean(workload.namespace));a=\(clean(workload.app));v=\(clean(workload.version))\r\n"
    }

    /// Reads the header's value. It is believed as far as the certificate agrees: the namespace must be the one in `principal`.
    static func labels(_ value: String, principal: String) -> PeerLabels {
        var labels = byCertificate(principal)
        var claimed = ""
        var found = PeerLabels()
        for part in value.split(separator: ";") {
            let text = part.dropFirst(2)
            if text.isEmpty { continue }
            switch part.prefix(2) {
            case "w=": found.workload = String(text)
            case "n=": claimed = String(text)
            case "a=": found.app = String(text)
            case "v=": found.version = String(text)
            default: break
            }
        }
        if claimed == labels.namespace {
            (labels.workload, labels.app, labels.version) = (found.workload, found.app, found.version)
        }
        return labels
    }

    /// What `spiffe://domain/ns/<namespace>/sa/<account>` alone tells.
    static func byCertificate(_ principal: String) -> PeerLabels {
        var labels = PeerLabels()
        labels.principal = principal
        let parts = principal.split(separator: "/")
        if let place = parts.firstIndex(of: "ns"), place + 1 < parts.count {
            labels.namespace = String(parts[place + 1])
        }
        return labels
    }
}
