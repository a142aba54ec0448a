package import KubeTypes

extension Timestamp {
    /// The runtime tells time as nanoseconds since 1970.
    package init(unixNanoseconds: Int64) {
        let rest = unixNanoseconds % 1_000_000_000
        let isBefore = rest < 0
        self.init(
            seconds: unixNanoseconds / 1_000_000_000 - (isBefore ? 1 : 0),
            nanoseconds: Int32(isBefore ? rest + 1_000_000_000 : rest))
    }

    /// Bounded by the years 1677 and 2262, beyond which there is no such number.
    package var unixNanoseconds: Int64 {
        let most = Int64.max / 1_000_000_000 - 1
        return min(max(seconds, -most), most) * 1_000_000_000 + Int64(nanoseconds)
    }
}
