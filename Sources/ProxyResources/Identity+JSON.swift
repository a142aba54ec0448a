package import Wire

extension Identity {
    package init(json: JSON) throws(ResourceFault) {
        try self.init(try ResourceFields(json, of: "Identity self"))
    }

    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(
            certificateChain: try fields.requiredString("certificateChain"),
            privateKey: try fields.requiredString("privateKey"), trustRoots: try fields.requiredString("trustRoots"),
            expires: Int64(try fields.requiredInteger("expires", in: 0...Int.max)))
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("certificateChain", certificateChain)
        out.write("privateKey", privateKey)
        out.write("trustRoots", trustRoots)
        out.write("expires", .int(expires))
        return out.json
    }
}
