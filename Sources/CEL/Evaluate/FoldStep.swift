/// A macro that goes through a list or map. It costs what its expansion into a loop with an accumulator would.
struct FoldStep: Step {
    let kind: SyntaxTree.Fold.Kind
    let range: any Step
    let places: [Int]
    let condition: (any Step)?
    let transform: (any Step)?
    /// Of what each element becomes, where it stays what it is.
    private static let identityCost: UInt64 = 1

    func value(_ frame: inout Frame) throws(EvaluationFault) -> Value {
        let whole = try range.value(&frame)
        switch kind {
        case .all: return try quantified(whole, &frame, deciding: false, turnCost: 2)
        case .exists: return try quantified(whole, &frame, deciding: true, turnCost: 3)
        case .existsOne: return try one(whole, &frame)
        case .list: return try list(whole, &frame)
        case .map, .mapEntry: return try map(whole, &frame)
        }
    }

    /// Walks through what a macro goes through, with its variables set.
    private func each(
        _ whole: Value, _ frame: inout Frame, _ body: (inout Frame) throws(EvaluationFault) -> Bool
    ) throws(EvaluationFault) {
        switch whole {
        case .list(let list):
            for index in 0..<list.count {
                try frame.turn()
                if places.count == 2 { frame.locals[places[0]] = .int(Int64(index)) }
                frame.locals[places[places.count - 1]] = list[index]
                if try !body(&frame) { return }
            }
        case .map(let map):
            for key in map.keys {
                try frame.turn()
                frame.locals[places[0]] = key
                if places.count == 2 { frame.locals[places[1]] = try map.value(at: key) ?? .null }
                if try !body(&frame) { return }
            }
        default: throw .noOverload
        }
    }

    private func holds(_ frame: inout Frame) throws(EvaluationFault) -> Bool {
        guard let condition else { return true }
        guard case .bool(let truth) = try condition.value(&frame) else { throw .noOverload }
        return truth
    }

    private func quantified(
        _ whole: Value, _ frame: inout Frame, deciding: Bool, turnCost: UInt64
    ) throws(EvaluationFault) -> Value {
        var failure: EvaluationFault?
        var isDecided = false
        try each(whole, &frame) { (frame) throws(EvaluationFault) in
            try frame.charge(turnCost)
            if isDecided { return false }
            try frame.charge(1)
            do throws(EvaluationFault) {
                if try holds(&frame) == deciding { isDecided = true }
            } catch {
                guard case .failed = error else { throw error }
                if failure == nil { failure = error }
            }
            return true
        }
        try frame.charge(1)
        if isDecided { return .bool(deciding) }
        if let failure { throw failure }
        return .bool(!deciding)
    }

    private func one(_ whole: Value, _ frame: inout Frame) throws(EvaluationFault) -> Value {
        var count = 0
        try each(whole, &frame) { (frame) throws(EvaluationFault) in
            if try holds(&frame) {
                count += 1
                try frame.charge(2)
            }
            return true
        }
        try frame.charge(2)
        return .bool(count == 1)
    }

    private func made(_ frame: inout Frame) throws(EvaluationFault) -> Value {
        if let transform { return try transform.value(&frame) }
        try frame.charge(Self.identityCost)
        return frame.locals[places[places.count - 1]]
    }

    private func list(_ whole: Value, _ frame: inout Frame) throws(EvaluationFault) -> Value {
        var values: [Value] = []
        try frame.charge(10)
        try each(whole, &frame) { (frame) throws(EvaluationFault) in
            if try holds(&frame) {
                try frame.charge(12)
                values.append(try made(&frame))
            }
            return true
        }
        try frame.charge(1)
        return .list(.array(values))
    }

    private func map(_ whole: Value, _ frame: inout Frame) throws(EvaluationFault) -> Value {
        var pairs: [(Value, Value)] = []
        try frame.charge(30)
        try each(whole, &frame) { (frame) throws(EvaluationFault) in
            guard try holds(&frame) else { return true }
            if kind == .map {
                try frame.charge(3)
                // For a list, its places become the keys.
                pairs.append((frame.locals[places[0]], try made(&frame)))
            } else {
                try frame.charge(2)
                guard case .map(let entry) = try made(&frame) else { throw .noOverload }
                for key in entry.keys { pairs.append((key, try entry.value(at: key) ?? .null)) }
            }
            return true
        }
        try frame.charge(1)
        guard let entries = MapEntries(pairs) else { throw .failed("insert failed: key is there already") }
        return .map(.entries(entries))
    }
}

/// `cel.bind(name, value, body)`
struct BindStep: Step {
    let place: Int
    let bound: any Step
    let body: any Step

    func value(_ frame: inout Frame) throws(EvaluationFault) -> Value {
        try frame.charge(10)
        frame.locals[place] = try bound.value(&frame)
        return try body.value(&frame)
    }
}

/// `x.optMap(name, body)`, `x.optFlatMap(name, body)`
struct OptionalMapStep: Step {
    let target: any Step
    let place: Int
    let body: any Step
    let isFlat: Bool

    func value(_ frame: inout Frame) throws(EvaluationFault) -> Value {
        guard case .optional(let optional) = try target.value(&frame) else { throw .noOverload }
        try frame.charge(1)
        guard let value = optional.value else { return .optional(.none) }
        try frame.charge(isFlat ? 11 : 12)
        frame.locals[place] = value
        let made = try body.value(&frame)
        if !isFlat { return .optional(of: made) }
        guard case .optional = made else { throw .noOverload }
        return made
    }
}
