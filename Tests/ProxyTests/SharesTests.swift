import Loop
import Testing

@Suite("Shares of weights")
struct SharesTests {
    @Test(
        "every hundred draws, and every second of two hundred, hold a tenth as ten, give or take two",
        arguments: [1, 2, 3, 7])
    func even(step: Int) {
        for start in stride(from: UInt32(0), to: 4_000_000_000, by: 97_000_001) {
            var shares = Shares(start: start)
            var hits = 0
            for draw in 0..<100 * step {
                let value = shares.below(100)
                #expect(value < 100)
                if draw % step == 0, value >= 90 { hits += 1 }
            }
            #expect((8...12).contains(hits), "\(hits) of 100 from \(start), every \(step)")
        }
    }
}
