extension Library {
    /// Addresses and ranges of them.
    package static let network = Library(
        [
            Function(
                "ip",
                .global("string_to_ip", [.string], address, cost: .traversal(0)) {
                    (values) throws(EvaluationFault) -> Value in .opaque(try parsedAddress(values[0]))
                },
                .member("cidr_ip", [range], address) { (values) throws(EvaluationFault) -> Value in
                    .opaque(try values[0].own(NetworkRange.self).address)
                }),
            Function(
                "isIP",
                .global("is_ip", [.string], .bool, cost: .traversal(0)) { (values) throws(EvaluationFault) -> Value in
                    .bool(NetworkAddress(try values[0].text()) != nil)
                }),
            Function(
                "ip.isCanonical",
                .global("ip_is_canonical", [.string], .bool, cost: .traversal(0, times: 2)) {
                    (values) throws(EvaluationFault) -> Value in
                    .bool(try parsedAddress(values[0]).text == values[0].text())
                }),
            Function(
                "family",
                .member("ip_family", [address], .int) { (values) throws(EvaluationFault) -> Value in
                    .int(try values[0].own(NetworkAddress.self).isFour ? 4 : 6)
                }),
            test("isUnspecified") { $0.isUnspecified },
            test("isLoopback") { $0.isLoopback },
            test("isLinkLocalMulticast") { $0.isLinkLocalMulticast },
            test("isLinkLocalUnicast") { $0.isLinkLocalUnicast },
            test("isGlobalUnicast") { $0.isGlobalUnicast },
            Function(
                "string",
                .global("ip_to_string", [address], .string) { (values) throws(EvaluationFault) -> Value in
                    .string(try values[0].own(NetworkAddress.self).text)
                },
                .global("cidr_to_string", [range], .string) { (values) throws(EvaluationFault) -> Value in
                    .string(try values[0].own(NetworkRange.self).text)
                }),
            Function(
                "cidr",
                .global("string_to_cidr", [.string], range, cost: .traversal(0)) {
                    (values) throws(EvaluationFault) -> Value in .opaque(try parsedRange(values[0]))
                }),
            Function(
                "isCIDR",
                .global("is_cidr", [.string], .bool, cost: .traversal(0)) { (values) throws(EvaluationFault) -> Value in
                    .bool(NetworkRange(try values[0].text()) != nil)
                }),
            Function(
                "masked",
                .member("cidr_masked", [range], range) { (values) throws(EvaluationFault) -> Value in
                    .opaque(try values[0].own(NetworkRange.self).masked)
                }),
            Function(
                "prefixLength",
                .member("cidr_prefix_length", [range], .int) { (values) throws(EvaluationFault) -> Value in
                    .int(Int64(try values[0].own(NetworkRange.self).length))
                }),
            Function(
                "containsIP",
                .member("cidr_contains_ip_ip", [range, address], .bool, cost: .traversal(0, times: 2)) {
                    (values) throws(EvaluationFault) -> Value in
                    .bool(try values[0].own(NetworkRange.self).contains(values[1].own(NetworkAddress.self)))
                },
                .member("cidr_contains_ip_string", [range, .string], .bool, cost: .traversal(1, times: 2)) {
                    (values) throws(EvaluationFault) -> Value in
                    .bool(try values[0].own(NetworkRange.self).contains(parsedAddress(values[1])))
                }),
            Function(
                "containsCIDR",
                .member("cidr_contains_cidr", [range, range], .bool, cost: .traversal(0, times: 3)) {
                    (values) throws(EvaluationFault) -> Value in
                    .bool(try values[0].own(NetworkRange.self).contains(values[1].own(NetworkRange.self)))
                },
                .member("cidr_contains_cidr_string", [range, .string], .bool, cost: .traversal(1, times: 3)) {
                    (values) throws(EvaluationFault) -> Value in
                    .bool(try values[0].own(NetworkRange.self).contains(parsedRange(values[1])))
                }),
        ], types: [address, range])

    private static let address = NetworkAddress.type
    private static let range = NetworkRange.type

    private static func parsedAddress(_ value: Value) throws(EvaluationFault) -> NetworkAddress {
        let text = try value.text()
        guard let made = NetworkAddress(text) else {
            throw .failed("IP Address '\(text.prefix(100))' parse error during conversion from string")
        }
        return made
    }

    private static func parsedRange(_ value: Value) throws(EvaluationFault) -> NetworkRange {
        let text = try value.text()
        guard let made = NetworkRange(text) else {
            throw .failed("network address parse error during conversion from string: '\(text.prefix(100))'")
        }
        return made
    }

    private static func test(_ name: String, _ holds: @escaping @Sendable (NetworkAddress) -> Bool) -> Function {
        Function(
            name,
            .member("ip_\(name)", [address], .bool) { (values) throws(EvaluationFault) -> Value in
                .bool(holds(try values[0].own(NetworkAddress.self)))
            })
    }
}
