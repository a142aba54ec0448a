import Wire

extension ExternalAuthorizer {
    /// Bytes of a body that can be shown.
    package static let mostBody = 65536

    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(
            name: try fields.requiredString("name"), form: try fields.word("form", or: .http),
            backend: try fields.requiredString("backend"), authority: try fields.string("authority"),
            timeoutMilliseconds: try fields.integer("timeoutMilliseconds", in: 1...600_000) ?? 600,
            pathPrefix: try fields.string("pathPrefix"), failsOpen: try fields.flag("failOpen"),
            statusOnError: try fields.integer("statusOnError", in: 200...599) ?? 403,
            shownHeaders: try fields.headerNames("includeRequestHeadersInCheck"),
            shownBody: try fields.integer("maxRequestBytes", in: 0...Self.mostBody) ?? 0,
            allowsPartialBody: try fields.flag("allowPartialMessage"),
            packsBodyAsBytes: try fields.flag("packAsBytes"),
            includesCertificate: try fields.flag("includePeerCertificate"),
            headersOnAllow: try fields.headerNames("headersToUpstreamOnAllow"),
            headersOnDeny: try fields.headerNames("headersToDownstreamOnDeny"))
        for header in try fields.objects("includeAdditionalHeadersInCheck") {
            addedHeaders.append(
                HeaderValue(name: try header.requiredHeaderName("name"), value: try header.headerValue("value")))
        }
        for (name, value) in try fields.stringMap("contextExtensions").sorted(by: { $0.key < $1.key }) {
            contextExtensions.append(HeaderValue(name: name, value: value))
        }
        if !pathPrefix.isEmpty, !pathPrefix.hasPrefix("/") { throw fields.fault("pathPrefix", "must start with /") }
        if !authority.isEmpty, let reason = HeaderRules.fault(host: authority) {
            throw fields.fault("authority", reason)
        }
        try checkForm(fields)
    }

    /// What only one of the forms has is a mistake in the other.
    private func checkForm(_ fields: ResourceFields) throws(ResourceFault) {
        let strangers =
            form == .grpc
            ? [
                ("pathPrefix", !pathPrefix.isEmpty), ("headersToUpstreamOnAllow", !headersOnAllow.isEmpty),
                ("headersToDownstreamOnDeny", !headersOnDeny.isEmpty),
            ]
            : [("contextExtensions", !contextExtensions.isEmpty), ("includePeerCertificate", includesCertificate)]
        for (field, isGiven) in strangers where isGiven {
            throw fields.fault(field, "has no meaning with the form \(form.rawValue)")
        }
    }

    var json: JSON {
        var out = ResourceWriter()
        out.write("name", name)
        out.write("form", form.rawValue)
        out.write("backend", backend)
        out.write("authority", authority)
        out.write("timeoutMilliseconds", timeoutMilliseconds)
        out.write("pathPrefix", pathPrefix)
        out.write("failOpen", failsOpen)
        out.write("statusOnError", statusOnError)
        out.write("includeRequestHeadersInCheck", shownHeaders)
        let added = addedHeaders.map { header -> JSON in
            var out = ResourceWriter()
            out.write("name", header.name)
            out.write("value", header.value)
            return out.json
        }
        out.write("includeAdditionalHeadersInCheck", added)
        out.write("maxRequestBytes", shownBody == 0 ? nil : shownBody)
        out.write("allowPartialMessage", allowsPartialBody)
        out.write("packAsBytes", packsBodyAsBytes)
        out.write("includePeerCertificate", includesCertificate)
        if !contextExtensions.isEmpty {
            var members = JSONObject()
            for member in contextExtensions { members[member.name] = .string(member.value) }
            out.write("contextExtensions", .object(members))
        }
        out.write("headersToUpstreamOnAllow", headersOnAllow)
        out.write("headersToDownstreamOnDeny", headersOnDeny)
        return out.json
    }
}
