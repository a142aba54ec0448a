/// The machine with all its states made beforehand, where they are few: one look-up for each byte of text.
struct PatternTable {
    /// Entries; each two bytes.
    private static let limit = 16384
    private static let mostSteps = 500

    var classes: [UInt8] = []  // of each byte
    var classCount = 0
    /// `state * classCount + class` gives the next state; state 0 is the one from which nothing matches.
    var next: [UInt16] = []
    /// Whether the text may end in a state.
    var accepts: [Bool] = []

    /// `nil` when there would be too many states, or when steps look at the bytes around them.
    init?(_ program: PatternProgram) {
        let steps = program.steps
        if steps.count > Self.mostSteps { return nil }
        for step in steps where step.kind == .assertion && step.argument > PatternAssertion.textEnd.rawValue {
            return nil
        }
        findClasses(program.sets)
        let members = representatives()
        var places: [[UInt16]: UInt16] = [[]: 0]
        var states: [[UInt16]] = [[]]
        next = [UInt16](repeating: 0, count: classCount)
        accepts = [false]
        func place(_ state: [UInt16]) -> UInt16? {
            if let known = places[state] { return known }
            let made = UInt16(states.count)
            if (states.count + 1) * classCount > Self.limit { return nil }
            places[state] = made
            states.append(state)
            return made
        }
        let first = Self.closure(of: [0], steps, atStart: true)
        guard place(first) == 1 else { return nil }  // an expression always has a state to begin with
        var done = 1
        while done < states.count {
            let state = states[done]
            accepts.append(Self.closure(of: state, steps, atEnd: true).contains { steps[Int($0)].kind == .match })
            for member in members {
                var reached: [UInt16] = []
                for step in state where steps[Int(step)].kind == .bytes {
                    if program.sets[Int(steps[Int(step)].argument)].contains(member) {
                        reached.append(steps[Int(step)].next)
                    }
                }
                guard let target = place(Self.closure(of: reached, steps)) else { return nil }
                next.append(target)
            }
            done += 1
        }
    }

    /// Bytes no set tells apart form a class.
    private mutating func findClasses(_ sets: [ByteSet]) {
        var places: [[Bool]: UInt8] = [:]
        for byte in UInt8.min...UInt8.max {
            let key = sets.map { $0.contains(byte) }
            let place = places[key] ?? UInt8(truncatingIfNeeded: places.count)
            places[key] = place
            classes.append(place)
        }
        classCount = places.count
    }

    private func representatives() -> [UInt8] {
        (0..<classCount).map { number in UInt8(classes.firstIndex(of: UInt8(number)) ?? 0) }
    }

    /// The steps reached without taking a byte: those that take one, the match, and ends of text not yet known to be ends.
    private static func closure(
        of entries: [UInt16], _ steps: [PatternStep], atStart: Bool = false, atEnd: Bool = false
    ) -> [UInt16] {
        var seen: Set<UInt16> = []
        var waiting = entries
        var found: [UInt16] = []
        while let place = waiting.popLast() {
            if !seen.insert(place).inserted { continue }
            let step = steps[Int(place)]
            switch step.kind {
            case .bytes, .match: found.append(place)
            case .save: waiting.append(step.next)
            case .split:
                waiting.append(step.next)
                waiting.append(step.other)
            case .assertion:
                if step.argument == PatternAssertion.textStart.rawValue {
                    if atStart { waiting.append(step.next) }
                } else if atEnd {
                    waiting.append(step.next)
                } else {
                    found.append(place)
                }
            }
        }
        return found.sorted()
    }
}
