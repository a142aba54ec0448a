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

    package var unixNanoseconds: Int64 { seconds * 1_000_000_000 + Int64(nanoseconds) }
}
