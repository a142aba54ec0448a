package import KubeTypes
package import ProxyResources
import Wire

/// The ConfigMap `weft-mesh` of a root namespace: services that decide on requests, and identities that are cut off.
///
/// - `extensionProviders`: a list as Istio's mesh configuration has it, written as JSON.
/// - `configuration` (`all` or `on-demand`) and `configurationIdle` (`10m`): how much of the mesh proxies hold, and for how long.
/// - `revoked`: a SPIFFE ID (or all that start so, ending in `*`) or a certificate's serial number a line.
package struct MeshSecurityMap: Sendable, Hashable {
    package static let name = "weft-mesh"
    private static let fields: Set<String> = [
        "service", "port", "timeout", "failOpen", "statusOnError", "includeRequestBodyInCheck",
    ]
    private static let fieldsOfHTTP: Set<String> = [
        "pathPrefix", "includeRequestHeadersInCheck", "includeHeadersInCheck", "includeAdditionalHeadersInCheck",
        "headersToUpstreamOnAllow", "headersToDownstreamOnDeny",
    ]
    /// Routes are always chosen after the check.
    private static let fieldsOfGRPC: Set<String> = ["clearRouteCache"]

    package var key: ObjectKey
    package var authorizers: [ExternalAuthorizer] = []
    package var revoked = Revocation()
    package var loading = LoadingWish()
    package var findings: [PolicyFinding] = []

    package init(_ object: KubeObject) {
        key = object.key
        let reference = PolicyReference(.configMaps, object.key)
        let data = object.json["data"]
        readRevoked(data?["revoked"]?.string ?? "", reference)
        loading = LoadingWish(
            { data?[$0]?.string }, (mode: "configuration", idle: "configurationIdle"), of: reference, at: "data.")
        findings += loading.findings
        guard let text = data?["extensionProviders"]?.string, !text.isEmpty else { return }
        guard let json = try? JSON(parsing: Array(text.utf8)), json.array != nil else {
            findings.append(
                PolicyFinding(reference, "data.extensionProviders", .invalid, "is not a list, written as JSON"))
            return
        }
        let fields = PolicyFields(["extensionProviders": json], at: "data", of: reference)
        for provider in fields.each("extensionProviders") { read(provider) }
    }

    private mutating func readRevoked(_ text: String, _ reference: PolicyReference) {
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let word = line.prefix { $0 != "#" }.filter { $0 != " " && $0 != "\t" && $0 != "\r" }
            if word.isEmpty { continue }
            if word.hasPrefix("spiffe://") {
                revoked.principals.append(word)
                continue
            }
            let serial = Revocation.plain(serial: word)
            if serial.allSatisfy({ $0.isHexDigit }), !serial.isEmpty {
                revoked.serials.append(serial)
            } else {
                findings.append(
                    PolicyFinding(
                        reference, "data.revoked", .invalid,
                        "line \(index + 1): \"\(word)\" is neither a SPIFFE ID nor a serial number in hexadecimal"))
            }
        }
    }

    private mutating func read(_ fields: PolicyFields) {
        let name = fields.string("name") ?? ""
        if name.isEmpty { findings.append(fields.finding("name", .invalid, "is required")) }
        let form: ExternalAuthorizer.Form = fields.has("envoyExtAuthzGrpc") ? .grpc : .http
        guard let inner = fields.inside(form == .grpc ? "envoyExtAuthzGrpc" : "envoyExtAuthzHttp") else {
            return  // Tracers and such are none of ours.
        }
        inner.reportOthers(
            than: Self.fields.union(form == .http ? Self.fieldsOfHTTP : Self.fieldsOfGRPC), as: "it has no effect",
            to: &findings)
        // `[namespace/]host`
        let service = inner.string("service") ?? ""
        let host = service.split(separator: "/").last.map(String.init) ?? ""
        let parts = host.split(separator: ".").map(String.init)
        let port = inner.int("port") ?? 0
        guard parts.count >= 2, (1...65535).contains(port) else {
            findings.append(inner.finding("service", .invalid, "\"\(service)\", port \(port): names no service's port"))
            return
        }
        var made = ExternalAuthorizer(
            name: name, form: form, backend: backendName(ObjectKey(namespace: parts[1], name: parts[0]), port),
            authority: "\(host):\(port)")
        if let timeout = inner.duration("timeout", &findings) {
            made.timeoutMilliseconds = min(max(timeout, 1), 600_000)
        }
        made.failsOpen = inner.json["failOpen"]?.bool ?? false
        if inner.has("statusOnError") {
            let status = inner.string("statusOnError").flatMap(Int.init) ?? inner.int("statusOnError") ?? 0
            if (200...599).contains(status) {
                made.statusOnError = status
            } else {
                findings.append(inner.finding("statusOnError", .invalid, "is no status from 200 to 599: 403 is used"))
            }
        }
        if let body = inner.inside("includeRequestBodyInCheck") { readBody(body, &made) }
        if form == .http { readHeaders(inner, &made) }
        authorizers.append(made)
    }

    private mutating func readBody(_ fields: PolicyFields, _ made: inout ExternalAuthorizer) {
        fields.reportOthers(
            than: ["maxRequestBytes", "allowPartialMessage", "packAsBytes"], as: "it has no effect", to: &findings)
        let bytes = fields.int("maxRequestBytes") ?? 0
        if bytes < 1 {
            findings.append(
                fields.finding("maxRequestBytes", .invalid, "is required, from 1 byte on: no body is shown"))
        } else if bytes > ExternalAuthorizer.mostBody {
            let most = ExternalAuthorizer.mostBody
            findings.append(
                fields.finding("maxRequestBytes", .unsupported, "\(bytes) is more than is shown, which is \(most)"))
        }
        made.shownBody = min(max(bytes, 0), ExternalAuthorizer.mostBody)
        made.allowsPartialBody = fields.json["allowPartialMessage"]?.bool ?? false
        made.packsBodyAsBytes = fields.json["packAsBytes"]?.bool ?? false
    }

    private mutating func readHeaders(_ fields: PolicyFields, _ made: inout ExternalAuthorizer) {
        made.pathPrefix = fields.string("pathPrefix") ?? ""
        if !made.pathPrefix.isEmpty, !made.pathPrefix.hasPrefix("/") {
            findings.append(fields.finding("pathPrefix", .invalid, "\"\(made.pathPrefix)\" does not start with /"))
            made.pathPrefix = ""
        }
        made.shownHeaders =
            names(fields, "includeRequestHeadersInCheck") + names(fields, "includeHeadersInCheck")
        let added = fields.json["includeAdditionalHeadersInCheck"]?.stringMap ?? [:]
        for member in added.sorted(by: { $0.key < $1.key }) {
            let name = member.key.lowercased()
            if let reason = HeaderRules.fault(name: name) ?? HeaderRules.fault(value: member.value) {
                findings.append(fields.finding("includeAdditionalHeadersInCheck", .invalid, "\(name): \(reason)"))
            } else {
                made.addedHeaders.append(HeaderValue(name: name, value: member.value))
            }
        }
        made.headersOnAllow = names(fields, "headersToUpstreamOnAllow")
        made.headersOnDeny = names(fields, "headersToDownstreamOnDeny")
    }

    /// Names of headers in lower case, each of which may end in `*`; those that are none are left out.
    private mutating func names(_ fields: PolicyFields, _ field: String) -> [String] {
        var found: [String] = []
        for name in fields.strings(field).map({ $0.lowercased() }) {
            if let reason = HeaderRules.fault(name: name.hasSuffix("*") ? name.dropLast() + "x" : name) {
                findings.append(fields.finding(field, .invalid, reason))
            } else {
                found.append(name)
            }
        }
        return found
    }
}
