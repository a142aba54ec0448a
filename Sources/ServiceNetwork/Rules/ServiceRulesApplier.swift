import Kernel

/// Puts service rules into a node's namespace, and sees when somebody else changed them.
///
/// It never lists the table: each nftables transaction raises the namespace's generation by one, so a generation that is
/// not the one it left means the table may have drifted, and is written whole again.
package actor ServiceRulesApplier {
    private let path: String
    private let scope: RuleScope
    /// The generation after our last transaction; `nil` before the first and after a failure.
    private var generation: UInt32?
    /// How many transactions and commands were run: what a change costs, as a count.
    package private(set) var work = Work()

    package struct Work: Sendable, Hashable {
        package var transactions = 0
        package var commands = 0
        package var wholeTables = 0
    }

    /// - Parameter path: the node's network namespace.
    package init(inNamespace path: String, scope: RuleScope) {
        self.path = path
        self.scope = scope
    }

    /// Applies the changes as one transaction; the whole table when it must be made, or has drifted, or refuses the change.
    /// - Parameter all: everything there should be, these changes included.
    package func apply(_ changes: RuleChanges, all: @Sendable () -> RuleChanges) async throws(NetworkFailure) {
        if let generation, await !hasDrifted(from: generation) {
            if changes.isEmpty { return }
            do throws(NetworkFailure) {
                try await run(RuleCommands.commands(changes))
                let ended = changes.endedFlows
                if !ended.isEmpty { await endFlows { ended.contains(ServiceFlow(frontend: $0, backend: $1)) } }
                return
            } catch {
                // The table is not what we think it is.
            }
        }
        generation = nil
        let all = all()
        let commands = RuleCommands.whole(all, scope)
        do throws(NetworkFailure) { try await run(commands) } catch {
            // A table of another shape, such as an older version's: then without what is in it.
            try await run(RuleCommands.removal + commands)
        }
        work.wholeTables += 1
        // What went while nobody watched.
        let standing = all.udpFlows
        await endFlows { [scope] in
            scope.isService($0, answeredBy: $1) && !standing.contains(ServiceFlow(frontend: $0, backend: $1))
        }
    }

    /// Takes the table away. Not there is fine.
    package func remove() async throws(NetworkFailure) {
        generation = nil
        try await run(RuleCommands.removal)
        generation = nil
    }

    private func run(_ commands: [String]) async throws(NetworkFailure) {
        let text = commands.joined(separator: "\n")
        let result: Result<UInt32?, NftablesFailed>
        do throws(SystemCallFailed) {
            result = try await NetworkNamespace.perform(in: path, privateDescriptors: true) {
                () throws(SystemCallFailed) in
                var socket = try NetlinkSocket(ServiceRulesApplier.netfilter, inNamespace: nil)
                let before = try socket.nftablesGeneration()
                do throws(NftablesFailed) { try Nftables().run(text) } catch { return .failure(error) }
                // Somebody else's transaction between the two shows as a second step.
                return .success(try socket.nftablesGeneration() == before &+ 1 ? before &+ 1 : nil)
            }
        } catch {
            throw NetworkFailure("service rules of \(scope.nodeName): \(error)")
        }
        switch result {
        case .success(let after): generation = after
        case .failure(let error): throw NetworkFailure("service rules of \(scope.nodeName): \(error)")
        }
        work.transactions += 1
        work.commands += commands.count
    }

    private func hasDrifted(from expected: UInt32) async -> Bool {
        do throws(SystemCallFailed) {
            return try await NetworkNamespace.perform(in: path, privateDescriptors: true) {
                () throws(SystemCallFailed) in
                var socket = try NetlinkSocket(ServiceRulesApplier.netfilter, inNamespace: nil)
                return try socket.nftablesGeneration() != expected
            }
        } catch {
            return true
        }
    }

    /// A UDP flow follows its first packet's way for as long as packets come: flows to a backend that is gone are
    /// forgotten, so that the next packet finds another, or is refused.
    private func endFlows(_ isOver: @escaping @Sendable (Frontend, Backend) -> Bool) async {
        // Losing this race only means the flow lives until it is quiet; the rules stand either way.
        _ = try? await NetworkNamespace.perform(in: path) { () throws(SystemCallFailed) in
            var socket = try NetlinkSocket(ServiceRulesApplier.netfilter, inNamespace: nil)
            for flow in try socket.udpFlows() {
                let frontend = Frontend(address: flow.destination, transport: .udp, port: flow.destinationPort)
                let backend = Backend(address: flow.answerer, port: flow.answererPort)
                if isOver(frontend, backend) { try socket.deleteUDPFlow(flow) }
            }
        }
    }

    private static let netfilter: CInt = 12  // NETLINK_NETFILTER
}

extension RuleChanges {
    /// The UDP flows the rules of a whole table make.
    fileprivate var udpFlows: Set<ServiceFlow> {
        var flows: Set<ServiceFlow> = []
        for case .backend(let frontend, _, let backend) in added where frontend.transport == .udp {
            flows.insert(ServiceFlow(frontend: frontend, backend: backend))
        }
        return flows
    }
}

extension RuleScope {
    /// Whether a flow is to a service, not to a server of the node's own. One to a service's address that met no rule is one
    /// too: it began before there were rules.
    fileprivate func isService(_ frontend: Frontend, answeredBy backend: Backend) -> Bool {
        if ownServiceAddresses.contains(frontend.address) { return false }
        if serviceRange.contains(frontend.address) { return true }
        return nodeAddresses.contains(frontend.address) && frontend.address != backend.address
    }
}
