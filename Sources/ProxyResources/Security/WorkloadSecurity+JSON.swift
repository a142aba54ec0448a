import Wire

extension WorkloadSecurity {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init()
        policies = try fields.parts("policies")
        tokenRules = try fields.parts("tokenRules")
        for authorizer in try fields.objects("authorizers") { authorizers.append(try ExternalAuthorizer(authorizer)) }
        if let list = try fields.object("revoked") { revoked = try Revocation(list) }
        pathNormalization = try fields.word("pathNormalization", or: .base)
        trustedProxies = try fields.integer("trustedProxies", in: 0...32) ?? 0
        explainsDenials = try fields.flag("explainsDenials")
        for (index, policy) in policies.enumerated() where policy.action == .custom {
            if !authorizers.contains(where: { $0.name == policy.provider }) {
                throw fields.fault("policies[\(index)].provider", "names no authorizer: \"\(policy.provider)\"")
            }
        }
    }

    var json: JSON {
        var out = ResourceWriter()
        out.write("policies", policies)
        out.write("tokenRules", tokenRules)
        out.write("authorizers", authorizers.map(\.json))
        if !revoked.isEmpty { out.write("revoked", revoked.json) }
        out.write("pathNormalization", pathNormalization, unless: .base)
        out.write("trustedProxies", trustedProxies == 0 ? nil : trustedProxies)
        out.write("explainsDenials", explainsDenials)
        return out.json
    }
}

extension Revocation {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(principals: try fields.strings("principals"), serials: try fields.strings("serials"))
        for (index, principal) in principals.enumerated() where !principal.hasPrefix("spiffe://") {
            throw fields.fault("principals[\(index)]", "\"\(principal)\" is no SPIFFE ID")
        }
        for (index, serial) in serials.enumerated() {
            serials[index] = Self.plain(serial: serial)
            let isHexadecimal = serials[index].utf8.allSatisfy { (48...57).contains($0) || (65...70).contains($0) }
            if serials[index].isEmpty || !isHexadecimal {
                throw fields.fault("serials[\(index)]", "\"\(serial)\" is not a serial number in hexadecimal")
            }
        }
    }

    /// `0a:1b` as OpenSSL's tools write it, or `0A1B`: one form for both.
    package static func plain(serial: String) -> String {
        let digits = serial.filter { $0 != ":" && $0 != " " }.uppercased()
        let significant = digits.drop { $0 == "0" }
        return significant.isEmpty && !digits.isEmpty ? "0" : String(significant)
    }

    var json: JSON {
        var out = ResourceWriter()
        out.write("principals", principals)
        out.write("serials", serials)
        return out.json
    }
}

extension TokenRule: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(
            name: try fields.string("name"), issuer: try fields.requiredString("issuer"),
            audiences: try fields.strings("audiences"), keys: try fields.string("keys"),
            parameters: try fields.strings("fromParams"), cookies: try fields.strings("fromCookies"),
            forwardsToken: try fields.flag("forwardOriginalToken"),
            payloadHeader: try fields.headerName("outputPayloadToHeader"))
        for header in try fields.objects("fromHeaders") {
            headers.append(
                Header(name: try header.requiredHeaderName("name"), prefix: try header.string("prefix")))
        }
        for output in try fields.objects("outputClaimToHeaders") {
            claimHeaders.append(
                ClaimHeader(
                    header: try output.requiredHeaderName("header"), claim: try output.requiredString("claim")))
        }
    }

    var json: JSON {
        var out = ResourceWriter()
        out.write("name", name)
        out.write("issuer", issuer)
        out.write("audiences", audiences)
        out.write("keys", keys)
        let places = headers.map { header -> JSON in
            var out = ResourceWriter()
            out.write("name", header.name)
            out.write("prefix", header.prefix)
            return out.json
        }
        out.write("fromHeaders", places)
        out.write("fromParams", parameters)
        out.write("fromCookies", cookies)
        out.write("forwardOriginalToken", forwardsToken)
        out.write("outputPayloadToHeader", payloadHeader)
        let outputs = claimHeaders.map { output -> JSON in
            var out = ResourceWriter()
            out.write("header", output.header)
            out.write("claim", output.claim)
            return out.json
        }
        out.write("outputClaimToHeaders", outputs)
        return out.json
    }
}

extension ResourceFields {
    /// A header's name in lower case; empty when absent.
    func headerName(_ field: String) throws(ResourceFault) -> String {
        let name = try string(field).lowercased()
        if name.isEmpty { return "" }
        if let reason = HeaderRules.fault(name: name) { throw fault(field, "\"\(name)\" \(reason)") }
        return name
    }

    func requiredHeaderName(_ field: String) throws(ResourceFault) -> String {
        let name = try headerName(field)
        if name.isEmpty { throw fault(field, "is required") }
        return name
    }

    /// Names, of which each may end in `*` for all that start so.
    func headerNames(_ field: String) throws(ResourceFault) -> [String] {
        var found: [String] = []
        for (index, name) in try strings(field).enumerated() {
            let plain = name.hasSuffix("*") ? String(name.dropLast()) + "x" : name
            if let reason = HeaderRules.fault(name: plain) {
                throw fault("\(field)[\(index)]", "\"\(name)\" \(reason)")
            }
            found.append(name.lowercased())
        }
        return found
    }

    func headerValue(_ field: String) throws(ResourceFault) -> String {
        let value = try string(field)
        if let reason = HeaderRules.fault(value: value) { throw fault(field, reason) }
        return value
    }
}
