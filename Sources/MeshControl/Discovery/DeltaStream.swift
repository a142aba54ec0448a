package import ProxyResources

/// One ADS stream's side of delta xDS: what the proxy asked for, what it holds, and what to send next. Does no I/O.
///
/// Of each type at most one response is on its way: the next one is made when it is acknowledged, from what is then newest. So a slow
/// proxy costs one response, and a burst of changes becomes one.
package struct DeltaStream: Sendable {
    /// A type's state, for `proxy-status`.
    package struct TypeStatus: Sendable, Hashable {
        package var kind: ProxyResource.Kind
        package var count: Int  // resources the proxy holds
        package var sentNonce: String
        package var acknowledgedNonce: String
        package var acknowledgedGeneration: Int  // 0 before the first ACK
        package var answeredGeneration: Int  // to all of which it has said yes or no
        package var lastRejection: Rejection?
    }
    package struct Rejection: Sendable, Hashable {
        package var generation: Int
        package var nonce: String
        package var message: String

        package init(generation: Int, nonce: String, message: String) {
            self.generation = generation
            self.nonce = nonce
            self.message = message
        }
    }

    fileprivate struct InFlight {
        var nonce: String
        var generation: Int
        var names: [String: String?]  // `nil`: removed
        var isWhole: Bool  // nothing of the generation was left for a later response
    }

    fileprivate struct Subscription {
        var isWildcard = false
        var names: Set<String> = []
        /// Versions the proxy holds, or was last sent.
        var held: [String: String] = [:]
        /// What the proxy refused. It is sent again only beside something new, since the same would be refused again.
        var rejected: [String: String?] = [:]
        /// Names just asked for: answered whether or not they are held, or exist.
        var asked: Set<String> = []
        var inFlight: InFlight?
        var sentNonce = ""
        var acknowledgedNonce = ""
        var acknowledgedGeneration = 0
        var answeredGeneration = 0
        var lastRejection: Rejection?
        var hasAnswered = false
        var isRejected = false

        func wants(_ name: String) -> Bool { isWildcard || names.contains(name) }
    }

    private var subscriptions: [ProxyResource.Kind: Subscription] = [:]
    private var snapshot: Snapshot?
    /// The proxy asks for other destinations than the snapshot was made for: nothing is said until the next one.
    package private(set) var needsSnapshot = false
    private var lastNonce = 0
    package private(set) var node = ""

    package init() {}

    /// - Returns: responses to send, in order.
    package mutating func update(_ snapshot: Snapshot) -> [DeltaResponse] {
        self.snapshot = snapshot
        needsSnapshot = false
        return pump()
    }

    /// The destinations the proxy has been given, and those it has been told are not there.
    package var answeredDemands: (found: [String]?, absent: [String]) {
        guard let subscription = subscriptions[.destination] else { return (nil, []) }
        let absent = subscription.names.filter { subscription.held[$0] == nil && !subscription.asked.contains($0) }
        return (subscription.held.keys.sorted(), absent.sorted())
    }

    /// What the proxy has asked for, by address or host; `nil` for one that does not ask, and is to have everything.
    package var demands: Set<String>? { subscriptions[.destination]?.names }

    /// - Returns: responses to send, in order. A type we do not know is not answered, as the protocol has it.
    package mutating func receive(_ request: DeltaRequest) -> [DeltaResponse] {
        if !request.node.isEmpty { node = request.node }
        guard let kind = ProxyResource.Kind(rawValue: request.typeURL) else { return [] }
        var subscription: Subscription
        if let known = subscriptions[kind] {
            subscription = known
        } else {
            subscription = Subscription()
            // The first request alone says what the proxy brings along, and is a wildcard when it names nothing.
            subscription.held = request.initialVersions
            // Nobody has all destinations: there is one for each way to spell an address.
            subscription.isWildcard = request.subscribe.isEmpty && kind != .destination
            if kind == .destination { needsSnapshot = true }
        }
        let isFirst = subscriptions[kind] == nil
        for name in request.subscribe {
            if name == "*" {
                subscription.isWildcard = kind != .destination
            } else {
                subscription.names.insert(name)
                // What a new stream brings along is answered by what differs.
                if !isFirst || subscription.held[name] == nil { subscription.asked.insert(name) }
            }
        }
        if kind == .destination, !request.subscribe.isEmpty || !request.unsubscribe.isEmpty { needsSnapshot = true }
        for name in request.unsubscribe {
            if name == "*" {
                subscription.isWildcard = false
            } else {
                subscription.names.remove(name)
                subscription.asked.remove(name)
            }
        }
        for name in subscription.held.keys where !subscription.wants(name) && !request.unsubscribe.isEmpty {
            subscription.held[name] = nil  // the proxy drops what it no longer asks for
        }
        if let sent = subscription.inFlight, sent.nonce == request.responseNonce {
            subscription.conclude(sent, request.errorDetail)
        }
        subscriptions[kind] = subscription
        return pump()
    }

    package var status: [TypeStatus] {
        ProxyResource.Kind.allCases.compactMap { kind in
            subscriptions[kind].map { subscription in
                TypeStatus(
                    kind: kind, count: subscription.held.count, sentNonce: subscription.sentNonce,
                    acknowledgedNonce: subscription.acknowledgedNonce,
                    acknowledgedGeneration: subscription.acknowledgedGeneration,
                    answeredGeneration: subscription.answeredGeneration,
                    lastRejection: subscription.lastRejection)
            }
        }
    }

    /// The generation all of whose resources the proxy has said yes to.
    package var acknowledgedGeneration: Int {
        subscriptions.isEmpty ? 0 : subscriptions.values.map(\.acknowledgedGeneration).min() ?? 0
    }

    // MARK: Sending

    /// Backends before the routes that name them, and the removal of backends after the routes that named them: a proxy is never told to
    /// send to what it does not know.
    private mutating func pump() -> [DeltaResponse] {
        guard let snapshot, !needsSnapshot else { return [] }
        var responses: [DeltaResponse] = []
        func add(_ response: DeltaResponse?) {
            if let response { responses.append(response) }
        }
        add(next(.identity, snapshot, removing: true))
        let routesAreSent = [ProxyResource.Kind.servicePort, .workload].allSatisfy {
            isSent($0, snapshot, removing: true)
        }
        add(next(.backend, snapshot, removing: routesAreSent))
        if isSent(.backend, snapshot, removing: false) {
            add(next(.servicePort, snapshot, removing: true))
            add(next(.workload, snapshot, removing: true))
            if !routesAreSent, [.servicePort, .workload].allSatisfy({ isSent($0, snapshot, removing: true) }) {
                add(next(.backend, snapshot, removing: true))
            }
        }
        // The answer to who waits for a destination: all that belongs to it has been sent.
        if [.backend, .servicePort, .workload].allSatisfy({ isSent($0, snapshot, removing: false) }) {
            add(next(.destination, snapshot, removing: true))
        }
        return responses
    }

    /// Whether all there is to say of a type has been sent (if not acknowledged).
    private func isSent(_ kind: ProxyResource.Kind, _ snapshot: Snapshot, removing: Bool) -> Bool {
        guard let subscription = subscriptions[kind] else { return true }
        return subscription.difference(to: snapshot[kind], removing: removing).isEmpty
    }

    private mutating func next(_ kind: ProxyResource.Kind, _ snapshot: Snapshot, removing: Bool) -> DeltaResponse? {
        guard var subscription = subscriptions[kind], subscription.inFlight == nil else { return nil }
        let difference = subscription.difference(to: snapshot[kind], removing: removing)
        if difference.isEmpty, subscription.hasAnswered {
            // Nothing of this type differs between the generations. What was refused stays refused until it changes.
            if !subscription.isRejected, removing { subscription.acknowledgedGeneration = snapshot.generation }
            if removing { subscription.answeredGeneration = snapshot.generation }
            subscriptions[kind] = subscription
            return nil
        }
        lastNonce += 1
        var response = DeltaResponse()
        response.systemVersion = String(snapshot.generation)
        response.typeURL = kind.rawValue
        response.nonce = String(lastNonce)
        subscription.fill(&response, difference, from: snapshot[kind], generation: snapshot.generation)
        subscription.inFlight?.isWhole = removing || subscription.held.keys.allSatisfy { snapshot[kind][$0] != nil }
        subscriptions[kind] = subscription
        return response
    }
}

extension DeltaStream.Subscription {
    struct Difference {
        var changed: [String] = []
        var removed: [String] = []
        var isEmpty: Bool { changed.isEmpty && removed.isEmpty }
    }

    func difference(to wanted: [String: VersionedResource], removing: Bool) -> Difference {
        var difference = Difference()
        if isWildcard {
            for (name, resource) in wanted where held[name] != resource.version || asked.contains(name) {
                difference.changed.append(name)
            }
        } else {
            for name in names {
                guard let resource = wanted[name] else { continue }
                if held[name] != resource.version || asked.contains(name) { difference.changed.append(name) }
            }
        }
        if removing {
            difference.removed =
                held.keys.filter { wanted[$0] == nil } + asked.filter { wanted[$0] == nil && held[$0] == nil }
        }
        return difference
    }

    mutating func fill(
        _ response: inout DeltaResponse, _ difference: Difference, from wanted: [String: VersionedResource],
        generation: Int
    ) {
        var changed = Set(difference.changed)
        var removed = Set(difference.removed)
        if !difference.isEmpty {
            for name in rejected.keys where wants(name) {
                if wanted[name] != nil { changed.insert(name) } else { removed.insert(name) }
            }
        }
        response.resources = changed.sorted().compactMap { wanted[$0] }
        response.removed = removed.sorted()
        var names: [String: String?] = [:]
        for resource in response.resources {
            held[resource.name] = resource.version
            names[resource.name] = .some(resource.version)
        }
        for name in removed {
            held[name] = nil
            names.updateValue(nil, forKey: name)
        }
        asked.subtract(names.keys)
        sentNonce = response.nonce
        hasAnswered = true
        inFlight = DeltaStream.InFlight(nonce: response.nonce, generation: generation, names: names, isWhole: true)
    }

    mutating func conclude(_ sent: DeltaStream.InFlight, _ error: DeltaError?) {
        inFlight = nil
        if sent.isWhole { answeredGeneration = sent.generation }
        if let error {
            isRejected = true
            lastRejection = DeltaStream.Rejection(
                generation: sent.generation, nonce: sent.nonce, message: error.message)
            for (name, version) in sent.names { rejected.updateValue(version, forKey: name) }
        } else {
            isRejected = false
            acknowledgedNonce = sent.nonce
            if sent.isWhole { acknowledgedGeneration = sent.generation }
            for name in sent.names.keys { rejected[name] = nil }
        }
    }
}
