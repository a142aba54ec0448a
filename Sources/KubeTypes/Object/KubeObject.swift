package import Wire

/// One API object: its JSON, with the fields every kind has by name.
///
/// The JSON keeps fields this program does not know. Fields of a kind are read through its constants: `pod[Pod.nodeName]`.
package struct KubeObject: Sendable, Hashable {
    package var json: JSON

    package init(_ json: JSON) { self.json = json }

    package init(apiVersion: String, kind: String, namespace: String = "", name: String) {
        json = ["apiVersion": .string(apiVersion), "kind": .string(kind), "metadata": ["name": .string(name)]]
        if !namespace.isEmpty { json["metadata"]?["namespace"] = .string(namespace) }
    }

    package var apiVersion: String { json["apiVersion"]?.string ?? "" }
    package var kind: String { json["kind"]?.string ?? "" }
    package var key: ObjectKey { ObjectKey(namespace: namespace, name: name) }

    package var metadata: JSON {
        get { json["metadata"] ?? .object(JSONObject()) }
        set { json["metadata"] = newValue }
        _modify { yield &json["metadata", default: .object(JSONObject())] }
    }

    package var name: String {
        get { json["metadata"]?["name"]?.string ?? "" }
        set { json[path: ["metadata", "name"]] = .string(newValue) }
    }
    /// Empty for cluster-scoped objects.
    package var namespace: String {
        get { json["metadata"]?["namespace"]?.string ?? "" }
        set { json[path: ["metadata", "namespace"]] = newValue.isEmpty ? nil : .string(newValue) }
    }
    package var uid: String { json["metadata"]?["uid"]?.string ?? "" }
    package var resourceVersion: String {
        get { json["metadata"]?["resourceVersion"]?.string ?? "" }
        set { json[path: ["metadata", "resourceVersion"]] = newValue.isEmpty ? nil : .string(newValue) }
    }
    package var generation: Int { json["metadata"]?["generation"]?.int ?? 0 }
    /// RFC 3339, or `nil` while the object is not being deleted.
    package var deletionTimestamp: String? { json["metadata"]?["deletionTimestamp"]?.string }
    package var creationTimestamp: String? { json["metadata"]?["creationTimestamp"]?.string }
    package var labels: [String: String] {
        get { json["metadata"]?["labels"]?.stringMap ?? [:] }
        set { json[path: ["metadata", "labels"]] = newValue.isEmpty ? nil : JSON(newValue) }
    }
    package var annotations: [String: String] {
        get { json["metadata"]?["annotations"]?.stringMap ?? [:] }
        set { json[path: ["metadata", "annotations"]] = newValue.isEmpty ? nil : JSON(newValue) }
    }
    package var finalizers: [String] {
        get { json["metadata"]?["finalizers"]?.array?.compactMap(\.string) ?? [] }
        set { json[path: ["metadata", "finalizers"]] = newValue.isEmpty ? nil : .array(newValue.map(JSON.string)) }
    }
    package var ownerReferences: [OwnerReference] {
        get { json["metadata"]?["ownerReferences"]?.array?.map(OwnerReference.init) ?? [] }
        set { json[path: ["metadata", "ownerReferences"]] = newValue.isEmpty ? nil : .array(newValue.map(\.json)) }
    }
    /// The owner that manages this object, if it has one.
    package var controller: OwnerReference? { ownerReferences.first(where: \.isController) }

    package var spec: JSON {
        get { json["spec"] ?? .object(JSONObject()) }
        set { json["spec"] = newValue }
    }
    package var status: JSON {
        get { json["status"] ?? .object(JSONObject()) }
        set { json["status"] = newValue }
    }

    /// What an error names it by: `deployments.apps "web"` is the API's way, `Deployment demo/web` ours.
    package var label: String { namespace.isEmpty ? "\(kind) \(name)" : "\(kind) \(namespace)/\(name)" }
}

package struct OwnerReference: Sendable, Hashable {
    package var apiVersion: String
    package var kind: String
    package var name: String
    package var uid: String
    package var isController: Bool
    package var blocksDeletion: Bool

    package init(controlledBy owner: KubeObject) {
        apiVersion = owner.apiVersion
        kind = owner.kind
        name = owner.name
        uid = owner.uid
        isController = true
        blocksDeletion = true
    }

    package init(_ json: JSON) {
        apiVersion = json["apiVersion"]?.string ?? ""
        kind = json["kind"]?.string ?? ""
        name = json["name"]?.string ?? ""
        uid = json["uid"]?.string ?? ""
        isController = json["controller"]?.bool ?? false
        blocksDeletion = json["blockOwnerDeletion"]?.bool ?? false
    }

    package var json: JSON {
        [
            "apiVersion": .string(apiVersion), "kind": .string(kind), "name": .string(name), "uid": .string(uid),
            "controller": .bool(isController), "blockOwnerDeletion": .bool(blocksDeletion),
        ]
    }
}

/// A namespace and a name; the namespace is empty for cluster-scoped objects.
package struct ObjectKey: Sendable, Hashable, Comparable, CustomStringConvertible {
    package var namespace: String
    package var name: String
    package init(namespace: String = "", name: String) {
        self.namespace = namespace
        self.name = name
    }
    package var description: String { namespace.isEmpty ? name : "\(namespace)/\(name)" }
    package static func < (one: ObjectKey, other: ObjectKey) -> Bool {
        (one.namespace, one.name) < (other.namespace, other.name)
    }
}

/// A field of a kind: where it is and what type it has. `pod[Pod.nodeName] = "node-1"`.
package struct Field<Value: JSONValue>: Sendable {
    package let path: [String]
    package init(_ path: String...) { self.path = path }
}

/// What a typed field can hold.
package protocol JSONValue: Sendable {
    init?(json: JSON)
    var json: JSON { get }
}

extension String: JSONValue {
    package init?(json: JSON) {
        guard let value = json.string else { return nil }
        self = value
    }
    package var json: JSON { .string(self) }
}
extension Int: JSONValue {
    package init?(json: JSON) {
        guard let value = json.int else { return nil }
        self = value
    }
    package var json: JSON { .int(Int64(self)) }
}
extension Bool: JSONValue {
    package init?(json: JSON) {
        guard let value = json.bool else { return nil }
        self = value
    }
    package var json: JSON { .bool(self) }
}
extension JSON: JSONValue {
    package init?(json: JSON) { self = json }
    package var json: JSON { self }
}
extension Array: JSONValue where Element: JSONValue {
    package init?(json: JSON) {
        guard let elements = json.array else { return nil }
        self = elements.compactMap(Element.init(json:))
    }
    package var json: JSON { .array(map(\.json)) }
}
extension Dictionary: JSONValue where Key == String, Value == String {
    package init?(json: JSON) {
        guard let map = json.stringMap else { return nil }
        self = map
    }
    package var json: JSON { JSON(self) }
}

extension KubeObject {
    // The common types by themselves: what is generic is not made for each type across modules, and costs ten times as much.
    package subscript(field: Field<String>) -> String? {
        get { json[path: field.path]?.string }
        set { json[path: field.path] = newValue.map(JSON.string) }
    }
    package subscript(field: Field<[JSON]>) -> [JSON]? {
        get { json[path: field.path]?.array }
        set { json[path: field.path] = newValue.map(JSON.array) }
    }
    package subscript(field: Field<Bool>) -> Bool? {
        get { json[path: field.path]?.bool }
        set { json[path: field.path] = newValue.map(JSON.bool) }
    }
    package subscript<Value>(field: Field<Value>) -> Value? {
        get { json[path: field.path].flatMap(Value.init(json:)) }
        set { json[path: field.path] = newValue?.json }
    }
}

extension JSON {
    /// A typed field of a part of an object, such as one container: `container[Container.image]`.
    package subscript<Value>(field: Field<Value>) -> Value? {
        get { self[path: field.path].flatMap(Value.init(json:)) }
        set { self[path: field.path] = newValue?.json }
    }
}
