import KubeTypes
package import ProxyResources

extension MeshWords {
    /// On a pod: how much of the mesh its proxy holds, `all` or `on-demand`.
    package static let configuration = "weft.dev/configuration"
    /// On a pod: how long its proxy holds a destination nobody is connected to, `10m`.
    package static let configurationIdle = "weft.dev/configuration-idle"
}

/// What somebody says about how much of the mesh proxies hold; what is not said is left to who speaks for more.
package struct LoadingWish: Sendable, Hashable {
    package var mode: Loading.Mode?
    package var idleSeconds: Int?
    package private(set) var findings: [PolicyFinding] = []

    package init(mode: Loading.Mode? = nil, idleSeconds: Int? = nil) {
        self.mode = mode
        self.idleSeconds = idleSeconds
    }

    /// - Parameter fields: the names of the two fields, to find them by and to name them.
    init(
        _ texts: (String) -> String?, _ fields: (mode: String, idle: String), of object: PolicyReference,
        at place: String
    ) {
        switch texts(fields.mode) {
        case nil, "": break
        case "all": mode = .all
        case "on-demand": mode = .onDemand
        case .some(let word):
            findings.append(
                PolicyFinding(
                    object, "\(place)\(fields.mode)", .invalid, "is \"\(word)\", must be \"all\" or \"on-demand\""))
        }
        guard let text = texts(fields.idle), !text.isEmpty else { return }
        if let milliseconds = milliseconds(ofDuration: text), Loading.idleBounds.contains(milliseconds / 1000) {
            idleSeconds = milliseconds / 1000
        } else {
            findings.append(
                PolicyFinding(
                    object, "\(place)\(fields.idle)", .invalid,
                    "\"\(text)\" is not a time from one second to seven days, such as \"10m\""))
        }
    }
}

/// How much of the mesh each proxy holds: its pod has the first word, then the ConfigMap `weft-mesh`, then the settings.
struct LoadingRules {
    private let wide: Loading

    /// More addresses beside the ranges than this, and a proxy is told to ask for any.
    static let mostOutside = 64

    init(_ state: MeshState, _ model: MeshModel) {
        let maps = state.securityMaps.sorted { $0.key < $1.key }.map(\.value.loading)
        wide = Loading(
            maps.compactMap(\.mode).first ?? state.settings.loading,
            idleSeconds: maps.compactMap(\.idleSeconds).first ?? Loading.idleSeconds,
            ranges: Self.ranges(state.settings.ranges, model))
    }

    func loading(of pod: MeshPod) -> Loading {
        let mode = pod.loading.mode ?? wide.mode
        if mode == .all { return Loading() }
        return Loading(mode, idleSeconds: pod.loading.idleSeconds ?? wide.idleSeconds, ranges: wide.ranges)
    }

    /// The cluster's ranges, and what the mesh has outside of them one by one.
    private static func ranges(_ given: [String], _ model: MeshModel) -> [String] {
        let blocks = given.compactMap(AddressRange.init)
        if blocks.isEmpty { return [] }
        var outside: Set<String> = []
        func look(at address: String) {
            guard !outside.contains(address), let one = AddressRange(address)?.address else { return }
            if !blocks.contains(where: { $0.contains(one) }) { outside.insert(address) }
        }
        for port in model.servicePorts.values { port.addresses.forEach(look) }
        for backend in model.backends.values {
            for endpoint in backend.endpoints { look(at: endpoint.address) }
        }
        return outside.count > mostOutside ? [] : given + outside.sorted()
    }
}
