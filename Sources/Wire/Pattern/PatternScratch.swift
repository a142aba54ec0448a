import Glibc

/// Memory for following an expression's steps side by side (Pike): grows to the largest expression it has met, and stays.
package struct PatternScratch: ~Copyable {
    /// Steps looked at for one replacement of a text.
    static let workLimit = 8_000_000

    private struct Pending {
        var step: UInt16
        /// Not -1: gives a slot its old value back.
        var slot: Int16
        var old: Int32
    }

    private var capacity = 0
    private var marks: UnsafeMutablePointer<UInt32>
    private var generation: UInt32 = 0
    private var current: UnsafeMutablePointer<UInt16>
    private var following: UnsafeMutablePointer<UInt16>
    private var currentSlots: UnsafeMutablePointer<Int32>
    private var followingSlots: UnsafeMutablePointer<Int32>
    private var pending: UnsafeMutablePointer<Pending>
    private let slots: UnsafeMutablePointer<Int32>
    /// Where the last match and its groups were; -1 for groups that took no part.
    let best: UnsafeMutablePointer<Int32>
    var budget = 0

    package init() {
        marks = .allocate(capacity: 1)
        current = .allocate(capacity: 1)
        following = .allocate(capacity: 1)
        currentSlots = .allocate(capacity: 1)
        followingSlots = .allocate(capacity: 1)
        pending = .allocate(capacity: 1)
        slots = .allocate(capacity: PatternProgram.slots)
        best = .allocate(capacity: PatternProgram.slots)
    }

    deinit {
        free()
        slots.deallocate()
        best.deallocate()
    }

    private func free() {
        marks.deallocate()
        current.deallocate()
        following.deallocate()
        currentSlots.deallocate()
        followingSlots.deallocate()
        pending.deallocate()
    }

    /// Makes room for an expression of so many steps.
    private mutating func grow(_ steps: Int) {
        if steps <= capacity { return }
        free()
        capacity = steps
        marks = .allocate(capacity: steps)
        marks.initialize(repeating: 0, count: steps)
        generation = 0
        current = .allocate(capacity: steps)
        following = .allocate(capacity: steps)
        currentSlots = .allocate(capacity: steps * PatternProgram.slots)
        followingSlots = .allocate(capacity: steps * PatternProgram.slots)
        // Each step is entered once and leaves at most two entries behind.
        pending = .allocate(capacity: steps * 2 + 2)
    }

    /// Looks for the first match at or behind `from`, the preferred one of those that start there; with `isWhole`, for one of all
    /// the text. Where it is stands in `best`.
    mutating func run(
        _ pattern: PatternView, _ text: UnsafePointer<UInt8>, _ count: Int, from: Int, isWhole: Bool
    ) -> Bool {
        grow(pattern.stepCount)
        let width = isWhole ? 0 : PatternProgram.slots
        var threads = 0
        var found = false
        var place = from
        advanceGeneration()
        while true {
            if !found && (place == from || !isWhole) {
                if width > 0 { for slot in 0..<width { slots[slot] = -1 } }
                threads = follow(pattern, 0, text, count, place, into: current, currentSlots, threads, width)
            }
            if threads == 0 && (found || isWhole) { return found }
            advanceGeneration()
            var moved = 0
            for thread in 0..<threads {
                let step = pattern.steps[Int(current[thread])]
                budget &-= 1
                if step.kind == .match {
                    if isWhole {
                        if place == count { return true }
                        continue
                    }
                    memcpy(best, currentSlots + thread * width, width * 4)
                    found = true
                    break  // those behind are less wanted
                }
                if place < count && pattern.sets[Int(step.argument)].contains(text[place]) {
                    if width > 0 { memcpy(slots, currentSlots + thread * width, width * 4) }
                    moved = follow(
                        pattern, step.next, text, count, place + 1, into: following, followingSlots, moved, width)
                }
            }
            if place == count || (!isWhole && budget <= 0) { return found && budget > 0 }
            swap(&current, &following)
            swap(&currentSlots, &followingSlots)
            threads = moved
            place += 1
        }
    }

    private mutating func advanceGeneration() {
        generation &+= 1
        if generation == 0 {
            marks.initialize(repeating: 0, count: capacity)
            generation = 1
        }
    }

    /// Adds the steps reached from `first` without taking a byte, the preferred ones first, to a list that has `count` of them.
    private mutating func follow(
        _ pattern: PatternView, _ first: UInt16, _ text: UnsafePointer<UInt8>, _ textCount: Int, _ place: Int,
        into list: UnsafeMutablePointer<UInt16>, _ listSlots: UnsafeMutablePointer<Int32>, _ count: Int, _ width: Int
    ) -> Int {
        var count = count
        var waiting = 1
        pending[0] = Pending(step: first, slot: -1, old: 0)
        while waiting > 0 {
            waiting &-= 1
            let entry = pending[waiting]
            if entry.slot >= 0 {
                slots[Int(entry.slot)] = entry.old
                continue
            }
            var at = entry.step
            while marks[Int(at)] != generation {
                marks[Int(at)] = generation
                budget &-= 1
                let step = pattern.steps[Int(at)]
                if step.kind == .split {
                    if step.other != step.next {
                        pending[waiting] = Pending(step: step.other, slot: -1, old: 0)
                        waiting &+= 1
                    }
                } else if step.kind == .save {
                    if width > 0 {
                        pending[waiting] = Pending(
                            step: 0, slot: Int16(step.argument), old: slots[Int(step.argument)])
                        waiting &+= 1
                        slots[Int(step.argument)] = Int32(truncatingIfNeeded: place)
                    }
                } else if step.kind == .assertion {
                    if !holds(step.argument, text, textCount, place) { break }
                } else {
                    list[count] = at
                    if width > 0 { memcpy(listSlots + count * width, slots, width * 4) }
                    count &+= 1
                    break
                }
                at = step.next
            }
        }
        return count
    }

    private func holds(_ assertion: UInt16, _ text: UnsafePointer<UInt8>, _ count: Int, _ place: Int) -> Bool {
        func isWord(_ byte: UInt8) -> Bool {
            (byte >= 48 && byte <= 57) || (byte >= 65 && byte <= 90) || (byte >= 97 && byte <= 122) || byte == 95
        }
        switch PatternAssertion(rawValue: UInt8(truncatingIfNeeded: assertion)) {
        case .textStart: return place == 0
        case .textEnd: return place == count
        case .lineStart: return place == 0 || text[place - 1] == 10
        case .lineEnd: return place == count || text[place] == 10
        case .wordBoundary, .noWordBoundary:
            let before = place > 0 && isWord(text[place - 1])
            let after = place < count && isWord(text[place])
            return (before != after) == (assertion == UInt16(PatternAssertion.wordBoundary.rawValue))
        case nil: return false
        }
    }
}
