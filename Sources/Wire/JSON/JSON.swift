/// A JSON value as a tree, for code that changes it: patches, admission, controllers.
///
/// Objects keep the order of their members, so an unchanged value is written as it was read.
package enum JSON: Sendable, Hashable {
    case null
    case bool(Bool)
    case int(Int64)
    case double(Double)
    case string(String)
    case array([JSON])
    case object(JSONObject)
}

/// The members of a JSON object, in order. Lookup is linear: API objects have few members at each level.
package struct JSONObject: Sendable {
    package struct Member: Sendable, Hashable {
        package var key: String
        package var value: JSON
        package init(_ key: String, _ value: JSON) {
            self.key = key
            self.value = value
        }
    }

    package var members: [Member]

    package init(_ members: [Member] = []) { self.members = members }

    package var isEmpty: Bool { members.isEmpty }
    package var count: Int { members.count }
    package var keys: [String] { members.map(\.key) }

    package func index(of key: String) -> Int? {
        // Lengths tell most keys apart, and cost less to compare.
        let length = key.utf8.count
        return members.withUnsafeBufferPointer { members in
            for place in 0..<members.count where members[place].key.utf8.count == length {
                if members[place].key == key { return place }
            }
            return nil
        }
    }

    /// The value at a place, which is null until it is put back.
    fileprivate mutating func take(_ place: Int) -> JSON {
        var value = JSON.null
        swap(&value, &members[place].value)
        return value
    }

    /// - Parameter place: where the key stands; `nil` appends it.
    fileprivate mutating func put(_ value: JSON?, at place: Int?, _ key: String) {
        switch (place, value) {
        case (let place?, let value?): members[place].value = value
        case (let place?, nil): members.remove(at: place)
        case (nil, let value?): members.append(Member(key, value))
        case (nil, nil): break
        }
    }

    /// Assigning `nil` removes the member; assigning to a new key appends it.
    package subscript(key: String) -> JSON? {
        get { index(of: key).map { members[$0].value } }
        set {
            put(newValue, at: index(of: key), key)
        }
    }
}

extension JSONObject: Hashable {
    /// Two objects are equal when they have the same members, in whatever order.
    package static func == (one: JSONObject, other: JSONObject) -> Bool {
        if one.members == other.members { return true }
        guard one.count == other.count else { return false }
        guard one.count > 32 else { return one.members.allSatisfy { other[$0.key] == $0.value } }
        let values = Dictionary(other.members.map { ($0.key, $0.value) }) { first, _ in first }
        return one.members.allSatisfy { values[$0.key] == $0.value }
    }

    package func hash(into hasher: inout Hasher) {
        var mixed = 0
        for member in members { mixed ^= member.hashValue }
        hasher.combine(mixed)
    }
}

extension JSONObject: Sequence {
    package func makeIterator() -> IndexingIterator<[Member]> { members.makeIterator() }
}

extension JSON {
    package var isNull: Bool {
        if case .null = self { return true }
        return false
    }

    package var string: String? {
        guard case .string(let value) = self else { return nil }
        return value
    }

    package var bool: Bool? {
        guard case .bool(let value) = self else { return nil }
        return value
    }

    /// The value as an integer; a double with no fraction counts, since YAML and JavaScript write `1.0`.
    package var int: Int? {
        switch self {
        case .int(let value): Int(value)
        case .double(let value): Int(exactly: value)
        default: nil
        }
    }

    package var double: Double? {
        switch self {
        case .int(let value): Double(value)
        case .double(let value): value
        default: nil
        }
    }

    package var array: [JSON]? {
        guard case .array(let value) = self else { return nil }
        return value
    }

    package var object: JSONObject? {
        guard case .object(let value) = self else { return nil }
        return value
    }

    /// An object's string members; `nil` when the value is not an object. Members of other types are left out.
    package var stringMap: [String: String]? {
        guard let object else { return nil }
        var map: [String: String] = [:]
        for member in object {
            if let value = member.value.string { map[member.key] = value }
        }
        return map
    }

    /// The member of an object. Assigning to a value that is not an object makes it one; `nil` removes the member.
    package subscript(key: String) -> JSON? {
        get {
            guard case .object(let object) = self else { return nil }
            return object[key]
        }
        set {
            var object = JSONObject()
            guard takeMembers(to: &object) || newValue != nil else { return }
            object[key] = newValue
            self = .object(object)
        }
        // In place: nothing within is copied, however deep the change.
        _modify {
            var object = JSONObject()
            let isObject = takeMembers(to: &object)
            let place = object.index(of: key)
            var member = place.map { object.take($0) }
            defer {
                if isObject || member != nil {
                    object.put(member, at: place, key)
                    self = .object(object)
                }
            }
            yield &member
        }
    }

    /// The member of an object, or another value where it is missing. A change is made in place.
    package subscript(key: String, default absent: @autoclosure () -> JSON) -> JSON {
        get { self[key] ?? absent() }
        _modify {
            var member = takeMember(key) ?? absent()
            defer { self[key] = member }
            yield &member
        }
    }

    /// The member, in whose place there is null until something is put back.
    private mutating func takeMember(_ key: String) -> JSON? {
        var object = JSONObject()
        guard takeMembers(to: &object) else { return nil }
        let member = object.index(of: key).map { object.take($0) }
        self = .object(object)
        return member
    }

    /// Leaves the caller the only owner, so that it can change them in place.
    private mutating func takeMembers(to members: inout JSONObject) -> Bool {
        guard case .object(let object) = self else { return false }
        self = .null
        members = object
        return true
    }

    /// The element of an array, or `nil` when the value is no array or the index is outside it.
    package subscript(index: Int) -> JSON? {
        guard case .array(let elements) = self, elements.indices.contains(index) else { return nil }
        return elements[index]
    }

    /// Changes each element of an array in place. Of anything else there are none.
    package mutating func changeElements(_ change: (inout JSON) -> Void) {
        guard case .array(var elements) = self else { return }
        // Leaves `elements` the only owner.
        self = .null
        for index in elements.indices { change(&elements[index]) }
        self = .array(elements)
    }

    /// The value at the end of a path of object members.
    package subscript(path path: [String]) -> JSON? {
        get {
            var value = self
            for key in path {
                guard let next = value[key] else { return nil }
                value = next
            }
            return value
        }
        set { set(path[...], to: newValue) }
    }

    private mutating func set(_ path: ArraySlice<String>, to newValue: JSON?) {
        guard let key = path.first else {
            self = newValue ?? .null
            return
        }
        if path.count == 1 {
            self[key] = newValue
        } else if self[key] != nil {
            self[key]?.set(path.dropFirst(), to: newValue)
        } else if let newValue {
            var inner = JSON.object(JSONObject())
            inner.set(path.dropFirst(), to: newValue)
            self[key] = inner
        }
    }

    package init(_ map: [String: String]) {
        self = .object(JSONObject(map.sorted { $0.key < $1.key }.map { .init($0.key, .string($0.value)) }))
    }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByFloatLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int64) { self = .int(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(floatLiteral value: Double) { self = .double(value) }
    package init(arrayLiteral elements: JSON...) { self = .array(elements) }
    package init(dictionaryLiteral elements: (String, JSON)...) {
        self = .object(JSONObject(elements.map { .init($0.0, $0.1) }))
    }
}
