package import Wire

/// Why a Kubernetes protobuf body could not be read, naming the field.
package struct KubeProtobufFault: Error, Hashable, CustomStringConvertible {
    package let message: String
    package var description: String { message }
}

/// The protobuf form of API objects: `k8s\0`, then a `runtime.Unknown` with the kind and the object's own message.
package struct KubeProtobuf: Sendable {
    package static let builtIn = KubeProtobuf(tables: .builtIn)
    package static let magic: [UInt8] = [0x6B, 0x38, 0x73, 0x00]

    private let tables: ProtobufTables

    init(tables: ProtobufTables) { self.tables = tables }

    /// Whether objects of a kind have a protobuf form: custom kinds have none.
    package func knows(_ type: ResourceType) -> Bool {
        tables.messageName(apiVersion: type.apiVersion, kind: type.kind) != nil
    }

    /// The object as its JSON. Fields with zero values that Go would leave out are left out.
    package func decode(_ bytes: [UInt8]) throws(KubeProtobufFault) -> JSON {
        guard bytes.starts(with: Self.magic) else {
            throw KubeProtobufFault(message: "protobuf body does not start with the bytes 6b 38 73 00")
        }
        var apiVersion = ""
        var kind = ""
        var contentType = ""
        var raw: ArraySlice<UInt8> = []
        do throws(ProtobufFault) {
            var reader = ProtobufReader(bytes, from: Self.magic.count)
            while let tag = try reader.nextTag() {
                switch tag.field {
                case 1:
                    var inner = try reader.message(tag)
                    while let tag = try inner.nextTag() {
                        switch tag.field {
                        case 1: apiVersion = try inner.string(tag)
                        case 2: kind = try inner.string(tag)
                        default: try inner.skip(tag)
                        }
                    }
                case 2: raw = try reader.bytes(tag)
                case 4: contentType = try reader.string(tag)
                default: try reader.skip(tag)
                }
            }
        } catch {
            throw KubeProtobufFault(message: "protobuf envelope: \(error)")
        }
        if contentType == "application/json" {
            do throws(JSONFault) {
                var duplicates: [String] = []
                return try JSON(parsing: Array(raw), duplicates: &duplicates, deepest: ObjectLimits.depth)
            } catch {
                throw KubeProtobufFault(message: "JSON in the protobuf envelope: \(error)")
            }
        }
        guard let name = tables.messageName(apiVersion: apiVersion, kind: kind) else {
            throw KubeProtobufFault(
                message: "no protobuf message is known for kind \"\(kind)\" of \"\(apiVersion)\"; send JSON")
        }
        var decoder = ProtobufDecoder(tables: tables)
        var reader = ProtobufReader(Array(raw))
        var members: [JSONObject.Member] = [
            .init("kind", .string(kind)), .init("apiVersion", .string(apiVersion)),
        ]
        do throws(ProtobufFault) {
            try decoder.read(&reader, name, into: &members)
        } catch {
            let place = decoder.path.text
            throw KubeProtobufFault(message: "protobuf body\(place.isEmpty ? "" : ", field \(place)"): \(error)")
        }
        return .object(JSONObject(members))
    }

    /// The object in the envelope; `nil` for kinds that have no protobuf form, which are sent as JSON.
    package func encode(_ json: JSON) -> [UInt8]? {
        let (apiVersion, kind) = (json["apiVersion"]?.string ?? "", json["kind"]?.string ?? "")
        guard let name = tables.messageName(apiVersion: apiVersion, kind: kind), let message = tables.message(name)
        else {
            return nil
        }
        let encoder = ProtobufEncoder(tables: tables)
        var body = ProtobufWriter()
        guard encoder.write(json.object ?? JSONObject(), message, to: &body) else { return nil }
        var envelope = ProtobufWriter(after: Self.magic)
        envelope.message(1) { type in
            type.string(1, apiVersion)
            type.string(2, kind)
        }
        envelope.bytes(2, body.bytes)
        envelope.string(3, "")
        envelope.string(4, "")
        return envelope.bytes
    }
}

private struct ProtobufDecoder {
    let tables: ProtobufTables
    var path = FieldPath()

    init(tables: ProtobufTables) { self.tables = tables }

    mutating func read(
        _ reader: inout ProtobufReader, _ name: String, into members: inout [JSONObject.Member]
    ) throws(ProtobufFault) {
        guard let message = tables.message(name) else { return }
        var maps: Set<String> = []
        while let tag = try reader.nextTag() {
            guard let index = message.byNumber[tag.field] else {
                try reader.skip(tag)
                continue
            }
            let field = message.fields[index]
            if field.isInline, case .message(let inner) = field.value {
                var embedded = try reader.message(tag)
                try read(&embedded, inner, into: &members)
                continue
            }
            path.enter(field.name)
            let place = members.firstIndex { $0.key == field.name }
            switch field.value {
            case .map(let value):
                let entry = try mapEntry(&reader, tag, value)
                var map = JSONObject()
                if let place, case .object(let found) = members[place].value {
                    map = found
                    members[place].value = .null
                }
                map.members.append(.init(entry.key, entry.value))
                Self.put(.object(map), field.name, at: place, in: &members)
                maps.insert(field.name)
            case _ where field.isRepeated:
                var list: [JSON] = []
                if let place, case .array(let found) = members[place].value {
                    list = found
                    members[place].value = .null
                }
                try element(&reader, tag, field.value, into: &list)
                Self.put(.array(list), field.name, at: place, in: &members)
            default:
                let value = try value(&reader, tag, field.value)
                if field.keepsZero || !Self.isZero(value) { Self.put(value, field.name, at: place, in: &members) }
            }
            path.leave()
        }
        for name in maps {
            guard let place = members.firstIndex(where: { $0.key == name }), let map = members[place].value.object
            else { continue }
            members[place].value = .object(Self.withoutRepeats(map))
        }
    }

    /// A key may come twice on the wire; the last one counts.
    private static func withoutRepeats(_ map: JSONObject) -> JSONObject {
        var seen: Set<String> = []
        let kept = map.members.reversed().filter { seen.insert($0.key).inserted }
        return kept.count == map.count ? map : JSONObject(kept.reversed())
    }

    private static func put(_ value: JSON, _ name: String, at place: Int?, in members: inout [JSONObject.Member]) {
        if let place { members[place].value = value } else { members.append(.init(name, value)) }
    }

    private static func isZero(_ value: JSON) -> Bool {
        switch value {
        case .null, .bool(false), .int(0), .string(""): true
        case .double(let number): number == 0
        default: false
        }
    }

    /// Numbers of a repeated field may come packed.
    private mutating func element(
        _ reader: inout ProtobufReader, _ tag: ProtobufTag, _ type: ProtobufTables.Value, into list: inout [JSON]
    ) throws(ProtobufFault) {
        let isScalar = type == .int32 || type == .int64 || type == .bool
        guard isScalar, tag.wireType == .lengthDelimited else {
            path.enter(list.count)
            list.append(try value(&reader, tag, type))
            path.leave()
            return
        }
        var packed = try reader.message(tag)
        while !packed.isAtEnd {
            let number = try packed.varint()
            list.append(type == .bool ? .bool(number != 0) : .int(Self.signed(number, type)))
        }
    }

    private static func signed(_ number: UInt64, _ type: ProtobufTables.Value) -> Int64 {
        type == .int32 ? Int64(Int32(truncatingIfNeeded: number)) : Int64(bitPattern: number)
    }

    private mutating func mapEntry(
        _ reader: inout ProtobufReader, _ tag: ProtobufTag, _ type: ProtobufTables.Value
    ) throws(ProtobufFault) -> (key: String, value: JSON) {
        var entry = try reader.message(tag)
        var key = ""
        var found: JSON?
        while let inner = try entry.nextTag() {
            switch inner.field {
            case 1: key = try entry.string(inner)
            case 2: found = try value(&entry, inner, type)
            default: try entry.skip(inner)
            }
        }
        if let found { return (key, found) }
        switch type {
        case .string, .bytes: return (key, "")
        default: return (key, .object(JSONObject()))
        }
    }

    private mutating func value(
        _ reader: inout ProtobufReader, _ tag: ProtobufTag, _ type: ProtobufTables.Value
    ) throws(ProtobufFault) -> JSON {
        switch type {
        case .string: return .string(try reader.string(tag))
        case .bytes: return .string(Base64.encode(try reader.bytes(tag)))
        case .bool: return .bool(try reader.bool(tag))
        case .int32: return .int(Int64(try reader.int32(tag)))
        case .int64: return .int(try reader.int64(tag))
        case .double: return .double(try reader.double(tag))
        case .message(let name):
            var inner = try reader.message(tag)
            return try message(&inner, name)
        case .map: return .null  // a map's values are never maps
        }
    }

    private mutating func message(_ reader: inout ProtobufReader, _ name: String) throws(ProtobufFault) -> JSON {
        let shape = ProtobufShape(name)
        if case .plain = shape {
            var members: [JSONObject.Member] = []
            try read(&reader, name, into: &members)
            return .object(JSONObject(members))
        }
        var numbers: [Int: Int64] = [:]
        var texts: [Int: ArraySlice<UInt8>] = [:]
        var strings: [JSON] = []
        var schemas: [JSON] = []
        let schemaName = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
        while let tag = try reader.nextTag() {
            switch (shape, tag.field, tag.wireType) {
            case (.schemaOrList, 1...2, .lengthDelimited), (.schemaOrBool, 2, .lengthDelimited),
                (.schemaOrStrings, 1, .lengthDelimited):
                var inner = try reader.message(tag)
                schemas.append(try message(&inner, schemaName))
            case (.list, 1, .lengthDelimited), (.schemaOrStrings, 2, .lengthDelimited):
                strings.append(.string(try reader.string(tag)))
            case (_, _, .varint): numbers[tag.field] = try reader.int64(tag)
            case (_, _, .lengthDelimited): texts[tag.field] = try reader.bytes(tag)
            default: try reader.skip(tag)
            }
        }
        func text(_ field: Int) -> String { String(decoding: texts[field] ?? [], as: UTF8.self) }
        switch shape {
        case .time, .microTime:
            if numbers.isEmpty { return .null }
            let moment = Timestamp(
                seconds: numbers[1] ?? 0,
                nanoseconds: Int32(truncatingIfNeeded: max(0, min(numbers[2] ?? 0, 999_999_999))))
            guard (-62_135_596_800...253_402_300_799).contains(moment.seconds) else {
                throw ProtobufFault(reason: .outOfRange, offset: reader.place)
            }
            if case .time = shape { return .string(moment.description) }
            return .string(moment.microText)
        case .quantity: return .string(text(1))
        case .intOrString:
            return numbers[1] == 1 ? .string(text(3)) : .int(Int64(Int32(truncatingIfNeeded: numbers[2] ?? 0)))
        case .raw:
            guard let raw = texts[1], !raw.isEmpty else { return .null }
            // A client may embed another envelope; all that is not JSON is kept as bytes.
            // What stands around it counts too.
            var duplicates: [String] = []
            let deepest = ObjectLimits.depth - ProtobufReader.deepest
            let json = try? JSON(parsing: Array(raw), duplicates: &duplicates, deepest: deepest)
            return json ?? .string(Base64.encode(raw))
        case .list: return .array(strings)
        case .schemaOrList: return schemas.count == 1 ? schemas[0] : .array(schemas)
        case .schemaOrBool: return schemas.first ?? .bool((numbers[1] ?? 0) != 0)
        case .schemaOrStrings: return schemas.first ?? .array(strings)
        case .plain: return .null
        }
    }
}

/// Writes what fits the tables. A value that does not (a list where a number should be) makes it give up: JSON is sent then.
private struct ProtobufEncoder {
    let tables: ProtobufTables

    func write(_ object: JSONObject, _ message: ProtobufTables.Message, to writer: inout ProtobufWriter) -> Bool {
        for field in message.fields {
            if field.isInline, case .message(let name) = field.value {
                guard let inner = tables.message(name) else { return false }
                let names = Set(inner.fields.map(\.name))
                guard inner.hasInline || object.contains(where: { names.contains($0.key) }) else { continue }
                var body = ProtobufWriter()
                guard write(object, inner, to: &body) else { return false }
                writer.bytes(field.number, body.bytes)
                continue
            }
            guard let value = object[field.name], !value.isNull else { continue }
            switch field.value {
            case .map(let type):
                guard let entries = value.object else { return false }
                for entry in entries {
                    var body = ProtobufWriter()
                    body.string(1, entry.key)
                    guard write(entry.value, 2, type, to: &body) else { return false }
                    writer.bytes(field.number, body.bytes)
                }
            case _ where field.isRepeated:
                guard let elements = value.array else { return false }
                for element in elements {
                    guard write(element, field.number, field.value, to: &writer) else { return false }
                }
            default:
                guard write(value, field.number, field.value, to: &writer) else { return false }
            }
        }
        return true
    }

    private func write(_ value: JSON, _ number: Int, _ type: ProtobufTables.Value, to writer: inout ProtobufWriter)
        -> Bool
    {
        switch type {
        case .string:
            guard let text = value.string else { return false }
            writer.string(number, text)
        case .bytes:
            guard let bytes = value.string.flatMap(Base64.decode) else { return false }
            writer.bytes(number, bytes)
        case .bool:
            guard let flag = value.bool else { return false }
            writer.bool(number, flag)
        case .int32, .int64:
            guard let whole = value.int else { return false }
            writer.int64(number, Int64(whole))
        case .double:
            guard let amount = value.double else { return false }
            writer.double(number, amount)
        case .message(let name):
            var body = ProtobufWriter()
            guard write(value, message: name, to: &body) else { return false }
            writer.bytes(number, body.bytes)
        case .map: return false
        }
        return true
    }

    private func write(_ value: JSON, message name: String, to body: inout ProtobufWriter) -> Bool {
        switch ProtobufShape(name) {
        case .plain:
            guard let object = value.object, let message = tables.message(name) else { return false }
            return write(object, message, to: &body)
        case .time, .microTime:
            guard let moment = value.string.flatMap({ Timestamp($0) }) else { return false }
            body.int64(1, moment.seconds)
            body.int32(2, moment.nanoseconds)
        case .quantity:
            guard let quantity = Quantity(json: value) else { return false }
            body.string(1, value.string ?? quantity.description)
        case .intOrString:
            if let text = value.string {
                body.int64(1, 1)
                body.int32(2, 0)
                body.string(3, text)
            } else if let number = value.int.flatMap({ Int32(exactly: $0) }) {
                body.int64(1, 0)
                body.int32(2, number)
                body.string(3, "")
            } else {
                return false
            }
        case .raw: body.bytes(1, value.bytes)
        case .list:
            guard let strings = value.array else { return false }
            for element in strings {
                guard let text = element.string else { return false }
                body.string(1, text)
            }
        case .schemaOrList, .schemaOrStrings, .schemaOrBool: return writeChoice(value, ProtobufShape(name), to: &body)
        }
        return true
    }

    private func writeChoice(_ value: JSON, _ shape: ProtobufShape, to body: inout ProtobufWriter) -> Bool {
        let schema = "k8s.io.apiextensions_apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
        switch (shape, value) {
        case (.schemaOrList, .object), (.schemaOrStrings, .object): return write(value, 1, .message(schema), to: &body)
        case (.schemaOrBool, .object):
            body.bool(1, true)
            return write(value, 2, .message(schema), to: &body)
        case (.schemaOrBool, .bool(let flag)): body.bool(1, flag)
        case (.schemaOrList, .array(let elements)):
            for element in elements where !write(element, 2, .message(schema), to: &body) { return false }
        case (.schemaOrStrings, .array(let elements)):
            for element in elements where !write(element, 2, .string, to: &body) { return false }
        default: return false
        }
        return true
    }
}
