import KubeTypes
import Synchronization
import TLS
import Wire

/// A document with the tag that tells its states apart.
struct TaggedDocument: Sendable {
    let bytes: [UInt8]
    /// An `ETag`, quotes included.
    let tag: String

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        let digits = Array("0123456789ABCDEF")
        tag = "\"" + String(sha256(bytes).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }) + "\""
    }
}

/// What the server serves at one time, and the documents that say so, each made once.
///
/// A change of the kinds makes a new one; documents of groups that did not change are taken over.
final class PublishedCatalog: Sendable {
    let catalog: SchemaCatalog
    let openAPI: OpenAPIDocuments
    /// Groups that other servers serve, as `APIGroupDiscovery`.
    let remote: [JSON]
    private let discovery = Mutex<[Bool: TaggedDocument]>([:])
    private let older = Mutex<TaggedDocument?>(nil)

    init(_ catalog: SchemaCatalog, remote: [JSON] = [], after before: PublishedCatalog? = nil) {
        self.catalog = catalog
        self.remote = remote
        openAPI = OpenAPIDocuments(catalog, after: before?.openAPI)
    }

    /// `GET /api` (`legacy`) and `GET /apis` in aggregated form.
    func aggregated(legacy: Bool) -> TaggedDocument {
        if let made = discovery.withLock({ $0[legacy] }) { return made }
        var json = catalog.aggregatedDiscovery(legacy: legacy)
        if !legacy, !remote.isEmpty { json = Self.merged(json, remote) }
        let made = TaggedDocument(json.bytes)
        discovery.withLock { $0[legacy] = made }
        return made
    }

    /// `GET /openapi/v2`.
    func openAPIV2() -> TaggedDocument {
        if let made = older.withLock({ $0 }) { return made }
        let made = TaggedDocument(OpenAPIV2.document(openAPI, catalog))
        older.withLock { $0 = made }
        return made
    }

    /// A group may have versions here and versions elsewhere.
    private static func merged(_ list: JSON, _ remote: [JSON]) -> JSON {
        var items = list.array(at: "items")
        for group in remote {
            let name = group["metadata"]?["name"]
            guard let place = items.firstIndex(where: { $0["metadata"]?["name"] == name }) else {
                items.append(group)
                continue
            }
            let known = items[place].array(at: "versions")
            let names = known.map { $0["version"] ?? "" }
            let more = group.array(at: "versions").filter { !names.contains($0["version"] ?? "") }
            items[place]["versions"] = .array(known + more)
        }
        var merged = list
        merged["items"] = .array(items)
        return merged
    }
}

extension JSON {
    /// The elements of a list under a member; none when it is missing.
    func array(at member: String) -> [JSON] { self[member]?.array ?? [] }
}
