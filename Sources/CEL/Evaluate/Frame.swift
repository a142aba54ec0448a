/// What one evaluation has: its inputs, the macros' variables, and what it has cost.
struct Frame {
    let inputs: [Value?]
    var locals: [Value]
    private(set) var cost: UInt64 = 0
    private let limit: UInt64
    private let overrun: EvaluationFault
    private var turns = 0
    private var kept = 0
    /// Bytes that the functions of one evaluation may make.
    private static let mostKept = 64 << 20
    private let isInterrupted: (@Sendable () -> Bool)?

    /// Turns of macros between two looks at whether to stop.
    private static let turnsBetweenLooks = 100

    init(
        _ inputs: [Value?], locals: Int, limit: UInt64, overrun: EvaluationFault, isInterrupted: (@Sendable () -> Bool)?
    ) {
        self.inputs = inputs
        self.locals = locals == 0 ? [] : Array(repeating: .null, count: locals)
        self.limit = limit
        self.overrun = overrun
        self.isInterrupted = isInterrupted
    }

    mutating func charge(_ amount: UInt64) throws(EvaluationFault) {
        let (sum, isOver) = cost.addingReportingOverflow(amount)
        cost = isOver ? .max : sum
        if cost > limit { throw overrun }
    }

    /// Counts what a function has made, since some make more than their cost says.
    mutating func keep(_ made: Value) throws(EvaluationFault) {
        switch made {
        case .string(let text): kept += text.utf8.count
        case .bytes(let bytes): kept += bytes.count
        case .list(.array(let values)): kept += values.count * MemoryLayout<Value>.stride
        default: return
        }
        if kept > Self.mostKept { throw .costLimit }
    }

    mutating func turn() throws(EvaluationFault) {
        turns += 1
        if turns % Self.turnsBetweenLooks == 0, let isInterrupted, isInterrupted() { throw .interrupted }
    }
}

/// A part of a program: makes a value from those of its own parts.
protocol Step: Sendable {
    func value(_ frame: inout Frame) throws(EvaluationFault) -> Value
}
