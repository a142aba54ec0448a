internal import Wire

/// Why a resource cannot be used: which one, which field, what is wrong with it.
package struct ResourceFault: Error, Sendable, Hashable, CustomStringConvertible {
    package var resource: String  // `ServicePort demo/catalog:8080`
    package var field: String  // `routes[0].backends[1].weight`; empty for the whole
    package var message: String

    package init(resource: String, field: String, message: String) {
        self.resource = resource
        self.field = field
        self.message = message
    }

    package var description: String {
        field.isEmpty ? "\(resource): \(message)" : "\(resource): \(field): \(message)"
    }
}

/// One JSON object of a resource, and where it stands, so that a fault can name the field.
struct ResourceFields {
    let resource: String
    let path: String
    let json: JSON
    /// Set when the object stands in a file written by people, which spells some fields in its own way.
    let spelling: FileSpelling?

    init(_ json: JSON, of resource: String, path: String = "", spelling: FileSpelling? = nil) throws(ResourceFault) {
        self.resource = resource
        self.path = path
        self.json = json
        self.spelling = spelling
        guard let object = json.object else { throw fault("", "must be an object") }
        spelling?.note(object: path, fields: object.keys)
    }

    func place(_ field: String) -> String {
        let field = spelling?.spelled(field) ?? field
        if path.isEmpty { return field }
        return field.isEmpty ? path : "\(path).\(field)"
    }

    /// A field's value; `nil` when it is absent or null. All reading of fields comes through here.
    ///
    /// - Parameter shape: what the caller will take it for; it decides which short forms there are.
    func value(_ field: String, as shape: FileSpelling.Shape = .scalar) throws(ResourceFault) -> JSON? {
        guard let spelling else {
            guard let value = json[field], !value.isNull else { return nil }
            return value
        }
        spelling.note(asked: place(field))
        guard let written = json[spelling.spelled(field)], !written.isNull else { return nil }
        do throws(FileSpelling.Fault) { return try spelling.meaning(of: field, written, as: shape) } catch {
            throw fault(field, error.message)
        }
    }

    func fault(_ field: String, _ message: String) -> ResourceFault {
        ResourceFault(resource: resource, field: place(field), message: message)
    }

    /// An absent string is empty, since empty strings are not written.
    func string(_ field: String) throws(ResourceFault) -> String {
        guard let value = try value(field) else { return "" }
        guard let string = value.string else { throw fault(field, "must be a string") }
        return string
    }

    func requiredString(_ field: String) throws(ResourceFault) -> String {
        let value = try string(field)
        if value.isEmpty { throw fault(field, "is required") }
        return value
    }

    func strings(_ field: String) throws(ResourceFault) -> [String] {
        var found: [String] = []
        for (index, element) in try array(field).enumerated() {
            guard let string = element.string else { throw fault("\(field)[\(index)]", "must be a string") }
            found.append(string)
        }
        return found
    }

    func stringMap(_ field: String) throws(ResourceFault) -> [String: String] {
        guard let fields = try object(field) else { return [:] }
        var found: [String: String] = [:]
        for member in fields.json.object ?? JSONObject() {
            found[member.key] = try fields.string(member.key)
        }
        return found
    }

    func integer(_ field: String, in range: ClosedRange<Int>) throws(ResourceFault) -> Int? {
        guard let value = try value(field) else { return nil }
        guard let number = value.int else { throw fault(field, "must be an integer") }
        guard range.contains(number) else {
            throw fault(field, "is \(number), must be from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    func requiredInteger(_ field: String, in range: ClosedRange<Int>) throws(ResourceFault) -> Int {
        guard let number = try integer(field, in: range) else { throw fault(field, "is required") }
        return number
    }

    func flag(_ field: String, or missing: Bool = false) throws(ResourceFault) -> Bool {
        guard let value = try value(field) else { return missing }
        guard let flag = value.bool else { throw fault(field, "must be true or false") }
        return flag
    }

    func ports(_ field: String) throws(ResourceFault) -> [Int] {
        var found: [Int] = []
        for (index, element) in try array(field).enumerated() {
            guard let port = element.int, (1...65535).contains(port) else {
                throw fault("\(field)[\(index)]", "must be from 1 to 65535")
            }
            found.append(port)
        }
        return found
    }

    func port(_ field: String) throws(ResourceFault) -> Int { try requiredInteger(field, in: 1...65535) }

    /// One of a set of words; an absent one is the word for "".
    func word<Word: RawRepresentable>(_ field: String, or missing: Word) throws(ResourceFault) -> Word
    where Word.RawValue == String {
        guard let value = try value(field) else { return missing }
        guard let string = value.string, let word = word(of: string) as Word? else {
            throw fault(field, "has the unknown value \(value.text)")
        }
        return word
    }

    /// Files write `round-robin` where resources say `ROUND_ROBIN`.
    func word<Word: RawRepresentable>(of text: String) -> Word? where Word.RawValue == String {
        if let word = Word(rawValue: text) { return word }
        guard spelling != nil else { return nil }
        return Word(rawValue: String(text.uppercased().map { $0 == "-" ? "_" : $0 }))
    }

    func array(_ field: String) throws(ResourceFault) -> [JSON] {
        guard let value = try value(field, as: .list) else { return [] }
        guard let array = value.array else { throw fault(field, "must be an array") }
        return array
    }

    func objects(_ field: String) throws(ResourceFault) -> [ResourceFields] {
        var found: [ResourceFields] = []
        for (index, element) in try array(field).enumerated() {
            found.append(
                try ResourceFields(element, of: resource, path: place("\(field)[\(index)]"), spelling: spelling))
        }
        return found
    }

    func object(_ field: String) throws(ResourceFault) -> ResourceFields? {
        guard let value = try value(field, as: .object) else { return nil }
        return try ResourceFields(value, of: resource, path: place(field), spelling: spelling)
    }
}

/// Builds a JSON object without the members that say nothing.
struct ResourceWriter {
    private(set) var object = JSONObject()

    mutating func write(_ key: String, _ value: String) {
        if !value.isEmpty { object.members.append(.init(key, .string(value))) }
    }
    mutating func write(_ key: String, _ value: Int?) {
        if let value { object.members.append(.init(key, .int(Int64(value)))) }
    }
    mutating func write(_ key: String, _ values: [String]) {
        if !values.isEmpty { object.members.append(.init(key, .array(values.map(JSON.string)))) }
    }
    mutating func write(_ key: String, _ values: [String: String]) {
        if values.isEmpty { return }
        let sorted = values.sorted { $0.key < $1.key }
        write(key, .object(JSONObject(sorted.map { .init($0.key, .string($0.value)) })))
    }
    /// Says nothing when false.
    mutating func write(_ key: String, _ value: Bool) {
        if value { object.members.append(.init(key, .bool(true))) }
    }
    mutating func write(_ key: String, _ values: [JSON]) {
        if !values.isEmpty { object.members.append(.init(key, .array(values))) }
    }
    mutating func write(_ key: String, _ value: Bool, unless usual: Bool = false) {
        if value != usual { object.members.append(.init(key, .bool(value))) }
    }
    mutating func write(_ key: String, _ value: JSON) { object.members.append(.init(key, value)) }

    var json: JSON { .object(object) }
}
