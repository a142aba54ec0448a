package import KubeTypes
package import ProxyResources
import Wire

/// The ConfigMap `weft-mesh` of a root namespace: services that decide on requests, and identities that are cut off.
///
/// - `extensionProviders`: a list as Istio's mesh configuration has it, written as JSON.
/// - `revoked`: a SPIFFE ID (or all that start so, ending in `*`) or a certificate's serial number a line.
package struct MeshSecurityMap: Sendable, Hashable {
    package static let name = "weft-mesh"

    package var key: ObjectKey
    package var authorizers: [ExternalAuthorizer] = []
    package var revoked = Revocation()
    package var findings: [PolicyFinding] = []

    package init(_ object: KubeObject) {
        key = object.key
        let reference = PolicyReference(.configMaps, object.key)
        let data = object.json["data"]
        readRevoked(data?["revoked"]?.string ?? "", reference)
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
        guard let inner = fields.inside("envoyExtAuthzHttp") ?? fields.inside("envoyExtAuthzGrpc") else {
            return  // Tracers and such are none of ours.
        }
        inner.reportOthers(
            than: [
                "service", "port", "timeout", "pathPrefix", "failOpen", "statusOnError", "includeRequestHeadersInCheck",
                "includeHeadersInCheck", "includeAdditionalHeadersInCheck", "includeRequestBodyInCheck",
                "headersToUpstreamOnAllow", "headersToDownstreamOnDeny",
            ], as: "it has no effect", to: &findings)
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
        made.pathPrefix = inner.string("pathPrefix") ?? ""
        made.failsOpen = inner.json["failOpen"]?.bool ?? false
        if let status = inner.string("statusOnError").flatMap(Int.init) ?? inner.int("statusOnError") {
            made.statusOnError = (200...599).contains(status) ? status : 403
        }
        let shown = inner.strings("includeRequestHeadersInCheck") + inner.strings("includeHeadersInCheck")
        made.shownHeaders = shown.map { $0.lowercased() }
        for member in (inner.json["includeAdditionalHeadersInCheck"]?.stringMap ?? [:]).sorted(by: { $0.key < $1.key })
        {
            made.addedHeaders.append(HeaderValue(name: member.key.lowercased(), value: member.value))
        }
        if let body = inner.inside("includeRequestBodyInCheck") {
            made.shownBody = min(max(body.int("maxRequestBytes") ?? 0, 0), 65536)
            made.allowsPartialBody = body.json["allowPartialMessage"]?.bool ?? false
        }
        made.headersOnAllow = inner.strings("headersToUpstreamOnAllow").map { $0.lowercased() }
        made.headersOnDeny = inner.strings("headersToDownstreamOnDeny").map { $0.lowercased() }
        authorizers.append(made)
    }
}
