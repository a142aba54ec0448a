/// A count for each response flag.
struct FlagCounts: Sendable {
    private static let room = 64
    private var counts: InlineArray<64, UInt64> = .init(repeating: 0)

    @inline(__always)
    mutating func add(_ flag: ResponseFlag) {
        let place = Int(flag.rawValue)
        if place < Self.room { counts[place] &+= 1 }
    }

    /// Those that are not 0.
    var found: [(flag: ResponseFlag, count: UInt64)] {
        ResponseFlag.allCases.compactMap { flag in
            let place = Int(flag.rawValue)
            return place < Self.room && counts[place] > 0 ? (flag, counts[place]) : nil
        }
    }
}
