import Wire

extension ResourceDefinition {
    /// The `managedFields` of a new object, all of them its creator's, as text.
    package func createdFields(_ object: KubeObject, manager: String, now: Timestamp) -> [UInt8] {
        var text = JSONText(capacity: 2048)
        text.put(word: "[{\"manager\":")
        text.put(quoted: manager)
        text.put(word: ",\"operation\":\"Update\",\"apiVersion\":")
        text.put(quoted: object.apiVersion)
        text.put(word: ",\"time\":")
        text.put(quoted: now.description)
        text.put(word: ",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":")
        CreatedFields.write(object.json, schema, except: hasStatus ? "status" : "", to: &text)
        text.put(word: "}]")
        return text.bytes
    }
}

/// Which fields an object has: written at once, without a set or a tree in between, since each create needs it.
private enum CreatedFields {
    private static let server: Set<String> = [
        "name", "namespace", "creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid",
        "generateName", "deletionTimestamp", "deletionGracePeriodSeconds",
    ]

    static func write(_ object: JSON, _ schema: Schema, except: String, to text: inout JSONText) {
        text.put(UInt8(ascii: "{"))
        var isFirst = true
        for member in object.object ?? JSONObject() {
            switch member.key {
            case "apiVersion", "kind", except: continue
            case "metadata":
                let inner = schema.link(member.key)?.schema
                let kept = (member.value.object ?? JSONObject()).filter { !server.contains($0.key) }
                if kept.isEmpty { continue }
                put(member.key, &isFirst, &text)
                text.put(UInt8(ascii: "{"))
                var isFirstOfThese = true
                for field in kept {
                    put(field.key, &isFirstOfThese, &text)
                    write(field.value, inner?.link(field.key)?.schema, to: &text)
                }
                text.put(UInt8(ascii: "}"))
            default:
                put(member.key, &isFirst, &text)
                write(member.value, schema.link(member.key)?.schema, to: &text)
            }
        }
        text.put(UInt8(ascii: "}"))
    }

    private static func put(_ key: String, _ isFirst: inout Bool, _ text: inout JSONText) {
        if !isFirst { text.put(UInt8(ascii: ",")) }
        isFirst = false
        text.put("f:", quoted: key)
        text.put(UInt8(ascii: ":"))
    }

    private static func write(_ value: JSON, _ schema: Schema?, to text: inout JSONText) {
        text.put(UInt8(ascii: "{"))
        var isFirst = true
        writeParts(of: value, schema, &isFirst, to: &text)
        text.put(UInt8(ascii: "}"))
    }

    /// Nothing for a value that is owned as a whole.
    private static func writeParts(
        of value: JSON, _ schema: Schema?, _ isFirst: inout Bool, to text: inout JSONText
    ) {
        switch value {
        case .object(let object):
            if schema?.isAtomicMap == true || schema?.isEmbeddedResource == true { return }
            for place in 0..<object.members.count {
                let key = object.members[place].key
                put(key, &isFirst, &text)
                write(object.members[place].value, schema?.link(key)?.schema, to: &text)
            }
        case .array(let elements):
            guard let parts = FieldParts.of(value, schema), !elements.isEmpty else { return }
            for part in parts {
                if !isFirst { text.put(UInt8(ascii: ",")) }
                isFirst = false
                text.put(quoted: part.step)
                text.put(word: ":{")
                if part.step.hasPrefix("k:") {
                    text.put(word: "\".\":{}")
                    var isFirstOfThese = false
                    writeParts(of: part.value, part.schema, &isFirstOfThese, to: &text)
                }
                text.put(UInt8(ascii: "}"))
            }
        default: break
        }
    }
}
