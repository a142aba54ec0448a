import Wire

/// A text is refused, or written the same however often it is read; a scan of the bytes finds what the tree has.
enum JSONTarget {
    static func run(_ input: Input) {
        let bytes = Array(input)
        var duplicates: [String] = []
        guard let value = try? JSON(parsing: bytes, duplicates: &duplicates) else { return }
        check(value)
        guard duplicates.isEmpty, let object = value.object else { return }
        for member in object {
            guard let found = JSONScan.value(at: [member.key], in: bytes) else {
                preconditionFailure("a member that a scan does not find")
            }
            precondition(found.bytes == member.value.bytes, "a member that a scan sees otherwise")
        }
    }

    /// What is written is read as the same value.
    static func check(_ value: JSON) {
        let written = value.bytes
        guard let again = try? JSON(parsing: written) else { preconditionFailure("our own text is refused") }
        // 1.0 is written as 1.
        precondition(again.bytes == written, "a value has changed on the way")
        guard let pretty = try? JSON(parsing: value.pretty()) else { preconditionFailure("our pretty text is refused") }
        precondition(pretty == again, "a value has changed in its pretty form")
    }
}
