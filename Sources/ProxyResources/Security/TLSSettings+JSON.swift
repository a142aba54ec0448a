import Wire

extension KeyPair {
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

extension TLSServer {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        var certificates: [KeyPair] = []
        for pair in try fields.objects("certificates") { certificates.append(try KeyPair(pair)) }
        if certificates.isEmpty { throw fields.fault("certificates", "is required") }
        let protocols = try fields.strings("protocols")
        self.init(
            hosts: try fields.serverNames("hosts"), certificates: certificates,
            clientCertificates: try fields.word("clientCertificates", or: .none),
            clientRoots: try fields.string("clientRoots"), clientNames: try fields.strings("clientNames"),
            minimumVersion: try fields.word("minimumVersion", or: .v12),
            maximumVersion: try fields.word("maximumVersion", or: .v13),
            protocols: protocols.isEmpty ? Self.usualProtocols : protocols)
        backends = try WeightedBackend.list(fields, "backends")
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
        out.write("certificates", certificates.map(\.json))
        out.write("clientCertificates", clientCertificates == .none ? "" : clientCertificates.rawValue)
        out.write("clientRoots", clientRoots)
        out.write("clientNames", clientNames)
        out.write("minimumVersion", minimumVersion == .v12 ? "" : minimumVersion.rawValue)
        out.write("maximumVersion", maximumVersion == .v13 ? "" : maximumVersion.rawValue)
        out.write("protocols", protocols == Self.usualProtocols ? [] : protocols)
        out.write("backends", backends.map(\.json))
        return out.json
    }
}

extension TLSRoute {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(
            name: try fields.string("name"), hosts: try fields.serverNames("hosts"),
            backends: try WeightedBackend.list(fields, "backends"), source: try SourceMatch(of: fields))
    }

    var json: JSON {
        var out = ResourceWriter()
        out.write("name", name)
        out.write("hosts", hosts)
        out.write("backends", backends.map(\.json))
        if !source.isAnyone { out.write("source", source.json) }
        return out.json
    }
}

extension BackendTLS {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(
            serverName: try fields.string("serverName"), names: try fields.strings("names"),
            roots: try fields.string("roots"), skipsVerification: try fields.flag("skipsVerification"),
            minimumVersion: try fields.word("minimumVersion", or: .v12))
        if let pair = try fields.object("certificate") { certificate = try KeyPair(pair) }
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
        if let certificate { out.write("certificate", certificate.json) }
        out.write("minimumVersion", minimumVersion == .v12 ? "" : minimumVersion.rawValue)
        return out.json
    }
}

extension ProxyProtocolPeers {
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
