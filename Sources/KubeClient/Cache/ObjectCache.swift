package import KubeTypes
import Synchronization

/// What a cache groups its objects by, under a name: the values an object is found under.
package struct CacheIndex: Sendable {
    package let name: String
    package let values: @Sendable (KubeObject) -> [String]

    package init(_ name: String, _ values: @escaping @Sendable (KubeObject) -> [String]) {
        self.name = name
        self.values = values
    }

    /// By the uid of each owner.
    package static let owner = CacheIndex("owner") { $0.ownerReferences.map(\.uid) }
    /// By uid.
    package static let uid = CacheIndex("uid") { [$0.uid] }
    /// By the value of one label; objects without it are not in the index.
    package static func label(_ key: String) -> CacheIndex {
        CacheIndex("label:" + key) { $0.labels[key].map { [$0] } ?? [] }
    }
    /// By a text field, such as `spec.nodeName`.
    package static func field(_ field: Field<String>) -> CacheIndex {
        CacheIndex("field:" + field.path.joined(separator: ".")) { $0[field].map { [$0] } ?? [] }
    }
}

/// A change of one object, as the cache saw it.
package enum CacheChange: Sendable {
    case added(KubeObject)
    case changed(from: KubeObject, to: KubeObject)
    /// With the object as last seen.
    case removed(KubeObject)

    /// The object after the change, or as it last was.
    package var object: KubeObject {
        switch self {
        case .added(let object), .changed(_, let object), .removed(let object): object
        }
    }
    package var isRemoval: Bool {
        if case .removed = self { true } else { false }
    }
    package var key: ObjectKey { object.key }
}

/// The objects of one type as last told by the server. Readers never wait for the network; what they see may be a little old.
package final class ObjectCache: Sendable {
    private struct Contents {
        var objects: [ObjectKey: KubeObject] = [:]
        var namespaces: [String: Set<ObjectKey>] = [:]
        var groups: [String: [String: Set<ObjectKey>]] = [:]
        var indexes: [CacheIndex] = []
        var version = 0
    }
    private let contents: Mutex<Contents>

    package init(indexes: [CacheIndex] = []) {
        var start = Contents()
        start.indexes = [.owner]
        for index in indexes where !start.indexes.contains(where: { $0.name == index.name }) {
            start.indexes.append(index)
        }
        contents = Mutex(start)
    }

    package subscript(key: ObjectKey) -> KubeObject? { contents.withLock { $0.objects[key] } }

    /// The newest resource version seen, as the number our servers make it; 0 before the first list.
    package var version: Int { contents.withLock { $0.version } }

    package var count: Int { contents.withLock { $0.objects.count } }
    package var keys: [ObjectKey] { contents.withLock { Array($0.objects.keys) } }
    package var all: [KubeObject] { contents.withLock { Array($0.objects.values) } }

    /// - Parameter namespace: empty for all namespaces.
    package func list(namespace: String, matching selector: LabelSelector = .everything) -> [KubeObject] {
        let found = contents.withLock { contents in
            if namespace.isEmpty { return Array(contents.objects.values) }
            return (contents.namespaces[namespace] ?? []).compactMap { contents.objects[$0] }
        }
        return selector.isEmpty ? found : found.filter(selector.matches)
    }

    /// The objects an index has under `value`. The cache must have been made with that index, or be given it by `add`.
    package func list(by index: CacheIndex, _ value: String) -> [KubeObject] {
        contents.withLock { contents in
            precondition(
                contents.indexes.contains { $0.name == index.name }, "the cache has no index \"\(index.name)\"")
            return (contents.groups[index.name]?[value] ?? []).compactMap { contents.objects[$0] }
        }
    }

    package func owned(by uid: String) -> [KubeObject] { list(by: .owner, uid) }

    /// Adds an index; objects already here are put into it.
    package func add(_ index: CacheIndex) {
        contents.withLock { contents in
            guard !contents.indexes.contains(where: { $0.name == index.name }) else { return }
            contents.indexes.append(index)
            for (key, object) in contents.objects {
                for value in index.values(object) {
                    contents.groups[index.name, default: [:]][value, default: []].insert(key)
                }
            }
        }
    }

    // MARK: Written by the informer

    /// The change this makes, or `nil` when the cache has this version already.
    func set(_ object: KubeObject) -> CacheChange? {
        contents.withLock { contents in
            let key = object.key
            let old = contents.objects[key]
            contents.version = max(contents.version, Int(object.resourceVersion) ?? 0)
            if let old {
                if old.uid == object.uid, old.resourceVersion == object.resourceVersion { return nil }
                Self.unlink(old, &contents)
            }
            contents.objects[key] = object
            Self.link(object, &contents)
            return old.map { .changed(from: $0, to: object) } ?? .added(object)
        }
    }

    /// Notes that all changes up to a version are in the cache; what is set tells its own.
    func advance(to version: String) {
        guard let version = Int(version) else { return }
        contents.withLock { $0.version = max($0.version, version) }
    }

    func remove(_ key: ObjectKey) -> CacheChange? {
        contents.withLock { contents in
            guard let old = contents.objects.removeValue(forKey: key) else { return nil }
            Self.unlink(old, &contents)
            return .removed(old)
        }
    }

    /// Makes the contents equal to a list; the changes that takes, removals first.
    func replace(with list: KubeList) -> [CacheChange] {
        let objects = list.items
        let wanted = Set(objects.map(\.key))
        let gone = keys.filter { !wanted.contains($0) }
        let changes = gone.compactMap(remove) + objects.compactMap(set)
        contents.withLock { $0.version = Int(list.resourceVersion) ?? $0.version }
        return changes
    }

    private static func link(_ object: KubeObject, _ contents: inout Contents) {
        let key = object.key
        contents.namespaces[key.namespace, default: []].insert(key)
        for index in contents.indexes {
            for value in index.values(object) {
                contents.groups[index.name, default: [:]][value, default: []].insert(key)
            }
        }
    }

    private static func unlink(_ object: KubeObject, _ contents: inout Contents) {
        let key = object.key
        contents.namespaces[key.namespace]?.remove(key)
        if contents.namespaces[key.namespace]?.isEmpty == true { contents.namespaces[key.namespace] = nil }
        for index in contents.indexes {
            for value in index.values(object) {
                contents.groups[index.name]?[value]?.remove(key)
                if contents.groups[index.name]?[value]?.isEmpty == true { contents.groups[index.name]?[value] = nil }
            }
        }
    }
}
