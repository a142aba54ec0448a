import Glibc

/// A regular expression in RE2's syntax, matched in time linear in the text, whatever the text.
///
/// Its memory is written once, here, and read by any thread; it goes with the last reference.
/// `@unchecked Sendable`: nothing writes to the memory after `init`.
package final class Pattern: @unchecked Sendable {
    /// Bytes of an expression.
    package static let longest = 4096

    package let view: PatternView

    package convenience init(_ text: String, ignoresCase: Bool = false) throws(PatternFault) {
        let bytes = Array(text.utf8)
        if bytes.count > Self.longest {
            throw PatternFault(position: Self.longest, message: "the expression is longer than \(Self.longest) bytes")
        }
        var syntax = PatternSyntax(bytes, ignoresCase: ignoresCase)
        let node = try syntax.read()
        self.init(try PatternProgram(node))
    }

    private init(_ program: PatternProgram) {
        let table = PatternTable(program)
        view = PatternView(
            steps: Self.plain(program.steps), stepCount: program.steps.count, sets: Self.plain(program.sets),
            classes: table.map { Self.plain($0.classes) }, classCount: table?.classCount ?? 0,
            next: table.map { Self.plain($0.next) }, accepts: table.map { Self.plain($0.accepts) })
    }

    deinit {
        view.steps.deallocate()
        view.sets.deallocate()
        view.classes?.deallocate()
        view.next?.deallocate()
        view.accepts?.deallocate()
    }

    private static func plain<Entry>(_ entries: [Entry]) -> UnsafeMutablePointer<Entry> {
        let memory = UnsafeMutablePointer<Entry>.allocate(capacity: max(1, entries.count))
        for (place, entry) in entries.enumerated() { (memory + place).initialize(to: entry) }
        return memory
    }

    /// Whether all of the text matches.
    package func matches(_ text: String) -> Bool {
        var scratch = PatternScratch()
        let bytes = Array(text.utf8) + [0]
        return view.matches(bytes, bytes.count - 1, &scratch)
    }

    /// Each place where the expression matches, replaced; `nil` when the work or the result would be too much.
    package func replacing(in text: String, with substitution: String, limit: Int = 65536) -> String? {
        var scratch = PatternScratch()
        let out = UnsafeMutablePointer<UInt8>.allocate(capacity: limit)
        defer { out.deallocate() }
        let source = Array(text.utf8) + [0]
        let with = Array(substitution.utf8) + [0]
        let count = view.replace(
            source, source.count - 1, with: with, with.count - 1, into: out, limit: limit, &scratch)
        return count < 0 ? nil : String(decoding: UnsafeBufferPointer(start: out, count: count), as: UTF8.self)
    }
}

/// A pattern as plain pointers, for tables: copying it counts no references. The pattern must outlive it.
package struct PatternView {
    let steps: UnsafeMutablePointer<PatternStep>
    let stepCount: Int
    let sets: UnsafeMutablePointer<ByteSet>
    let classes: UnsafeMutablePointer<UInt8>?
    let classCount: Int
    let next: UnsafeMutablePointer<UInt16>?
    let accepts: UnsafeMutablePointer<Bool>?

    /// Whether all of the text matches.
    package func matches(_ text: UnsafePointer<UInt8>, _ count: Int, _ scratch: inout PatternScratch) -> Bool {
        if let classes, let next, let accepts {
            var state = 1
            var place = 0
            while place < count {
                state = Int(next[state &* classCount &+ Int(classes[Int(text[place])])])
                if state == 0 { return false }
                place &+= 1
            }
            return accepts[state]
        }
        return scratch.run(self, text, count, from: 0, isWhole: true)
    }

    /// Writes the text with each match replaced; `\0` to `\9` in `substitution` stand for the match and its groups.
    ///
    /// - Returns: the bytes written; -1 when they would not fit, or when the work would be too much for one request.
    package func replace(
        _ text: UnsafePointer<UInt8>, _ count: Int, with substitution: UnsafePointer<UInt8>, _ substitutionCount: Int,
        into out: UnsafeMutablePointer<UInt8>, limit: Int, _ scratch: inout PatternScratch
    ) -> Int {
        var at = 0
        var place = 0
        var last = -1
        func put(_ bytes: UnsafePointer<UInt8>, _ length: Int) -> Bool {
            if length > limit - at { return false }
            memcpy(out + at, bytes, length)
            at += length
            return true
        }
        scratch.budget = PatternScratch.workLimit
        while place <= count {
            guard scratch.run(self, text, count, from: place, isWhole: false) else {
                if scratch.budget <= 0 { return -1 }
                break
            }
            let start = Int(scratch.best[0])
            let end = Int(scratch.best[1])
            if !put(text + place, start - place) { return -1 }
            if start == end && start == last {
                // Nothing, right behind the last match: that one has been replaced.
                if start < count, !put(text + start, 1) { return -1 }
                place = start + 1
                continue
            }
            var index = 0
            while index < substitutionCount {
                let byte = substitution[index]
                let digit = index + 1 < substitutionCount ? substitution[index + 1] &- 48 : 255
                if byte == 92 && digit <= 9 {
                    let from = Int(scratch.best[Int(digit) * 2])
                    let to = Int(scratch.best[Int(digit) * 2 + 1])
                    if from >= 0, to > from, !put(text + from, to - from) { return -1 }
                    index += 2
                } else if byte == 92 && digit == 44 {  // a backslash
                    if !put(substitution + index, 1) { return -1 }
                    index += 2
                } else {
                    if !put(substitution + index, 1) { return -1 }
                    index += 1
                }
            }
            last = end
            place = end
            if start == end {
                if start < count, !put(text + start, 1) { return -1 }
                place = start + 1
            }
        }
        if place < count, !put(text + place, count - place) { return -1 }
        return at
    }
}
