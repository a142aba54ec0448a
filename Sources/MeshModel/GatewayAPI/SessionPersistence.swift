import ProxyResources

extension SessionPolicy {
    static let usualName = "weft-session"

    /// `sessionPersistence` of a Gateway API route rule or policy; `nil` when it cannot be carried out, which is reported.
    init?(persistence fields: PolicyFields, _ findings: inout [PolicyFinding]) {
        fields.reportOthers(
            than: ["sessionName", "type", "absoluteTimeout", "cookieConfig"], as: "it has no effect", to: &findings)
        let name = fields.string("sessionName") ?? Self.usualName
        guard HeaderRules.isToken(name), name.utf8.count <= 128 else {
            findings.append(
                fields.finding("sessionName", .invalid, "\"\(name)\" is not the name of a cookie or header"))
            return nil
        }
        switch fields.string("type") ?? "Cookie" {
        case "Header": self.init(.header, name: name)
        case "Cookie":
            let isPermanent = fields.inside("cookieConfig")?.string("lifetimeType") == "Permanent"
            let timeout = fields.duration("absoluteTimeout", &findings)
            if isPermanent && timeout == nil {
                findings.append(fields.finding("absoluteTimeout", .invalid, "is required for a permanent cookie"))
            }
            self.init(name: name, seconds: isPermanent ? ((timeout ?? 0) + 999) / 1000 : 0)
        case let other:
            findings.append(fields.finding("type", .unsupported, "\(other) is not supported: sessions are not kept"))
            return nil
        }
    }
}
