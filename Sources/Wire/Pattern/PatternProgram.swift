/// One step of the machine an expression becomes.
struct PatternStep {
    enum Kind: UInt8 { case bytes, split, save, assertion, match }
    var kind: Kind
    /// A set, a slot, or an assertion.
    var argument: UInt16
    var next: UInt16
    /// Of a split, tried after `next`.
    var other: UInt16
}

/// Turns the tree into steps (Thompson): one step for each byte of the expression, or a few.
struct PatternProgram {
    /// Bounds both memory and the time for one byte of text.
    static let limit = 2000
    /// Groups beyond the ninth cannot be named, so they are not followed.
    static let slots = 20

    private(set) var steps: [PatternStep] = []
    private(set) var sets: [ByteSet] = []
    private var setPlaces: [ByteSet: Int] = [:]

    init(_ node: PatternNode) throws(PatternFault) {
        try add(.save, argument: 0)
        try emit(node)
        try add(.save, argument: 1)
        try add(.match)
    }

    /// Adds a step that leads to the one after it; gives its place.
    @discardableResult
    private mutating func add(_ kind: PatternStep.Kind, argument: Int = 0) throws(PatternFault) -> Int {
        if steps.count >= Self.limit {
            throw PatternFault(position: 0, message: "the expression is too large: more than \(Self.limit) steps")
        }
        let place = steps.count
        steps.append(
            PatternStep(kind: kind, argument: UInt16(argument), next: UInt16(place + 1), other: UInt16(place + 1)))
        return place
    }

    private mutating func emit(_ node: PatternNode) throws(PatternFault) {
        switch node {
        case .empty: break
        case .bytes(let set):
            let known = setPlaces[set] ?? sets.count
            if known == sets.count {
                sets.append(set)
                setPlaces[set] = known
            }
            try add(.bytes, argument: known)
        case .sequence(let parts): for part in parts { try emit(part) }
        case .choice(let branches): try emit(branches)
        case .group(let number, let inside):
            if number * 2 + 1 < Self.slots { try add(.save, argument: number * 2) }
            try emit(inside)
            if number * 2 + 1 < Self.slots { try add(.save, argument: number * 2 + 1) }
        case .assertion(let assertion): try add(.assertion, argument: Int(assertion.rawValue))
        case .repeated(let inside, let least, let most, let isGreedy):
            try emit(inside, least, most, isGreedy)
        }
    }

    private mutating func emit(_ branches: [PatternNode]) throws(PatternFault) {
        var jumps: [Int] = []
        for (index, branch) in branches.enumerated() {
            let isLast = index == branches.count - 1
            let split = isLast ? -1 : try add(.split)
            try emit(branch)
            if isLast { break }
            jumps.append(try add(.split))
            steps[split].other = UInt16(steps.count)
        }
        for jump in jumps {
            steps[jump].next = UInt16(steps.count)
            steps[jump].other = UInt16(steps.count)
        }
    }

    private mutating func emit(_ inside: PatternNode, _ least: Int, _ most: Int?, _ isGreedy: Bool)
        throws(PatternFault)
    {
        let start = steps.count
        for _ in 0..<least {
            try emit(inside)
            if steps.count == start { return }  // nothing, however often
        }
        guard let most else {
            let split = try add(.split)
            try emit(inside)
            let back = try add(.split)
            steps[back].next = UInt16(split)
            steps[back].other = UInt16(split)
            leave(split, isGreedy)
            return
        }
        var splits: [Int] = []
        for _ in least..<most {
            splits.append(try add(.split))
            try emit(inside)
        }
        for split in splits { leave(split, isGreedy) }
    }

    /// Lets a split go on behind what has been emitted since.
    private mutating func leave(_ split: Int, _ isGreedy: Bool) {
        let end = UInt16(steps.count)
        if isGreedy {
            steps[split].other = end
        } else {
            steps[split].other = steps[split].next
            steps[split].next = end
        }
    }
}
