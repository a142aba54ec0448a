import Synchronization
package import Wire

/// The named schemas, each parsed when first asked for.
package final class SchemaLibrary: Sendable {
    package static let builtIn = SchemaLibrary()

    private let file: EmbeddedFile
    private let entries: [String: Range<Int>]
    private let parsed = Mutex<[String: Schema]>([:])

    private init() {
        let file = EmbeddedFile("kubernetes-api")
        var entries: [String: Range<Int>] = [:]
        for (key, value) in file.entries() { entries[key] = value }
        self.file = file
        self.entries = entries
    }

    package var names: [String] { entries.keys.sorted() }

    /// The definition as it stands in the data; references in it are bare names.
    package func json(_ name: String) -> JSON? { entries[name].map { file.parse($0) } }

    /// A name that is not in the data stands for any value: references into groups we do not carry.
    package func schema(_ name: String) -> Schema {
        if let schema = parsed.withLock({ $0[name] }) { return schema }
        let schema = Schema(json(name) ?? [:], name: name, isCustom: false)
        parsed.withLock { $0[name] = schema }
        return schema
    }
}

extension SchemaLibrary {
    package static let objectMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
}
