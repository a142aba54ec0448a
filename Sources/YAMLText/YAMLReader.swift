import CLibYAML
import Glibc
package import Wire

/// Why a text cannot be taken, and where: lines count from 1.
package struct YAMLFault: Error, Hashable, CustomStringConvertible {
    package let line: Int
    package let message: String
    package var description: String { "line \(line): \(message)" }
}

/// What one text may hold, so that none can exhaust this process.
package struct YAMLBounds: Sendable {
    package var bytes = 16 << 20
    package var depth = 64
    /// Of values, those behind aliases counted each time.
    package var values = 2_000_000
    package init() {}
}

/// A value of a text, and the line it begins on.
package struct YAMLValue: Sendable {
    indirect enum Content: Sendable {
        case leaf(JSON)
        case list([YAMLValue])
        case map([(key: String, value: YAMLValue)])
    }
    package let line: Int
    let content: Content

    package var json: JSON {
        switch content {
        case .leaf(let json): json
        case .list(let list): .array(list.map(\.json))
        case .map(let map): .object(JSONObject(map.map { .init($0.key, $0.value.json) }))
        }
    }

    /// The line of the deepest value on the way to a field like `listeners[0].routes[1].to`.
    package func line(of field: String) -> Int {
        var found = self
        var word = ""
        var line = self.line
        func step(_ value: YAMLValue?) {
            guard let value else { return }
            found = value
            line = value.line
        }
        var isOnTheWay = true
        func enter() {
            guard !word.isEmpty else { return }
            defer { word = "" }
            guard isOnTheWay else { return }
            if case .map(let map) = found.content, let member = map.first(where: { $0.key == word }) {
                step(member.value)
            } else {
                isOnTheWay = false
            }
        }
        for character in field {
            switch character {
            case ".", "[": enter()
            case "]":
                let index = Int(word)
                word = ""
                guard isOnTheWay else { continue }
                if case .list(let list) = found.content, let index, list.indices.contains(index) {
                    step(list[index])
                } else if index != 0 {
                    isOnTheWay = false
                }
            default: word.append(character)
            }
        }
        enter()
        return line
    }
}

extension YAMLValue {
    /// Reads one document: YAML 1.2's core schema, so that only true, false, null and numbers are not text. JSON is YAML.
    ///
    /// - Throws: what does not fit and on which line; also for a key that stands twice, a second document, or too much of anything.
    package init(parsing bytes: [UInt8], within bounds: YAMLBounds = YAMLBounds()) throws(YAMLFault) {
        if bytes.count > bounds.bytes {
            throw YAMLFault(line: 1, message: "the text is longer than \(bounds.bytes) bytes")
        }
        let outcome = bytes.withUnsafeBufferPointer { text -> Result<YAMLValue, YAMLFault> in
            do throws(YAMLFault) {
                var events = try YAMLEvents(text, bounds)
                return .success(try events.document())
            } catch { return .failure(error) }
        }
        self = try outcome.get()
    }
}

/// Takes libyaml's events one by one.
private struct YAMLEvents: ~Copyable {
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let bounds: YAMLBounds
    private var anchors: [String: (value: YAMLValue, size: Int)] = [:]
    private var count = 0

    init(_ text: UnsafeBufferPointer<UInt8>, _ bounds: YAMLBounds) throws(YAMLFault) {
        self.bounds = bounds
        parser = .allocate(capacity: 1)
        guard yaml_parser_initialize(parser) == 1 else {
            parser.deallocate()
            throw YAMLFault(line: 1, message: "no memory to read it")
        }
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(parser, text.baseAddress, text.count)
    }

    deinit {
        yaml_parser_delete(parser)
        parser.deallocate()
    }

    /// An event whose strings are freed with it.
    private final class Event {
        let memory: UnsafeMutablePointer<yaml_event_t>
        init(_ memory: UnsafeMutablePointer<yaml_event_t>) { self.memory = memory }
        deinit {
            yaml_event_delete(memory)
            memory.deallocate()
        }
        var type: yaml_event_type_t { memory.pointee.type }
        var line: Int { memory.pointee.start_mark.line + 1 }
    }

    private func next() throws(YAMLFault) -> Event {
        let memory = UnsafeMutablePointer<yaml_event_t>.allocate(capacity: 1)
        memory.initialize(to: yaml_event_t())
        let event = Event(memory)
        if yaml_parser_parse(parser, memory) == 1 { return event }
        let problem = parser.pointee.problem.map { String(cString: $0) } ?? "cannot be read"
        let context = parser.pointee.context.map { String(cString: $0) + ": " } ?? ""
        throw YAMLFault(line: max(parser.pointee.problem_mark.line, 0) + 1, message: context + problem)
    }

    mutating func document() throws(YAMLFault) -> YAMLValue {
        _ = try next()
        let start = try next()
        if start.type == YAML_STREAM_END_EVENT { throw YAMLFault(line: 1, message: "the text is empty") }
        let first = try next()
        let value = try self.value(first, depth: 0)
        _ = try next()
        let end = try next()
        if end.type != YAML_STREAM_END_EVENT { throw YAMLFault(line: end.line, message: "a second document begins") }
        return value
    }

    private mutating func counted(_ more: Int, _ line: Int) throws(YAMLFault) {
        count += more
        if count > bounds.values { throw YAMLFault(line: line, message: "more than \(bounds.values) values") }
    }

    private mutating func value(_ event: Event, depth: Int) throws(YAMLFault) -> YAMLValue {
        if depth > bounds.depth { throw YAMLFault(line: event.line, message: "nested deeper than \(bounds.depth)") }
        let before = count
        try counted(1, event.line)
        let anchor: UnsafeMutablePointer<UInt8>?
        let found: YAMLValue
        switch event.type {
        case YAML_ALIAS_EVENT:
            let name = text(event.memory.pointee.data.alias.anchor)
            guard let known = anchors[name] else {
                throw YAMLFault(line: event.line, message: "*\(name) is an alias of nothing before it")
            }
            try counted(known.size, event.line)
            return known.value
        case YAML_SCALAR_EVENT:
            anchor = event.memory.pointee.data.scalar.anchor
            found = YAMLValue(line: event.line, content: .leaf(try scalar(event)))
        case YAML_SEQUENCE_START_EVENT:
            anchor = event.memory.pointee.data.sequence_start.anchor
            var list: [YAMLValue] = []
            while true {
                let next = try next()
                if next.type == YAML_SEQUENCE_END_EVENT { break }
                list.append(try value(next, depth: depth + 1))
            }
            found = YAMLValue(line: event.line, content: .list(list))
        case YAML_MAPPING_START_EVENT:
            anchor = event.memory.pointee.data.mapping_start.anchor
            found = YAMLValue(line: event.line, content: .map(try members(depth)))
        default: throw YAMLFault(line: event.line, message: "a value is missing")
        }
        if let anchor { anchors[text(anchor)] = (found, count - before) }
        return found
    }

    private mutating func members(_ depth: Int) throws(YAMLFault) -> [(key: String, value: YAMLValue)] {
        var map: [(key: String, value: YAMLValue)] = []
        var known: Set<String> = []
        while true {
            let place = try next()
            if place.type == YAML_MAPPING_END_EVENT { return map }
            guard place.type == YAML_SCALAR_EVENT else {
                throw YAMLFault(line: place.line, message: "a key must be text")
            }
            let key = text(place)
            if !known.insert(key).inserted { throw YAMLFault(line: place.line, message: "the key \(key) stands twice") }
            let value = try self.value(try next(), depth: depth + 1)
            // A member's line is its key's: that is where people look for it.
            map.append((key, YAMLValue(line: place.line, content: value.content)))
        }
    }

    private func text(_ bytes: UnsafeMutablePointer<UInt8>?) -> String {
        bytes.map { String(cString: $0) } ?? ""
    }

    private func text(_ event: Event) -> String {
        let scalar = event.memory.pointee.data.scalar
        return String(decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
    }

    private func scalar(_ event: Event) throws(YAMLFault) -> JSON {
        let text = text(event)
        let data = event.memory.pointee.data.scalar
        if data.style != YAML_PLAIN_SCALAR_STYLE { return .string(text) }
        if let tag = data.tag.map({ String(cString: $0) }), tag != "!" {
            if tag == "tag:yaml.org,2002:str" { return .string(text) }
            throw YAMLFault(line: event.line, message: "the tag \(tag) is not known")
        }
        return CoreSchema.value(text)
    }
}

/// What a plain word means (YAML 1.2.2 §10.3.2).
enum CoreSchema {
    static func value(_ text: String) -> JSON {
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE": return .bool(true)
        case "false", "False", "FALSE": return .bool(false)
        default: break
        }
        guard let first = text.utf8.first, (48...57).contains(first) || first == 43 || first == 45 || first == 46 else {
            return .string(text)
        }
        if text.hasPrefix("0x"), let number = Int64(text.dropFirst(2), radix: 16) { return .int(number) }
        if text.hasPrefix("0o"), let number = Int64(text.dropFirst(2), radix: 8) { return .int(number) }
        if let number = Int64(text) { return .int(number) }
        let isNumber = text.utf8.allSatisfy { (48...57).contains($0) || [43, 45, 46, 101, 69].contains($0) }
        if isNumber, let number = Double(text), number.isFinite { return .double(number) }
        return .string(text)
    }
}
