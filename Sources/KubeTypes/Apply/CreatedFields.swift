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
        let schema = schema
        withExtendedLifetime(schema) {
            CreatedFields.write(object.json, schema.node, except: hasStatus ? "status" : "", to: &text)
        }
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

    static func write(_ object: JSON, _ node: SchemaNode.Pointer, except: String, to text: inout JSONText) {
        guard case .object(let members) = object else { return text.put(word: "{}") }
        text.put(UInt8(ascii: "{"))
        var isFirst = true
        for place in 0..<members.members.count {
            let key = members.members[place].key
            switch key {
            case "apiVersion", "kind", except: continue
            case "metadata": writeMetadata(members.members[place].value, node.pointee.member(key), &isFirst, to: &text)
            default:
                put(key, &isFirst, &text)
                write(members.members[place].value, node.pointee.member(key), to: &text)
            }
        }
        text.put(UInt8(ascii: "}"))
    }

    private static func writeMetadata(
        _ metadata: JSON, _ node: SchemaNode.Pointer?, _ isFirst: inout Bool, to text: inout JSONText
    ) {
        guard case .object(let members) = metadata else { return }
        var isFirstOfThese = true
        for place in 0..<members.members.count {
            let key = members.members[place].key
            if server.contains(key) { continue }
            if isFirstOfThese {
                put("metadata", &isFirst, &text)
                text.put(UInt8(ascii: "{"))
            }
            put(key, &isFirstOfThese, &text)
            write(members.members[place].value, node?.pointee.member(key), to: &text)
        }
        if !isFirstOfThese { text.put(UInt8(ascii: "}")) }
    }

    private static func put(_ key: String, _ isFirst: inout Bool, _ text: inout JSONText) {
        if !isFirst { text.put(UInt8(ascii: ",")) }
        isFirst = false
        text.put("f:", quoted: key)
        text.put(UInt8(ascii: ":"))
    }

    private static func write(_ value: JSON, _ node: SchemaNode.Pointer?, to text: inout JSONText) {
        text.put(UInt8(ascii: "{"))
        var isFirst = true
        writeParts(of: value, node, &isFirst, to: &text)
        text.put(UInt8(ascii: "}"))
    }

    /// Nothing for a value that is owned as a whole.
    private static func writeParts(
        of value: JSON, _ node: SchemaNode.Pointer?, _ isFirst: inout Bool, to text: inout JSONText
    ) {
        switch value {
        case .object(let object):
            if let node, node.pointee.flags.contains(.isWhole) { return }
            for place in 0..<object.members.count {
                let key = object.members[place].key
                put(key, &isFirst, &text)
                write(object.members[place].value, node?.pointee.member(key), to: &text)
            }
        case .array(let elements):
            guard let node, !elements.isEmpty, node.pointee.listType == .map || node.pointee.listType == .set else {
                return
            }
            let parts = node.pointee.schema._withUnsafeGuaranteedRef { FieldParts.of(value, $0) }
            guard let parts else { return }
            for (place, part) in parts.enumerated() {
                if !isFirst { text.put(UInt8(ascii: ",")) }
                isFirst = false
                text.put(quoted: part.step)
                text.put(word: ":{")
                if node.pointee.listType == .map {
                    text.put(word: "\".\":{}")
                    var isFirstOfThese = false
                    writeParts(of: elements[place], node.pointee.items, &isFirstOfThese, to: &text)
                }
                text.put(UInt8(ascii: "}"))
            }
        default: break
        }
    }
}
