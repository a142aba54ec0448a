import Glibc
import Kernel
import Testing
import Wire
import YAMLText

@testable import ProxyResources

/// The schema of the standalone file and its reader say the same, down to the last field: proxies/reference.yaml has them all.
@Suite struct StandaloneSchemaTests {
    private static func json(_ name: String) throws -> JSON {
        let bytes = try SmallFile.read(StandaloneTests.root + "/proxies/" + name)
        return try YAMLValue(parsing: bytes).json
    }

    /// The reader's fault, or `nil`. Files it names hold PEM text.
    private static func fault(_ json: JSON, _ spelling: FileSpelling = FileSpelling { _ in "-----BEGIN" }) -> String? {
        do throws(ResourceFault) {
            _ = try StandaloneFile(json: json, spelling: spelling)
            return nil
        } catch { return error.description }
    }

    /// Objects of a value, by place (`listeners[0].routes[1]`), and the schema of each.
    private static func objects(
        _ json: JSON, _ place: String, _ schema: JSON, _ root: JSON
    ) -> [(place: String, object: JSONObject, schema: JSON)] {
        var schema = schema
        while let reference = schema["$ref"]?.string {
            schema = root["$defs"]?[String(reference.dropFirst("#/$defs/".utf8.count))] ?? .null
        }
        if let choices = schema["anyOf"]?.array, schema["properties"] == nil {
            let fitting = choices.flatMap { objects(json, place, $0, root) }
            return fitting
        }
        if let list = json.array {
            guard let items = schema["items"] else { return [] }
            return list.enumerated().flatMap { objects($0.element, "\(place)[\($0.offset)]", items, root) }
        }
        guard let object = json.object, schema["items"] == nil, schema["type"]?.string ?? "object" == "object" else {
            return []
        }
        guard let properties = schema["properties"]?.object else { return [] }
        var found = [(place: place, object: object, schema: schema)]
        for member in object.members {
            guard let inside = properties[member.key] else { continue }
            found += objects(member.value, place.isEmpty ? member.key : "\(place).\(member.key)", inside, root)
        }
        return found
    }

    private static func plain(_ place: String) -> String {
        var text = ""
        var isIndex = false
        for character in place {
            if character == "[" { isIndex = true }
            if !isIndex { text.append(character) }
            if character == "]" { isIndex = false }
        }
        return text
    }

    @Test("the reference has every field of the schema, the reader takes it, and asks for no field the schema lacks")
    func complete() throws {
        let schema = try Self.json("standalone.schema.json")
        let reference = try Self.json("reference.yaml")
        let spelling = FileSpelling { _ in "-----BEGIN" }
        #expect(Self.fault(reference, spelling) == nil)
        let found = Self.objects(reference, "", schema, schema)
        var known: Set<String> = []
        // One shape may stand in several places: it is enough that its fields are all used somewhere.
        var unused: [String: Set<String>] = [:]
        for (place, _, schema) in found {
            let fields = (schema["properties"]?.object ?? JSONObject()).members.map(\.key)
            for field in fields { known.insert("\(Self.plain(place)).\(field)") }
            if unused[schema.text] == nil { unused[schema.text] = Set(fields) }
        }
        for (_, object, schema) in found { unused[schema.text]?.subtract(object.members.map(\.key)) }
        #expect(unused.values.flatMap { $0 }.sorted() == [], "in the schema, but not in the reference")
        // Names people choose: labels, headers, ports.
        let chosen = found.map(\.place).map(Self.plain)
        let asked = Set(spelling.asked.map(Self.plain)).filter { !$0.hasSuffix(".") && !$0.isEmpty }
        let lacking = asked.filter { place in
            let parent = place.split(separator: ".").dropLast().joined(separator: ".")
            let field = place.split(separator: ".").last.map(String.init) ?? ""
            return chosen.contains(parent) && !known.contains("\(parent).\(field)")
        }
        #expect(lacking.sorted() == [], "the reader asks for it, but the schema does not have it")
    }

    @Test("a field nobody knows is refused by both, wherever it stands")
    func strangers() throws {
        let schema = try Self.json("standalone.schema.json")
        let reference = try Self.json("reference.yaml")
        let places = Self.objects(reference, "", schema, schema).map(\.place)
        #expect(Set(places).count > 60)
        var spoiled: [JSON] = []
        for place in Set(places).sorted() {
            let wrong = Self.with("colour", at: place[...], in: reference)
            #expect(Self.fault(wrong) != nil, "the reader takes \(place).colour")
            spoiled.append(wrong)
        }
        let verdicts = try StandaloneTests.verdicts(of: [reference] + spoiled)
        #expect(verdicts.first == "ok")
        for (place, verdict) in zip(Set(places).sorted(), verdicts.dropFirst()) {
            #expect(verdict != "ok", "the schema takes \(place).colour")
        }
    }

    @Test("the examples in the documentation are good ones, to the reader and to the schema")
    func examples() throws {
        let text = String(
            decoding: try SmallFile.read(StandaloneTests.root + "/proxies/README.md"), as: UTF8.self)
        var examples: [JSON] = []
        var lines: [Substring]? = nil
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line == "```yaml" {
                lines = []
            } else if line == "```", let found = lines {
                examples.append(try YAMLValue(parsing: Array(found.joined(separator: "\n").utf8)).json)
                lines = nil
            } else {
                lines?.append(line)
            }
        }
        #expect(examples.count >= 2)
        for example in examples { #expect(Self.fault(example) == nil, "\(example.text)") }
        #expect(try StandaloneTests.verdicts(of: examples).allSatisfy { $0 == "ok" })
    }

    /// The value with one more member in the object at a place.
    private static func with(_ field: String, at place: Substring, in json: JSON) -> JSON {
        var json = json
        guard !place.isEmpty else {
            json[field] = "red"
            return json
        }
        if place.hasPrefix("[") {
            let number = Int(place.dropFirst().prefix { $0 != "]" }) ?? 0
            var list = json.array ?? []
            let rest = place.dropFirst().drop { $0 != "]" }.dropFirst()
            list[number] = with(field, at: rest.hasPrefix(".") ? rest.dropFirst() : rest, in: list[number])
            return .array(list)
        }
        let key = String(place.prefix { $0 != "." && $0 != "[" })
        let rest = place.dropFirst(key.count)
        json[key] = with(field, at: rest.hasPrefix(".") ? rest.dropFirst() : rest, in: json[key] ?? .null)
        return json
    }
}
