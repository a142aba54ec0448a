import Testing

@testable import CEL

@Suite struct HostileTests {
    private static let seeds = [
        "self.items.all(x, x.name.matches('^[a-z]+$') && size(x.name) < 10)", "a ? b : c", "[1, ?optional.of(2)]",
        "{'a': 1u, ?'b': optional.none()}.a", "cel.bind(x, 1 + 2, x * x)", "'%s %d'.format([1, 2])", "b'\\x00' + b\"\"",
        "timestamp('2020-01-01T00:00:00Z').getHours('Europe/Berlin') - 1", "quantity('1.5Gi').add(quantity('1'))",
        "cidr('10.0.0.0/8').containsIP(ip('10.1.2.3'))", "-9223372036854775808 / -1", "x.?y[?0].orValue('''z''')",
        "semver('1.2.3-a.1').isLessThan(semver('2.0.0'))", "url('https://a:1/b?c=d').getQuery()", "1.5e300 * 1e300",
    ]

    /// Repeatable: the same texts on each run.
    private struct Dice: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (state >> 33) | (state << 31)
        }
    }

    private func run(_ text: String) {
        var environment = Environment.kubernetes
        for name in ["self", "a", "b", "c", "x"] { environment.declare(name, .dyn) }
        guard let program = try? environment.compile(text) else { return }
        var budget = CostBudget(100_000)
        _ = try? program.evaluate([.list([.int(1)]), .bool(true), .int(2), .string("c"), .null], budget: &budget)
    }

    @Test("random bytes and changed expressions never crash")
    func fuzz() {
        var dice = Dice(state: 42)
        for turn in 0..<3000 {
            var bytes = Array(Self.seeds[turn % Self.seeds.count].utf8)
            for _ in 0..<Int.random(in: 1...6, using: &dice) {
                let place = Int.random(in: 0..<max(1, bytes.count), using: &dice)
                switch Int.random(in: 0..<4, using: &dice) {
                case 0: bytes.insert(UInt8.random(in: 0...255, using: &dice), at: min(place, bytes.count))
                case 1: if place < bytes.count { bytes.remove(at: place) }
                case 2: if place < bytes.count { bytes[place] = UInt8.random(in: 32...126, using: &dice) }
                default:
                    let other = Array(Self.seeds[Int.random(in: 0..<Self.seeds.count, using: &dice)].utf8)
                    bytes.replaceSubrange(place..<bytes.count, with: other[min(place, other.count)...])
                }
            }
            run(String(decoding: bytes, as: UTF8.self))
        }
    }

    static let deep: [(String, String)] = [
        ("(", "1"), ("[", "1"), ("{1:", "1"), ("-(", "1"), ("!(", "true"), ("f(", "1"), ("true ? 1 : ", "2"),
        ("1 + ", "1"), ("a.b(", "1"), ("[1].map(x, ", "x"),
    ]

    @Test("what is nested without end is refused, not followed", arguments: deep)
    func nesting(piece: String, end: String) {
        let text = String(repeating: piece, count: 6000) + end
        #expect(throws: CompilationFault.self) { _ = try Environment([.standard]).compile(text) }
    }

    @Test("paths and chains without end are refused", arguments: [".a", "[0]", " + 1", " == 1", ".f()"])
    func chains(piece: String) {
        let text = "a" + String(repeating: piece, count: 6000)
        #expect(throws: CompilationFault.self) { _ = try Environment([.standard]).compile(text) }
    }

    @Test("a long chain of && is one step, and nesting up to the limit works")
    func fine() throws {
        let chain = Array(repeating: "true", count: 5000).joined(separator: " && ")
        #expect(try Environment([.standard]).compile(chain).evaluate().bool == true)
        let nested = String(repeating: "(", count: 200) + "1" + String(repeating: ")", count: 200)
        #expect(try Environment([.standard]).compile(nested).evaluate().int == 1)
    }
}
