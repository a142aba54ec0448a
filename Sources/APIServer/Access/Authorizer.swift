package import KubeTypes

/// What one authorizer says to an attempt.
package enum Decision: Sendable {
    case allow(Reason)
    /// No other authorizer is asked.
    case deny(Reason)
    case noOpinion(Reason)

    /// Made into words only where somebody reads them.
    package enum Reason: Sendable, CustomStringConvertible {
        case none
        case said(String)
        case role(RoleGrant)

        package var description: String {
            switch self {
            case .none: ""
            case .said(let text): text
            case .role(let grant): grant.description
            }
        }
    }

    package var isAllowed: Bool {
        if case .allow = self { return true }
        return false
    }

    package var reason: Reason {
        switch self {
        case .allow(let reason), .deny(let reason), .noOpinion(let reason): reason
        }
    }
}

/// Says who may do what. Asked by every request, so it answers from memory.
package protocol Authorizer: Sendable {
    func decide(_ attempt: Attempt) -> Decision
    /// All this authorizer lets the user do in a namespace, as far as it can be listed.
    func rules(of user: User, in namespace: String) -> SubjectRules
}

extension Authorizer {
    package func allows(_ attempt: Attempt) -> Bool { decide(attempt).isAllowed }

    /// - Throws: 403 in the words of Kubernetes.
    package func check(_ attempt: Attempt) throws(APIFailure) {
        let decision = decide(attempt)
        if decision.isAllowed { return }
        throw attempt.refusal(decision.reason.description)
    }
}

/// The rules a user has, and whether these are all.
package struct SubjectRules: Sendable {
    package var rules: [PolicyRule] = []
    /// Why there may be more.
    package var gaps: [String] = []
}

/// Several authorizers: the first that allows or denies decides.
package struct AuthorizerChain: Authorizer {
    private let parts: [any Authorizer]

    package init(_ parts: [any Authorizer]) { self.parts = parts }

    package func decide(_ attempt: Attempt) -> Decision {
        var reasons: [String] = []
        for part in parts {
            let decision = part.decide(attempt)
            guard case .noOpinion(let reason) = decision else { return decision }
            if case .none = reason { continue }
            reasons.append(reason.description)
        }
        return .noOpinion(reasons.isEmpty ? .none : .said(reasons.joined(separator: ", ")))
    }

    package func rules(of user: User, in namespace: String) -> SubjectRules {
        var all = SubjectRules()
        for part in parts {
            let found = part.rules(of: user, in: namespace)
            all.rules += found.rules
            all.gaps += found.gaps
        }
        return all
    }
}

/// `system:masters` may do all, whatever became of the roles: the way back in for who has locked everybody out.
struct MastersAuthorizer: Authorizer {
    func decide(_ attempt: Attempt) -> Decision { attempt.user.isMaster ? .allow(.none) : .noOpinion(.none) }

    func rules(of user: User, in namespace: String) -> SubjectRules {
        guard user.isMaster else { return SubjectRules() }
        return SubjectRules(rules: PolicyRule.everything)
    }
}
