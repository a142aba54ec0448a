import Testing

@testable import CEL

@Suite struct CostTests {
    static let costs: [(String, UInt64)] = [
        ("1 + 1 == 2", 2), ("[1, 2, 3]", 10), ("{'a': 1}", 30), ("list", 1), ("map.key", 2), ("map['key']", 2),
        ("list[3 - 3]", 3), ("has(map.key)", 2), ("[1, 2, 3].all(x, true)", 20), ("2 in [1, 2, 3]", 13),
        ("'12345678901234567890' == '123456789012345678901234567890'", 2), ("'123'.matches('[0-9]')", 2),
        ("[1, 2, 3, 4, 5].filter(x, x % 2 == 0)", 62), ("[1, 2, 3, 4, 5].map(x, x)", 86),
        ("[1, 2, 3, 4, 5].map(x, x).exists(x, x == 5) == true", 118), ("true ? 1 : 2", 0), ("true || false", 0),
        ("[1, 2, 3].all(i, i in [1, 2, 3].map(j, j + j))", 86), ("(1 > 2 ? 5 : 3) > 1", 2),
    ]

    @Test("an expression costs what it costs everywhere", arguments: costs)
    func cost(expression: String, wanted: UInt64) throws {
        var environment = Environment([.standard])
        environment.declare("list", .list(.int))
        environment.declare("map", .map(.string, .int))
        var budget = CostBudget(1000)
        let map = try #require(MapEntries([(.string("key"), .int(1))]))
        let inputs: [Value?] = [.list([.int(1)]), .map(.entries(map))]
        let program = try environment.compile(expression)
        _ = try program.evaluate(inputs, budget: &budget)
        #expect(1000 - budget.remaining == wanted)
        #expect(program.estimate.least <= wanted)
        #expect(program.estimate.most >= wanted)
    }

    @Test("evaluation ends when it has cost too much, and says whose limit it was")
    func limits() throws {
        let program = try Environment([.standard]).compile("[1, 2, 3].all(x, [1, 2, 3].all(y, x + y > 0))")
        var budget = CostBudget(1_000_000)
        #expect(throws: EvaluationFault.costLimit) { _ = try program.evaluate([], limit: 50, budget: &budget) }
        budget = CostBudget(20)
        #expect(throws: EvaluationFault.budget) { _ = try program.evaluate([], budget: &budget) }
        #expect(budget.remaining == 0)
    }

    @Test("an error of && does not hide that the limit was met")
    func notAbsorbed() throws {
        let program = try Environment([.standard]).compile("[1, 2, 3].all(x, x > 0) || true")
        var budget = CostBudget()
        #expect(throws: EvaluationFault.costLimit) { _ = try program.evaluate([], limit: 5, budget: &budget) }
    }

    @Test("a long evaluation can be interrupted")
    func interrupted() throws {
        var environment = Environment([.standard])
        environment.declare("list", .list(.int))
        let program = try environment.compile("list.all(x, x >= 0)")
        let list = Value.list((0..<1000).map { .int($0) })
        var budget = CostBudget()
        #expect(throws: EvaluationFault.interrupted) {
            _ = try program.evaluate([list], budget: &budget, isInterrupted: { true })
        }
    }
}
