import Wire

/// A part of a resource that is one JSON object.
protocol ResourceValue {
    init(_ fields: ResourceFields) throws(ResourceFault)
    var json: JSON { get }
}

extension ResourceFields {
    /// An object's value; `nil` when it is absent.
    func part<Value: ResourceValue>(_ field: String) throws(ResourceFault) -> Value? {
        guard let inside = try object(field) else { return nil }
        return try Value(inside)
    }

    /// A list of objects; empty when it is absent.
    func parts<Value: ResourceValue>(_ field: String) throws(ResourceFault) -> [Value] {
        var found: [Value] = []
        for inside in try objects(field) { found.append(try Value(inside)) }
        return found
    }

    /// A list of words, each of which must be known.
    func words<Word: RawRepresentable>(_ field: String) throws(ResourceFault) -> [Word] where Word.RawValue == String {
        var found: [Word] = []
        for (index, text) in try strings(field).enumerated() {
            guard let word = word(of: text) as Word? else {
                throw fault("\(field)[\(index)]", "has the unknown value \"\(text)\"")
            }
            found.append(word)
        }
        return found
    }
}

extension ResourceWriter {
    mutating func write(_ key: String, _ value: (some ResourceValue)?) {
        if let value { write(key, value.json) }
    }

    mutating func write(_ key: String, _ values: [some ResourceValue]) { write(key, values.map(\.json)) }

    /// A word; nothing when it is the usual one.
    mutating func write<Word: RawRepresentable & Equatable>(_ key: String, _ word: Word, unless usual: Word)
    where Word.RawValue == String {
        if word != usual { write(key, word.rawValue) }
    }
}
