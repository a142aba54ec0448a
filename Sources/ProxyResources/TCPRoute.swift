internal import Wire

/// Connections that go on as they are, whatever they carry.
package struct TCPRoute: Sendable, Hashable {
    package var name: String  // `VirtualService demo/shop tcp route 0`
    package var backends: [WeightedBackend]
    /// Whose connections it takes: of all proxies that are told of it. Addresses are not looked at.
    package var source: SourceMatch

    package init(name: String = "", backends: [WeightedBackend], source: SourceMatch = SourceMatch()) {
        self.name = name
        self.backends = backends
        self.source = source
    }

    /// The same as a rule that takes all there is.
    package var rule: RouteRule { RouteRule(name: name, backends: backends) }
}

extension TCPRoute: ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(
            name: try fields.string("name"), backends: try fields.parts("backends"),
            source: try SourceMatch(of: fields))
    }

    var json: JSON {
        var out = ResourceWriter()
        out.write("name", name)
        out.write("backends", backends)
        if !source.isAnyone { out.write("source", source.json) }
        return out.json
    }
}

extension SourceMatch {
    /// The field `source`; anyone when it is absent.
    init(of fields: ResourceFields) throws(ResourceFault) {
        self.init()
        if let inside = try fields.object("source") { self = try SourceMatch(inside) }
    }
}
