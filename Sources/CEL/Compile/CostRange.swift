/// From the least to the most that something can be.
package struct CostRange: Sendable, Hashable {
    package var least: UInt64
    package var most: UInt64

    static let one = CostRange(least: 1, most: 1)
    static let none = CostRange(least: 0, most: 0)
    static let unknown = CostRange(least: 0, most: .max)

    /// - Parameter plus: added before.
    func scaled(by factor: Double, plus: Double = 0) -> CostRange {
        func scaled(_ number: UInt64) -> UInt64 {
            let product = ((Double(number) + plus) * factor).rounded(.up)
            return product >= 0x1p64 ? .max : UInt64(product)
        }
        return CostRange(least: scaled(least), most: scaled(most))
    }

    func union(_ other: Self) -> Self {
        CostRange(least: Swift.min(least, other.least), most: Swift.max(most, other.most))
    }

    static func + (one: Self, other: Self) -> Self {
        CostRange(least: one.least.added(other.least), most: one.most.added(other.most))
    }

    static func * (one: Self, other: Self) -> Self {
        CostRange(least: one.least.times(other.least), most: one.most.times(other.most))
    }
}

extension UInt64 {
    func added(_ other: UInt64) -> UInt64 {
        let (sum, isOver) = addingReportingOverflow(other)
        return isOver ? .max : sum
    }

    func times(_ other: UInt64) -> UInt64 {
        let (product, isOver) = multipliedReportingOverflow(by: other)
        return isOver ? .max : product
    }
}
