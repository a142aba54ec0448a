/// A semantic version (2.0.0): `1.2.3-rc.1+build`.
final class Semver: OpaqueValue {
    static let type = ValueType.named("kubernetes.Semver")

    let major: Int64
    let minor: Int64
    let patch: Int64
    private let before: [String]
    private let build: String

    /// - Parameter isLenient: also takes `v1.2`, `01.2.3`: what is missing is 0.
    init?(_ text: String, isLenient: Bool = false) {
        if text.utf8.count > 1000 { return nil }
        var rest = Substring(text)
        if isLenient {
            while rest.first == " " { rest.removeFirst() }
            while rest.last == " " { rest.removeLast() }
            if rest.first == "v" { rest.removeFirst() }
        }
        var build = ""
        if let mark = rest.firstIndex(of: "+") {
            build = String(rest[rest.index(after: mark)...])
            rest = rest[..<mark]
            if !Self.identifiers(build, allowsZeros: true) { return nil }
        }
        var before: [String] = []
        if let mark = rest.firstIndex(of: "-") {
            let text = String(rest[rest.index(after: mark)...])
            rest = rest[..<mark]
            if !Self.identifiers(text, allowsZeros: false) { return nil }
            before = text.split(separator: ".").map(String.init)
        }
        var parts = rest.split(separator: ".", omittingEmptySubsequences: false)
        if isLenient { while parts.count < 3 { parts.append("0") } }
        guard parts.count == 3 else { return nil }
        var numbers: [Int64] = []
        for part in parts {
            let isPlain = !part.isEmpty && part.utf8.allSatisfy { $0 >= 48 && $0 <= 57 }
            guard isPlain, isLenient || part == "0" || !part.hasPrefix("0"), let number = Int64(part) else {
                return nil
            }
            numbers.append(number)
        }
        (major, minor, patch) = (numbers[0], numbers[1], numbers[2])
        self.before = before
        self.build = build
    }

    private static func identifiers(_ text: String, allowsZeros: Bool) -> Bool {
        text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { part in
            let isNumber = part.utf8.allSatisfy { $0 >= 48 && $0 <= 57 }
            if part.isEmpty || (!allowsZeros && isNumber && part.hasPrefix("0") && part != "0") { return false }
            return part.utf8.allSatisfy { ($0 >= 48 && $0 <= 57) || ($0 | 32 >= 97 && $0 | 32 <= 122) || $0 == 45 }
        }
    }

    var type: ValueType { Self.type }

    func equals(_ other: any OpaqueValue) -> Bool {
        guard let other = other as? Semver else { return false }
        return compare(other) == 0
    }

    /// -1, 0 or 1; builds do not count.
    func compare(_ other: Semver) -> Int64 {
        for (one, two) in [(major, other.major), (minor, other.minor), (patch, other.patch)] where one != two {
            return one < two ? -1 : 1
        }
        if before.isEmpty || other.before.isEmpty { return before.isEmpty ? (other.before.isEmpty ? 0 : 1) : -1 }
        for (one, two) in zip(before, other.before) where one != two {
            let numbers = (one.utf8.allSatisfy { $0 < 58 && $0 > 47 }, two.utf8.allSatisfy { $0 < 58 && $0 > 47 })
            switch numbers {
            case (true, true):
                if one.utf8.count != two.utf8.count { return one.utf8.count < two.utf8.count ? -1 : 1 }
                return one.utf8.lexicographicallyPrecedes(two.utf8) ? -1 : 1
            case (true, false): return -1
            case (false, true): return 1
            case (false, false): return one.utf8.lexicographicallyPrecedes(two.utf8) ? -1 : 1
            }
        }
        return before.count == other.before.count ? 0 : before.count < other.before.count ? -1 : 1
    }
}

extension Library {
    package static let versions = Library(
        [
            Function(
                "semver",
                .global("string_to_semver", [.string], version, cost: .traversal(0)) {
                    (values) throws(EvaluationFault) -> Value in .opaque(try parsed(values[0], false))
                },
                .global("string_bool_to_semver", [.string, .bool], version, cost: .traversal(0)) {
                    (values) throws(EvaluationFault) -> Value in
                    .opaque(try parsed(values[0], values[1].bool ?? false))
                }),
            Function(
                "isSemver",
                .global("is_semver_string", [.string], .bool, cost: .traversal(0)) {
                    (values) throws(EvaluationFault) -> Value in .bool(Semver(try values[0].text()) != nil)
                },
                .global("is_semver_string_bool", [.string, .bool], .bool, cost: .traversal(0)) {
                    (values) throws(EvaluationFault) -> Value in
                    .bool(Semver(try values[0].text(), isLenient: values[1].bool ?? false) != nil)
                }),
            part("major") { $0.major }, part("minor") { $0.minor }, part("patch") { $0.patch },
            two("isGreaterThan", .bool) { .bool($0.compare($1) > 0) },
            two("isLessThan", .bool) { .bool($0.compare($1) < 0) },
            two("compareTo", .int) { .int($0.compare($1)) },
        ], types: [version])

    private static let version = Semver.type

    private static func parsed(_ value: Value, _ isLenient: Bool) throws(EvaluationFault) -> Semver {
        let text = try value.text()
        guard let made = Semver(text, isLenient: isLenient) else {
            throw .failed("'\(text.prefix(100))' is no semantic version")
        }
        return made
    }

    private static func part(_ name: String, _ body: @escaping @Sendable (Semver) -> Int64) -> Function {
        Function(
            name,
            .member("semver_\(name)", [version], .int) { (values) throws(EvaluationFault) -> Value in
                .int(body(try values[0].own(Semver.self)))
            })
    }

    private static func two(
        _ name: String, _ result: ValueType, _ body: @escaping @Sendable (Semver, Semver) -> Value
    ) -> Function {
        Function(
            name,
            .member("semver_\(name)", [version, version], result) { (values) throws(EvaluationFault) -> Value in
                body(try values[0].own(Semver.self), try values[1].own(Semver.self))
            })
    }
}
