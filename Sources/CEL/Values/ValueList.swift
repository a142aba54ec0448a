/// The elements of a list: an array, or a look at somebody else's data.
package enum ValueList: Sendable {
    case array([Value])
    case source(any ListSource)
}

/// A list that makes its elements when they are asked for.
package protocol ListSource: AnyObject, Sendable {
    var count: Int { get }
    /// - Parameter index: between 0 and `count`.
    func element(at index: Int) -> Value
    /// How Kubernetes compares and adds lists of this kind.
    var merge: ListMerge { get }
}

/// What `x-kubernetes-list-type` says of a list.
package enum ListMerge: Sendable, Hashable {
    case atomic
    /// Without order; an element is there once.
    case set
    /// Without order; these fields tell elements apart.
    case map(keys: [String])
}

extension ValueList {
    package var count: Int {
        switch self {
        case .array(let values): values.count
        case .source(let source): source.count
        }
    }

    package subscript(index: Int) -> Value {
        switch self {
        case .array(let values): values[index]
        case .source(let source): source.element(at: index)
        }
    }

    package var values: [Value] {
        switch self {
        case .array(let values): values
        case .source(let source): (0..<source.count).map { source.element(at: $0) }
        }
    }

    package var merge: ListMerge {
        guard case .source(let source) = self else { return .atomic }
        return source.merge
    }

    func contains(_ wanted: Value) -> Bool {
        for index in 0..<count where self[index].equals(wanted) { return true }
        return false
    }

    func equals(_ other: ValueList) -> Bool {
        guard count == other.count else { return false }
        switch merge {
        case .atomic:
            for index in 0..<count where !self[index].equals(other[index]) { return false }
            return true
        case .set:
            let others = other.values
            return values.allSatisfy { one in others.contains { $0.equals(one) } }
        case .map(let keys):
            let others = other.values
            return values.allSatisfy { one in
                others.contains { $0.hasSameKey(one, keys) && $0.equals(one) }
            }
        }
    }

    /// The list with another behind it, as lists of its kind are added: a set gains what it lacks, a map's elements take the
    /// other's in their place.
    func adding(_ other: ValueList) -> ValueList {
        switch merge {
        case .atomic:
            if count + other.count <= JoinedList.leastCount { return .array(values + other.values) }
            return .source(JoinedList(self, other))
        case .set:
            var sum = values
            for value in other.values where !sum.contains(where: { $0.equals(value) }) { sum.append(value) }
            return .source(MergedList(sum, merge))
        case .map(let keys):
            var sum = values
            for value in other.values {
                if let place = sum.firstIndex(where: { $0.hasSameKey(value, keys) }) {
                    sum[place] = value
                } else {
                    sum.append(value)
                }
            }
            return .source(MergedList(sum, merge))
        }
    }
}

/// Two lists, one behind the other. The cost counts adding lists as one step, so none is copied.
private final class JoinedList: ListSource {
    static let leastCount = 32

    private let head: ValueList
    private let tail: ValueList
    let count: Int

    init(_ head: ValueList, _ tail: ValueList) {
        self.head = head
        self.tail = tail
        count = head.count + tail.count
    }

    func element(at index: Int) -> Value { index < head.count ? head[index] : tail[index - head.count] }
    var merge: ListMerge { .atomic }
}

/// What came of adding two lists that are sets or maps.
private final class MergedList: ListSource {
    private let values: [Value]
    let merge: ListMerge

    init(_ values: [Value], _ merge: ListMerge) {
        self.values = values
        self.merge = merge
    }

    var count: Int { values.count }
    func element(at index: Int) -> Value { values[index] }
}

extension Value {
    fileprivate func hasSameKey(_ other: Value, _ keys: [String]) -> Bool {
        guard case .map(let one) = self, case .map(let two) = other else { return false }
        for key in keys {
            let first = (try? one.field(key)) ?? nil
            let second = (try? two.field(key)) ?? nil
            switch (first, second) {
            case (nil, nil): continue
            case (let first?, let second?): if !first.equals(second) { return false }
            default: return false
            }
        }
        return true
    }
}
