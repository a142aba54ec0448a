/// What a route may put into a request: nothing that changes where the request ends or who it seems to come from.
package enum HeaderRules {
    /// Headers that frame a message or belong to the connection or to the mesh itself.
    private static let reserved: Set<String> = [
        "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding",
        "upgrade",
        "x-weft-peer",
    ]

    /// Why a name cannot be changed by a route, or `nil` (RFC 9110 §5.1: a token).
    package static func fault(name: String) -> String? {
        let isToken =
            !name.isEmpty
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                    UInt8(ascii: "A")...UInt8(ascii: "Z"):
                    true
                default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
                }
            }
        if !isToken { return "\"\(name)\" is not a header's name" }
        return reserved.contains(name.lowercased()) ? "\(name) cannot be changed by a route" : nil
    }

    /// Why a value cannot stand in a header, or `nil` (RFC 9110 §5.5: no control characters but the tab).
    package static func fault(value: String) -> String? {
        let isClean = value.utf8.allSatisfy { ($0 >= 0x20 && $0 != 0x7F) || $0 == 0x09 }
        return isClean ? nil : "contains a control character"
    }
}
