package import Wire
internal import Yams

/// Why a YAML text cannot be used, and where.
package struct YAMLFault: Error, Sendable, Hashable, CustomStringConvertible {
    package let line: Int  // from 1; 0 when unknown
    package let message: String
    package var description: String { line > 0 ? "line \(line): \(message)" : message }
}

/// One document of a YAML stream, as JSON, and the line it starts on.
package struct YAMLDocument: Sendable, Hashable {
    package let line: Int
    package let json: JSON
    /// Members that stand twice in one mapping, by path; the last one counts.
    package let duplicates: [String]
}

/// What a YAML text may grow to: aliases repeat what they stand for, so a few lines can mean billions of values.
package enum YAMLLimits {
    /// Values one document's aliases may add to those written out.
    package static let aliased = 100_000
    /// Mappings and sequences within each other.
    package static let depth = 500
}

/// Reads a stream of YAML documents (JSON is YAML too). Empty documents are left out.
///
/// - Throws: `YAMLFault` for bad syntax, keys that are not strings, values JSON does not have, and texts beyond `YAMLLimits`.
/// - Parameter aliasLimit: for texts of strangers, how many aliases may stand in them at all. They are counted before the
///   library makes them out, which hashes repeated keys and frees nested values without a bound of its own.
package func yamlDocuments(_ text: String, aliasLimit: Int = .max) throws(YAMLFault) -> [YAMLDocument] {
    if aliasLimit < .max, aliasMarks(text) > aliasLimit {
        throw YAMLFault(line: 0, message: "more than \(aliasLimit) aliases (*name); write the values out, or send JSON")
    }
    var documents: [YAMLDocument] = []
    var budget = text.utf8.count + YAMLLimits.aliased
    do {
        // Editors of other systems put a byte order mark first, which is no part of the text.
        let parser = try Parser(yaml: text.hasPrefix("\u{FEFF}") ? String(text.unicodeScalars.dropFirst()) : text)
        while let node = try parser.nextRoot() {
            var reading = YAMLReading(budget: budget)
            defer { budget = reading.budget }
            let json = try reading.json(of: node, at: [])
            if json.isNull { continue }
            documents.append(
                YAMLDocument(line: node.mark?.line ?? 1, json: json, duplicates: reading.duplicates))
        }
    } catch let fault as YAMLFault {
        throw fault
    } catch let error as YamlError {
        throw YAMLFault(error)
    } catch {
        throw YAMLFault(line: 0, message: "\(error)")
    }
    return documents
}

/// How many aliases a text may hold at most: words that start with `*`, where any word starts with `&`.
private func aliasMarks(_ text: String) -> Int {
    var aliases = 0
    var hasAnchor = false
    var previous = UInt8(ascii: "\n")
    for byte in text.utf8 {
        let startsWord = previous <= 0x20 || "[{,:-?".utf8.contains(previous)
        if startsWord, byte == UInt8(ascii: "*") { aliases += 1 }
        if startsWord, byte == UInt8(ascii: "&") { hasAnchor = true }
        previous = byte
    }
    return hasAnchor ? aliases : 0
}

extension YAMLFault {
    fileprivate init(_ error: YamlError) {
        switch error {
        case .parser(_, let problem, let mark, _) where problem.contains("nesting"):
            self.init(line: mark.line, message: "mappings and lists stand too deep in each other")
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            self.init(line: mark.line, message: context.map { "\($0.text) \(problem)" } ?? problem)
        case .reader(let problem, _, _, _): self.init(line: 0, message: problem)
        case .duplicatedKeysInMapping(let duplicates, let context):
            self.init(
                line: context.mark.line,
                message: "key \(duplicates.joined(separator: ", ")) stands twice in one mapping")
        default: self.init(line: 0, message: "\(error)")
        }
    }
}

private struct YAMLReading {
    var duplicates: [String] = []
    /// Values that may still be read. Without aliases no text holds more values than bytes.
    var budget: Int

    mutating func json(of node: Node, at path: [String]) throws(YAMLFault) -> JSON {
        budget -= 1
        let line = node.mark?.line ?? 0
        if budget < 0 {
            throw YAMLFault(
                line: line, message: "aliases repeat too much: together they add over \(YAMLLimits.aliased) values")
        }
        if path.count > YAMLLimits.depth {
            throw YAMLFault(
                line: line, message: "mappings and lists stand more than \(YAMLLimits.depth) deep in each other")
        }
        switch node {
        case .scalar(let scalar): return Self.json(of: scalar, node)
        case .sequence(let sequence):
            var elements: [JSON] = []
            for (index, element) in sequence.enumerated() {
                elements.append(try json(of: element, at: path + ["[\(index)]"]))
            }
            return .array(elements)
        case .mapping(let mapping):
            var object = JSONObject()
            for (key, value) in mapping {
                guard case .scalar(let scalar) = key else {
                    throw YAMLFault(line: key.mark?.line ?? 0, message: "a mapping's key must be a string")
                }
                let inner = path + [scalar.string]
                if object[scalar.string] != nil { duplicates.append(inner.joined(separator: ".")) }
                object[scalar.string] = try json(of: value, at: inner)
            }
            return .object(object)
        case .alias(let alias):
            throw YAMLFault(line: alias.mark?.line ?? 0, message: "alias to an anchor that is not defined")
        }
    }

    /// YAML 1.1 as Kubernetes' parser reads it: quoted scalars are strings; plain ones may be null, boolean or a number.
    private static func json(of scalar: Node.Scalar, _ node: Node) -> JSON {
        guard scalar.style == .plain || scalar.style == .any else { return .string(scalar.string) }
        switch scalar.string {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON": return .bool(true)
        case "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF": return .bool(false)
        default: break
        }
        let text = scalar.string
        guard let first = text.utf8.first,
            first &- 0x30 < 10 || first == UInt8(ascii: "-") || first == UInt8(ascii: "+")
                || first == UInt8(ascii: ".")
        else { return .string(text) }
        if let whole = Int64(text) { return .int(whole) }
        if text.hasPrefix("0x"), let whole = Int64(text.dropFirst(2), radix: 16) { return .int(whole) }
        if text.hasPrefix("0o"), let whole = Int64(text.dropFirst(2), radix: 8) { return .int(whole) }
        let isNumber = text.utf8.allSatisfy { $0 &- 0x30 < 10 || ".eE+-".utf8.contains($0) }
        if isNumber, let value = Double(text), value.isFinite { return .double(value) }
        return .string(text)
    }
}
