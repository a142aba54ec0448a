package import Wire

extension TextMatch {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(
            try fields.word("kind", or: .exact), try fields.string("value"), ignoresCase: try fields.flag("ignoreCase"))
        if kind == .regex { try fields.checkPattern("value", value) }
    }

    package var json: JSON {
        var out = ResourceWriter()
        write(to: &out)
        return out.json
    }

    func write(to out: inout ResourceWriter) {
        out.write("kind", kind.rawValue)
        out.write("value", value)
        out.write("ignoreCase", ignoresCase)
    }
}

extension QueryMatch {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(name: try fields.requiredString("name"), try TextMatch(fields))
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("name", name)
        text.write(to: &out)
        return out.json
    }
}

extension SourceMatch {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        let namespace = try fields.string("namespace")
        self.init(
            namespace: namespace.isEmpty ? nil : namespace, labels: try fields.stringMap("labels"),
            addresses: try fields.strings("addresses"))
        for (index, text) in addresses.enumerated() where AddressRange(text) == nil {
            throw fields.fault("addresses[\(index)]", "\"\(text)\" is not an IPv4 address or range (10.0.0.0/8)")
        }
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("namespace", namespace ?? "")
        out.write("labels", labels)
        out.write("addresses", addresses)
        return out.json
    }
}

extension ResourceFields {
    /// Refuses an expression the proxy could not compile.
    func checkPattern(_ field: String, _ text: String) throws(ResourceFault) {
        do throws(PatternFault) { _ = try Pattern(text) } catch { throw fault(field, error.description) }
    }

    /// A host's name; `nil` when absent.
    func host(_ field: String) throws(ResourceFault) -> String? {
        let text = try string(field)
        if text.isEmpty { return nil }
        if let fault = HeaderRules.fault(host: text) { throw self.fault(field, fault) }
        return text
    }
}
