import Loop
import Testing

@testable import Proxy

@Suite struct HTTP2PieceTests {
    @Test("a stream map finds what was put in, whatever was taken out, as a dictionary does")
    func map() {
        var map = StreamMap()
        var model: [UInt32: Int32] = [:]
        var chance = Chance(seed: 11)
        for round in 0..<20_000 {
            let id = chance.below(400) * 2 + 1
            if chance.below(3) > 0 {
                map.insert(id, Int32(round))
                model[id] = Int32(round)
            } else {
                map.remove(id)
                model[id] = nil
            }
            let other = chance.below(400) * 2 + 1
            if map.find(other) != model[other] ?? -1 { Issue.record("round \(round): \(other)") }
        }
        #expect(map.count == model.count)
        var seen = 0
        map.forEach { id, value in if model[id] == value { seen += 1 } }
        #expect(seen == model.count)
    }

    @Test("a budget lets a burst pass and then so many a second; what goes well earns more")
    func flood() {
        var budget = FloodBudget(now: 0)
        var passed = 0
        for _ in 0..<1000 where budget.spend(.reset, now: 1) { passed += 1 }
        #expect(passed == 200)
        var later = 0
        for _ in 0..<1000 where budget.spend(.reset, now: 3 * Limits.second) { later += 1 }
        #expect(later == 150)
        for _ in 0..<7 { budget.earnReset() }
        var earned = 0
        for _ in 0..<100 where budget.spend(.reset, now: 3 * Limits.second) { earned += 1 }
        #expect(earned == 7)
        let isOther = budget.spend(.ping, now: 3 * Limits.second)
        #expect(isOther, "one kind's flood is not another's")
    }

    @Test("a window grows to 2^31-1 and not beyond")
    func windows() {
        #expect(widened(65535, by: 1) == 65536)
        #expect(widened(0x7FFF_FFFE, by: 1) == 0x7FFF_FFFF)
        #expect(widened(0x7FFF_FFFF, by: 1) == nil)
        #expect(widened(-100, by: 0x7FFF_FFFF) == 0x7FFF_FFFF - 100)
    }

    @Test("each fault has a word of its own")
    func words() {
        #expect(Set(MessageFault.allCases.map { "\($0.word)" }).count == MessageFault.allCases.count)
        #expect(Set(SessionFault.allCases.map { "\($0.word)" }).count == SessionFault.allCases.count)
        #expect(SessionFault.allCases.count <= LoopCounts().sessionFaults.count)
    }
}
