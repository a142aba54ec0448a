import Wire

extension KeyPair: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(
            certificateChain: try fields.requiredString("certificateChain"),
            privateKey: try fields.requiredString("privateKey"))
    }

    var json: JSON {
        var out = ResourceWriter()
        out.write("certificateChain", certificateChain)
        out.write("privateKey", privateKey)
        return out.json
    }
}

extension TLSServer: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        let certificates: [KeyPair] = try fields.parts("certificates")
        if certificates.isEmpty { throw fields.fault("certificates", "is required") }
        let protocols = try fields.strings("protocols")
        self.init(
            hosts: try fields.serverNames("hosts"), certificates: certificates,
            clientCertificates: try fields.word("clientCertificates", or: .none),
            clientRoots: try fields.string("clientRoots"), clientNames: try fields.strings("clientNames"),
            minimumVersion: try fields.word("minimumVersion", or: .v12),
            maximumVersion: try fields.word("maximumVersion", or: .v13),
            protocols: protocols.isEmpty ? Self.usualProtocols : protocols)
        backends = try fields.parts("backends")
        if minimumVersion > maximumVersion {
            throw fields.fault("minimumVersion", "is above maximumVersion")
        }
        if clientCertificates != .none, clientRoots.isEmpty {
            throw fields.fault("clientRoots", "is required to check clients' certificates")
        }
        for (index, name) in self.protocols.enumerated() where !Self.usualProtocols.contains(name) {
            throw fields.fault("protocols[\(index)]", "has the unknown value \"\(name)\"")
        }
    }

    var json: JSON {
        var out = ResourceWriter()
        out.write("hosts", hosts)
        out.write("certificates", certificates)
        out.write("clientCertificates", clientCertificates, unless: .none)
        out.write("clientRoots", clientRoots)
        out.write("clientNames", clientNames)
        out.write("minimumVersion", minimumVersion, unless: .v12)
        out.write("maximumVersion", maximumVersion, unless: .v13)
        out.write("protocols", protocols == Self.usualProtocols ? [] : protocols)
        out.write("backends", backends)
        return out.json
    }
}

extension TLSRoute: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(
            name: try fields.string("name"), hosts: try fields.serverNames("hosts"),
            backends: try fields.parts("backends"), source: try SourceMatch(of: fields))
    }

    var json: JSON {
        var out = ResourceWriter()
        out.write("name", name)
        out.write("hosts", hosts)
        out.write("backends", backends)
        if !source.isAnyone { out.write("source", source.json) }
        return out.json
    }
}

extension BackendTLS: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(
            serverName: try fields.string("serverName"), names: try fields.strings("names"),
            roots: try fields.string("roots"), skipsVerification: try fields.flag("skipsVerification"),
            minimumVersion: try fields.word("minimumVersion", or: .v12))
        certificate = try fields.part("certificate")
        if serverName.isEmpty, names.isEmpty, !skipsVerification {
            throw fields.fault("serverName", "is required: without it and names, whose certificate would be right?")
        }
    }

    var json: JSON {
        var out = ResourceWriter()
        out.write("serverName", serverName)
        out.write("names", names)
        out.write("roots", roots)
        out.write("skipsVerification", skipsVerification)
        out.write("certificate", certificate)
        out.write("minimumVersion", minimumVersion, unless: .v12)
        return out.json
    }
}

extension ProxyProtocolPeers: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(trusted: try fields.strings("trusted"))
        if trusted.isEmpty { throw fields.fault("trusted", "is required: a header from anybody could say anything") }
        for (index, block) in trusted.enumerated() where AddressBlock(block) == nil {
            throw fields.fault("trusted[\(index)]", "\"\(block)\" is not an address or a block such as 10.0.0.0/8")
        }
    }

    var json: JSON {
        var out = ResourceWriter()
        out.write("trusted", trusted)
        return out.json
    }
}

extension ResourceFields {
    /// `shop.example.com`, `*.example.com` or `*`, in lower case.
    func serverNames(_ field: String) throws(ResourceFault) -> [String] {
        var found: [String] = []
        for (index, text) in try strings(field).enumerated() {
            let name = text.lowercased()
            let rest = name.hasPrefix("*.") ? name.dropFirst(2) : name[...]
            let isName = name == "*" || (!rest.isEmpty && rest.utf8.allSatisfy { $0 > 32 && $0 < 127 && $0 != 42 })
            if !isName { throw fault("\(field)[\(index)]", "\"\(text)\" is not a host name, *.name or *") }
            found.append(name)
        }
        if found.isEmpty { throw fault(field, "is required") }
        return found
    }
}
