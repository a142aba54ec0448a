package import KubeTypes
package import ProxyResources
import Wire

/// An Istio RequestAuthentication: whose tokens a workload believes.
package struct RequestAuthentication: Sendable, Hashable, AgedPolicy {
    package struct Rule: Sendable, Hashable {
        package var token: TokenRule
        /// Where its keys are to be fetched; empty when they are inline.
        package var keysAddress: String
    }

    package var key: ObjectKey
    package var created: String
    package var generation: Int
    package var scope: PolicyScope
    package var rules: [Rule]
    package var findings: [PolicyFinding]

    package var reference: PolicyReference { PolicyReference(.requestAuthentications, key) }

    package init(_ object: KubeObject) {
        key = object.key
        created = object.creationTimestamp ?? ""
        generation = object.generation
        var findings: [PolicyFinding] = []
        let spec = PolicyFields(object.spec, at: "spec", of: PolicyReference(.requestAuthentications, object.key))
        spec.reportOthers(
            than: ["selector", "targetRef", "targetRefs", "jwtRules"], as: "it has no effect", to: &findings)
        scope = PolicyScope(spec, &findings)
        let name = "\(object.key)"
        rules = spec.each("jwtRules").map { Self.rule($0, name, &findings) }
        self.findings = findings
    }

    private static func rule(_ fields: PolicyFields, _ name: String, _ findings: inout [PolicyFinding]) -> Rule {
        fields.reportOthers(
            than: [
                "issuer", "audiences", "jwks", "jwksUri", "jwks_uri", "fromHeaders", "fromParams", "fromCookies",
                "forwardOriginalToken", "outputPayloadToHeader", "outputClaimToHeaders", "timeout",
            ], as: "it has no effect", to: &findings)
        func header(_ fields: PolicyFields, _ field: String) -> String {
            let text = (fields.string(field) ?? "").lowercased()
            if text.isEmpty { return "" }
            guard let fault = HeaderRules.fault(name: text) else { return text }
            findings.append(fields.finding(field, .invalid, "\"\(text)\" \(fault)"))
            return ""
        }
        var token = TokenRule(
            name: name, issuer: fields.string("issuer") ?? "", audiences: fields.strings("audiences"),
            keys: fields.string("jwks") ?? "", parameters: fields.strings("fromParams"),
            cookies: fields.strings("fromCookies"), forwardsToken: fields.json["forwardOriginalToken"]?.bool ?? false,
            payloadHeader: header(fields, "outputPayloadToHeader"))
        if token.issuer.isEmpty { findings.append(fields.finding("issuer", .invalid, "is required")) }
        for place in fields.each("fromHeaders") {
            let name = header(place, "name")
            if !name.isEmpty { token.headers.append(.init(name: name, prefix: place.string("prefix") ?? "")) }
        }
        for output in fields.each("outputClaimToHeaders") {
            let name = header(output, "header")
            let claim = output.string("claim") ?? ""
            if claim.isEmpty { findings.append(output.finding("claim", .invalid, "is required")) }
            if !name.isEmpty, !claim.isEmpty { token.claimHeaders.append(.init(header: name, claim: claim)) }
        }
        var address = fields.string("jwksUri") ?? fields.string("jwks_uri") ?? ""
        if !token.keys.isEmpty {
            address = ""
            let parsed = try? JSON(parsing: Array(token.keys.utf8))
            if parsed?["keys"]?.array == nil {
                findings.append(fields.finding("jwks", .invalid, "is not a set of keys: JSON with the list \"keys\""))
            }
        } else if address.isEmpty {
            findings.append(
                fields.finding(
                    "jwksUri", .unsupported, "is required without jwks: keys are not looked for at the issuer"))
        } else if !address.hasPrefix("https://"), !address.hasPrefix("http://") {
            findings.append(fields.finding("jwksUri", .invalid, "\"\(address)\" is no http or https address"))
            address = ""
        }
        return Rule(token: token, keysAddress: address)
    }
}
