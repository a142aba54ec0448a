import KubeTypes
import Logging
import NIOCore
import NIOHTTP1
import TLS
import Transport
import Wire

/// All that stands between a request and the objects: who asks, as whom, whether now, whether at all.
struct AccessControl: Sendable {
    let authentication: Authentication
    let impersonation: Impersonation
    let authorizer: any Authorizer
    let reviews: Reviews
    let tokenRequest: TokenRequest
    let accountTokens: AccountTokens
    /// `nil` where nothing is to be recorded.
    let audit: AuditLog?
    /// `nil` where requests are not bounded.
    let fairness: Fairness?

    /// Starts what follows the store from here on: priority levels; as duties, aggregated roles, token secrets, certificates.
    static func start(
        _ registry: Registry, _ pki: ClusterPKI, _ authorizer: any Authorizer, _ configuration: AccessConfiguration,
        _ duties: ServerDuties, _ logger: Logger
    ) throws -> AccessControl {
        let accounts = try AccountTokens(
            key: pki.accountKey, registry: registry, issuer: configuration.serviceAccountIssuer,
            audiences: configuration.audiences)
        let issuers = configuration.oidc.map { OIDCTokens($0, logger: logger) as any TokenAuthenticator }
        let tokens = TokenAuthenticators(
            parts: [accounts, BootstrapTokens(registry: registry)] + issuers, audiences: accounts.audiences)
        let secrets = SecretTokens(
            registry: registry, tokens: accounts, rootCertificate: try pki.authority.certificate.pem())
        let issuer = CertificateIssuer(registry: registry, authorizer: authorizer, authority: pki.authority)
        duties.add { () throws(APIFailure) in try RoleAggregator(registry: registry).start() }
        duties.add { () throws(APIFailure) in try secrets.start() }
        duties.add { () throws(APIFailure) in try issuer.start() }
        duties.add { () throws(APIFailure) in try FlowSchemaStatus(registry: registry).start() }
        let fairness = configuration.requestSeats > 0 ? Fairness(seats: configuration.requestSeats) : nil
        try fairness?.follow(registry)
        return AccessControl(
            authentication: Authentication(tokens: tokens, anonymousPaths: configuration.anonymousPaths),
            impersonation: Impersonation(authorizer: authorizer), authorizer: authorizer,
            reviews: Reviews(authorizer: authorizer, tokens: tokens),
            tokenRequest: TokenRequest(
                registry: registry, tokens: accounts, mostLifetime: configuration.mostTokenLifetime),
            accountTokens: accounts, audit: try audit(configuration, logger), fairness: fairness)
    }

    private static func audit(_ configuration: AccessConfiguration, _ logger: Logger) throws -> AuditLog? {
        if configuration.auditPolicyFile.isEmpty { return nil }
        var limits = AuditLog.Limits()
        limits.size = configuration.auditLogSize
        limits.backups = configuration.auditLogBackups
        return try AuditLog.open(
            policyFile: configuration.auditPolicyFile, path: configuration.auditLogPath, limits: limits, logger: logger)
    }

    // MARK: The stages of a request

    /// Who asks, by what the request brings along.
    func authenticate(_ request: inout APIRequest, _ responder: HTTPResponder) async throws(APIFailure) {
        do throws(APIFailure) {
            request.user = try await authentication.user(request.http, path: request.path)
        } catch {
            // What was tried is recorded too, of nobody.
            request.user = User(name: "")
            beginAudit(&request, responder)
            throw error
        }
    }

    /// Begins the request's record, where one is kept.
    func beginAudit(_ request: inout APIRequest, _ responder: HTTPResponder) {
        guard let audit else { return }
        let attempt = request.attempt
        let verdict = audit.policy.verdict(attempt)
        if verdict.level == .none { return }
        let address = request.http.remoteAddress?.ipAddress
        let record = AuditRecord(
            id: request.id, verdict: verdict, attempt: attempt, target: request.http.target,
            userAgent: request.header("user-agent") ?? "", sources: address.map { [$0] } ?? [])
        request.audit = record
        if let event = record.event(.received, status: 0, failure: nil) { audit.write(event) }
        guard request.isLong else { return }
        responder.onStart { status in
            if let event = record.event(.started, status: status, failure: nil) { audit.write(event) }
        }
    }

    func endAudit(_ request: APIRequest, status: Int, failure: APIFailure?) {
        guard let audit, let record = request.audit else { return }
        if let event = record.event(.complete, status: status, failure: failure) { audit.write(event) }
    }

    /// As whom, when the headers ask for somebody else.
    func impersonate(_ request: inout APIRequest) throws(APIFailure) {
        let user = try impersonation.user(request.http.headers, asking: request.user)
        if let record = request.audit, user != request.user { record.impersonate(user) }
        request.user = user
    }

    /// Whether now: a seat of the request's priority level, perhaps after a wait.
    func takeSeat(
        _ request: APIRequest, _ attempt: Attempt, _ responder: HTTPResponder
    ) async throws(APIFailure) -> Fairness.Seat? {
        guard let fairness else { return nil }
        let limit = attempt.verb == "list" ? (try request.query.integer("limit") ?? 0) : 0
        let seat = try await fairness.admit(attempt, isLong: request.isLong, limit: limit)
        if let seat {
            responder.add([
                "x-kubernetes-pf-flowschema-uid": seat.schema, "x-kubernetes-pf-prioritylevel-uid": seat.level,
            ])
        }
        return seat
    }

    func giveBack(_ seat: Fairness.Seat?) {
        if let seat { fairness?.leave(seat) }
    }

    /// Whether at all.
    func authorize(_ request: APIRequest, _ attempt: Attempt) throws(APIFailure) {
        let decision = authorizer.decide(attempt)
        if let record = request.audit {
            record.annotate("authorization.k8s.io/decision", decision.isAllowed ? "allow" : "forbid")
            record.annotate("authorization.k8s.io/reason", decision.reason.description)
        }
        if !decision.isAllowed { throw attempt.refusal(decision.reason.description) }
    }
}

/// Who may do what, and what keeps it so when roles and certificates are written.
struct AccessRules: Sendable {
    let authorizer: any Authorizer
    private let roles: RoleIndex
    private let registry: Registry

    init(_ registry: Registry) {
        self.registry = registry
        roles = RoleIndex()
        authorizer = AuthorizerChain([MastersAuthorizer(), NodeAuthorizer(graph: NodeGraph(registry)), roles])
    }

    var mutating: [any MutatingAdmission] { [CertificateFields()] }
    var validating: [any ValidatingAdmission] {
        [RoleEscalation(authorizer: authorizer, roles: roles), CertificateRules(authorizer: authorizer)]
    }

    /// From here on the roles are what the store says; before, only `system:masters` may do anything.
    func follow() throws(APIFailure) { try roles.follow(registry) }
}

extension APIRequest {
    /// What the request's path and method come to, in the words of the rules.
    var attempt: Attempt {
        switch route {
        case .path(let path): return Attempt(user: user, verb: verb, target: .path(path))
        case .resource(let route):
            let verb = verb
            let isMany = route.name.isEmpty && (verb == "list" || verb == "watch" || verb == "deletecollection")
            let fields = isMany ? query["fieldSelector"] : ""
            // A list of one is that one's.
            let name = FieldSelector.value(of: "metadata.name", in: fields) ?? route.name
            // What a role gives in a namespace holds for the namespace itself.
            let isNamespace = route.resource == "namespaces" && route.group.isEmpty
            return Attempt(
                user: user, verb: verb,
                target: .resource(
                    group: route.group, version: route.version, resource: route.resource,
                    subresource: route.subresource, namespace: isNamespace ? route.name : route.namespace, name: name),
                fields: fields)
        }
    }
}
