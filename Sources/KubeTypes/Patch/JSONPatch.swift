package import Wire

/// Why a patch could not be applied, naming the operation.
package struct PatchFault: Error, Hashable, CustomStringConvertible {
    package let message: String
    /// The patch is not a patch at all (400), rather than one that does not fit the object (422).
    package let isMalformed: Bool
    package init(_ message: String, isMalformed: Bool = false) {
        self.message = message
        self.isMalformed = isMalformed
    }
    package var description: String { message }
}

/// A JSON Patch: operations applied one after the other; all or none.
/// - Source: RFC 6902, pointers RFC 6901.
package struct JSONPatch: Sendable {
    private enum Operation: Sendable {
        case add(JSONPointer, JSON)
        case remove(JSONPointer)
        case replace(JSONPointer, JSON)
        case move(from: JSONPointer, to: JSONPointer)
        case copy(from: JSONPointer, to: JSONPointer)
        case test(JSONPointer, JSON)
    }
    private let operations: [Operation]
    private static let mostCopied = 200_000
    fileprivate static let bytesOfOneValue = 32

    package init(_ json: JSON) throws(PatchFault) {
        guard let list = json.array else {
            throw PatchFault("a JSON patch must be a list of operations", isMalformed: true)
        }
        guard list.count <= 10_000 else {
            throw PatchFault("a JSON patch may have at most 10000 operations", isMalformed: true)
        }
        var operations: [Operation] = []
        for (index, entry) in list.enumerated() {
            func pointer(_ member: String) throws(PatchFault) -> JSONPointer {
                guard let text = entry[member]?.string else {
                    throw PatchFault("operation \(index): \"\(member)\" is missing", isMalformed: true)
                }
                guard let pointer = JSONPointer(text) else {
                    throw PatchFault(
                        "operation \(index): \"\(text)\" is no JSON pointer; it must start with '/'", isMalformed: true)
                }
                return pointer
            }
            func value() throws(PatchFault) -> JSON {
                guard let value = entry["value"] else {
                    throw PatchFault("operation \(index): \"value\" is missing", isMalformed: true)
                }
                return value
            }
            switch entry["op"]?.string ?? "" {
            case "add": operations.append(.add(try pointer("path"), try value()))
            case "remove": operations.append(.remove(try pointer("path")))
            case "replace": operations.append(.replace(try pointer("path"), try value()))
            case "move": operations.append(.move(from: try pointer("from"), to: try pointer("path")))
            case "copy": operations.append(.copy(from: try pointer("from"), to: try pointer("path")))
            case "test": operations.append(.test(try pointer("path"), try value()))
            case let other: throw PatchFault("operation \(index): \"\(other)\" is no operation", isMalformed: true)
            }
        }
        self.operations = operations
    }

    package func applied(to document: JSON) throws(PatchFault) -> JSON {
        var result = document
        var copied = 0
        for (index, operation) in operations.enumerated() {
            do throws(PatchFault) {
                try Self.check(operation, result, copied: &copied)
                try Self.apply(operation, &result)
            } catch {
                throw PatchFault("operation \(index): \(error.message)", isMalformed: error.isMalformed)
            }
        }
        return result
    }

    /// Each copy may double the document: a short patch could ask for more than there is memory, or nest without end.
    private static func check(_ operation: Operation, _ document: JSON, copied: inout Int) throws(PatchFault) {
        let value: JSON
        let place: JSONPointer
        switch operation {
        case .add(let to, let given), .replace(let to, let given): (value, place) = (given, to)
        case .move(let from, let to) where to.depth <= from.depth: return
        case .move(let from, let to), .copy(let from, let to):
            (value, place) = (try from.value(in: document), to)
            copied += value.weight
        case .remove, .test: return
        }
        if copied > Self.mostCopied {
            throw PatchFault(
                "the patch copies more than \(mostCopied) values (\(bytesOfOneValue) bytes of text count as one)",
                isMalformed: true)
        }
        if value.isDeeper(than: ObjectLimits.depth - place.depth) {
            throw PatchFault("\(place) would be nested more than \(ObjectLimits.depth) deep", isMalformed: true)
        }
    }

    private static func apply(_ operation: Operation, _ document: inout JSON) throws(PatchFault) {
        switch operation {
        case .add(let pointer, let value): try pointer.add(value, to: &document)
        case .remove(let pointer): _ = try pointer.remove(from: &document)
        case .replace(let pointer, let value): try pointer.replace(with: value, in: &document)
        case .move(let from, let to):
            if to.isInside(from) { throw PatchFault("move: cannot move \(from) into itself, to \(to)") }
            let value = try from.remove(from: &document)
            try to.add(value, to: &document)
        case .copy(let from, let to): try to.add(try from.value(in: document), to: &document)
        case .test(let pointer, let expected):
            let found = try pointer.value(in: document)
            if !Self.isSame(found, expected) {
                throw PatchFault("test: \(pointer) is \(found.text), not \(expected.text)")
            }
        }
    }

    /// Numbers are compared by value: 1 and 1.0 are the same (RFC 6902 §4.6).
    private static func isSame(_ one: JSON, _ other: JSON) -> Bool {
        switch (one, other) {
        case (.int, .double), (.double, .int): return one.double == other.double
        case (.array(let a), .array(let b)): return a.count == b.count && zip(a, b).allSatisfy(isSame)
        case (.object(let a), .object(let b)):
            return a.count == b.count
                && a.allSatisfy { member in b[member.key].map { isSame(member.value, $0) } ?? false }
        default: return one == other
        }
    }
}

/// Where in a document: `/spec/containers/0/image`.
struct JSONPointer: Sendable, CustomStringConvertible {
    private let steps: [String]
    let description: String

    init?(_ text: String) {
        description = text.isEmpty ? "the whole document" : text
        if text.isEmpty {
            steps = []
            return
        }
        guard text.hasPrefix("/") else { return nil }
        var steps: [String] = []
        for part in text.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            var step = ""
            var isEscaped = false
            for character in part {
                switch (isEscaped, character) {
                case (false, "~"): isEscaped = true
                case (true, "0"):
                    step.append("~")
                    isEscaped = false
                case (true, "1"):
                    step.append("/")
                    isEscaped = false
                case (true, _): return nil
                default: step.append(character)
                }
            }
            if isEscaped { return nil }
            steps.append(step)
        }
        self.steps = steps
    }

    var depth: Int { steps.count }

    func isInside(_ outer: JSONPointer) -> Bool { steps.count > outer.steps.count && steps.starts(with: outer.steps) }

    private static func index(_ step: String, count: Int, allowingEnd: Bool) -> Int? {
        if step == "-" { return allowingEnd ? count : nil }
        guard !step.isEmpty, step.utf8.allSatisfy({ (0x30...0x39).contains($0) }), step == "0" || !step.hasPrefix("0")
        else { return nil }
        guard let index = Int(step), index < count || allowingEnd && index == count else { return nil }
        return index
    }

    private func missing() -> PatchFault { PatchFault("\(self) does not exist") }

    func value(in document: JSON) throws(PatchFault) -> JSON {
        var value = document
        for step in steps {
            switch value {
            case .object(let object):
                guard let next = object[step] else { throw missing() }
                value = next
            case .array(let elements):
                guard let index = Self.index(step, count: elements.count, allowingEnd: false) else { throw missing() }
                value = elements[index]
            default: throw missing()
            }
        }
        return value
    }

    func add(_ value: JSON, to document: inout JSON) throws(PatchFault) {
        guard let last = steps.last else {
            document = value
            return
        }
        try edit(&document, steps.dropLast()) { (parent) throws(PatchFault) in
            switch parent {
            case .object(var object):
                parent = .null
                object[last] = value
                parent = .object(object)
            case .array(var elements):
                guard let index = Self.index(last, count: elements.count, allowingEnd: true) else {
                    throw self.missing()
                }
                parent = .null
                elements.insert(value, at: index)
                parent = .array(elements)
            default: throw self.missing()
            }
        }
    }

    func replace(with value: JSON, in document: inout JSON) throws(PatchFault) {
        _ = try self.value(in: document)
        guard let last = steps.last else {
            document = value
            return
        }
        try edit(&document, steps.dropLast()) { (parent) throws(PatchFault) in
            switch parent {
            case .object: parent[last] = value
            case .array(var elements):
                guard let index = Self.index(last, count: elements.count, allowingEnd: false) else {
                    throw self.missing()
                }
                elements[index] = value
                parent = .array(elements)
            default: throw self.missing()
            }
        }
    }

    func remove(from document: inout JSON) throws(PatchFault) -> JSON {
        let found = try value(in: document)
        guard let last = steps.last else {
            document = .null
            return found
        }
        try edit(&document, steps.dropLast()) { (parent) throws(PatchFault) in
            switch parent {
            case .object: parent[last] = nil
            case .array(var elements):
                guard let index = Self.index(last, count: elements.count, allowingEnd: false) else {
                    throw self.missing()
                }
                elements.remove(at: index)
                parent = .array(elements)
            default: throw self.missing()
            }
        }
        return found
    }

    private func edit(
        _ value: inout JSON, _ steps: ArraySlice<String>, _ body: (inout JSON) throws(PatchFault) -> Void
    ) throws(PatchFault) {
        guard let step = steps.first else { return try body(&value) }
        switch value {
        case .object(var object):
            guard let place = object.index(of: step) else { throw missing() }
            try edit(&object.members[place].value, steps.dropFirst(), body)
            value = .object(object)
        case .array(var elements):
            guard let index = Self.index(step, count: elements.count, allowingEnd: false) else { throw missing() }
            try edit(&elements[index], steps.dropFirst(), body)
            value = .array(elements)
        default: throw missing()
        }
    }
}

/// JSON Merge Patch: members replace members, `null` removes, lists are replaced whole.
/// - Source: RFC 7386.
package enum MergePatch {
    package static func applied(_ patch: JSON, to target: JSON) -> JSON {
        guard let members = patch.object else { return patch }
        let base = target.object ?? JSONObject()
        return .object(
            base.merging(members.members) { _, old, change in change.isNull ? nil : applied(change, to: old ?? .null) })
    }
}

extension JSON {
    /// How many values there are, long texts counted as several.
    fileprivate var weight: Int {
        switch self {
        case .object(let members): members.reduce(1) { $0 + $1.key.weight + $1.value.weight }
        case .array(let elements): elements.reduce(1) { $0 + $1.weight }
        case .string(let text): 1 + text.weight
        default: 1
        }
    }

    fileprivate func isDeeper(than limit: Int) -> Bool {
        if limit < 0 { return true }
        switch self {
        case .object(let members): return members.contains { $0.value.isDeeper(than: limit - 1) }
        case .array(let elements): return elements.contains { $0.isDeeper(than: limit - 1) }
        default: return false
        }
    }
}

extension String {
    fileprivate var weight: Int { utf8.count / JSONPatch.bytesOfOneValue }
}
