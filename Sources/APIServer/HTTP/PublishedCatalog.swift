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

/// What other servers serve behind this one.
struct RemoteGroups: Sendable, Hashable {
    /// `APIGroupDiscovery` entries.
    var groups: [JSON] = []
    /// Entries of OpenAPI's index, by the documents' paths.
    var documents: [JSONObject.Member] = []
}

/// What the server serves at one time, and the documents that say so, each made once.
///
/// A change of the kinds makes a new one; documents of groups that did not change are taken over.
final class PublishedCatalog: Sendable {
    let catalog: SchemaCatalog
    let openAPI: OpenAPIDocuments
    let remote: RemoteGroups
    private let discovery = Mutex<[Bool: TaggedDocument]>([:])
    /// By whether it is protobuf.
    private let older = Mutex<[Bool: TaggedDocument]>([:])

    init(_ catalog: SchemaCatalog, remote: RemoteGroups = RemoteGroups(), after before: PublishedCatalog? = nil) {
        self.catalog = catalog
        self.remote = remote
        openAPI = OpenAPIDocuments(catalog, after: before?.openAPI)
    }

    /// `GET /api` (`legacy`) and `GET /apis` in aggregated form.
    func aggregated(legacy: Bool) -> TaggedDocument {
        if let made = discovery.withLock({ $0[legacy] }) { return made }
        var json = catalog.aggregatedDiscovery(legacy: legacy)
        if !legacy, !remote.groups.isEmpty { json = Self.merged(json, remote.groups) }
        let made = TaggedDocument(json.bytes)
        discovery.withLock { $0[legacy] = made }
        return made
    }

    /// `GET /openapi/v2`.
    func openAPIV2(asProtobuf isProtobuf: Bool) -> TaggedDocument {
        if let made = older.withLock({ $0[isProtobuf] }) { return made }
        let document = OpenAPIV2.document(openAPI, catalog)
        let made = TaggedDocument(isProtobuf ? OpenAPIV2Protobuf.encode(document) : document.bytes)
        older.withLock { $0[isProtobuf] = made }
        return made
    }

    /// `GET /openapi/v3`.
    func openAPIIndex() -> JSON {
        var index = openAPI.index()
        if !remote.documents.isEmpty, var paths = index["paths"]?.object {
            paths.members += remote.documents
            index["paths"] = .object(paths)
        }
        return index
    }

    /// `GET /apis`, for clients that know no aggregated form.
    func legacyGroups() -> JSON {
        var list = catalog.legacyGroups()
        let known = Set(list.array(at: "groups").map { $0["name"]?.string ?? "" })
        let more = remote.groups.map(RemoteDiscovery.legacyGroup).filter { !known.contains($0["name"]?.string ?? "") }
        if !more.isEmpty { list["groups"] = .array(list.array(at: "groups") + more) }
        return list
    }

    /// `GET /apis/<group>`; `nil` for a group that nobody serves.
    func legacyGroup(_ name: String) -> JSON? {
        if let own = catalog.legacyGroup(name) { return own }
        guard let found = remote.groups.first(where: { $0["metadata"]?["name"]?.string == name }) else { return nil }
        var group = RemoteDiscovery.legacyGroup(found)
        group["kind"] = "APIGroup"
        group["apiVersion"] = "v1"
        return group
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
