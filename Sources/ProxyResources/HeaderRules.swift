/// What a route may put into a request: nothing that changes where the request ends or who it seems to come from.
package enum HeaderRules {
    /// Headers that frame a message or belong to the connection or to the mesh itself.
    private static let reserved: Set<String> = [
        "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding",
        "upgrade",
        "x-weft-peer", "x-weft-attempt", "x-weft-retry-depth", "x-request-deadline",
    ]

    /// Why a name cannot be changed by a route, or `nil` (RFC 9110 §5.1: a token).
    package static func fault(name: String) -> String? {
        if !isToken(name) { return "\"\(name)\" is not a header's name" }
        return reserved.contains(name.lowercased()) ? "\(name) cannot be changed by a route" : nil
    }

    /// Why a value cannot stand in a header, or `nil` (RFC 9110 §5.5: no control characters but the tab).
    package static func fault(value: String) -> String? {
        let isClean = value.utf8.allSatisfy { ($0 >= 0x20 && $0 != 0x7F) || $0 == 0x09 }
        return isClean ? nil : "contains a control character"
    }

    package static func isToken(_ name: String) -> Bool {
        !name.isEmpty
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                    UInt8(ascii: "A")...UInt8(ascii: "Z"):
                    true
                default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
                }
            }
    }

    /// Why a text cannot become part of a path, or `nil`: a path has no space, control character, `?` or `#`.
    package static func fault(path: String) -> String? {
        let isClean = path.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x3F && $0 != 0x23 }
        if !isClean { return "\"\(path)\" cannot be part of a path" }
        return path.utf8.count > 1024 ? "is longer than 1024 bytes" : nil
    }

    /// Why a text cannot be a host, with or without a port, or `nil`.
    package static func fault(host: String) -> String? {
        let isClean = host.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && !"/@?#,\\".utf8.contains($0) }
        if host.isEmpty || !isClean { return "\"\(host)\" is not a host" }
        return host.utf8.count > 256 ? "is longer than 256 bytes" : nil
    }
}
