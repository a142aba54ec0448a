import KubeClient
import KubeTypes
import Store
import Wire

/// What a list request asks beside the selection.
struct ListOptions: Sendable {
    var limit = 0
    var continuation = ""
    var resourceVersion = ""
    var resourceVersionMatch = ""
}

struct ListResult: Sendable {
    var items: [KubeObject]
    var resourceVersion: String
    var continuation: String?
    var remaining: Int?
}

extension Registry {
    func record(_ type: ResourceType, _ key: ObjectKey) throws(APIFailure) -> Record {
        if type.isNamespaced, key.namespace.isEmpty {
            throw .badRequest("\(type.resource) \"\(key.name)\": a namespace is required")
        }
        guard let record = store.get(StorageKey.key(type, key)) else { throw .notFound(type, key.name) }
        if encryption != nil { try requireReadable(record) }
        return record
    }

    func get(_ definition: ResourceDefinition, _ key: ObjectKey) throws(APIFailure) -> KubeObject {
        object(try record(definition.type, key), as: definition)
    }

    func list(
        _ definition: ResourceDefinition, namespace: String, _ selection: Selection,
        _ options: ListOptions = ListOptions()
    ) throws(APIFailure) -> ListResult {
        let filter = try ObjectFilter(selection, definition)
        let (snapshot, after) = try start(options)
        let scope = StorageKey.scope(definition.type, namespace: namespace)
        var items: [KubeObject] = []
        var last: String?
        var more = 0
        if let name = filter.exactName, !namespace.isEmpty || !definition.type.isNamespaced {
            if let record = snapshot.index[scope + name] {
                let object = object(record, as: definition)
                if filter.matches(object) { items.append(object) }
            }
            return ListResult(items: items, resourceVersion: String(snapshot.revision))
        }
        let isSelective = !filter.matchesAll
        snapshot.index.visit(under: scope, after: after) { record in
            if options.limit > 0, items.count >= options.limit {
                more += 1
                // Counting what is left is only meaningful, and cheap, without selectors.
                return !isSelective
            }
            let object = object(record, as: definition)
            if filter.matches(object) {
                items.append(object)
                last = record.key
            }
            return true
        }
        var result = ListResult(items: items, resourceVersion: String(snapshot.revision))
        if more > 0, let last {
            pages.keep(snapshot)
            result.continuation = Continuation(revision: snapshot.revision, after: last).token
            if !isSelective { result.remaining = more }
        }
        return result
    }

    /// The state of the store a list shows, and the key after which it goes on.
    private func start(_ options: ListOptions) throws(APIFailure) -> (StoreSnapshot, String?) {
        if !options.continuation.isEmpty {
            guard let from = Continuation(token: options.continuation) else {
                throw .badRequest("continue key is not valid: \(options.continuation)")
            }
            // A token without a revision goes on in the present, as the one in a 410 answer does.
            if from.revision <= 0 { return (store.snapshot(), from.after) }
            guard let snapshot = pages.snapshot(from.revision) else {
                var failure = APIFailure.expired(
                    "The provided continue parameter is too old to display a consistent list result. You can start a new list"
                        + " without the continue parameter, or use the continue token in this response to retrieve the"
                        + " remainder of the results. Continuing with the provided token results in an inconsistent list."
                )
                failure.details = ["continue": .string(Continuation(revision: -1, after: from.after).token)]
                throw failure
            }
            return (snapshot, from.after)
        }
        let snapshot = store.snapshot()
        if options.resourceVersion.isEmpty || options.resourceVersion == "0" { return (snapshot, nil) }
        guard let asked = Int64(options.resourceVersion), asked > 0 else {
            throw .badRequest(
                "resourceVersion: Invalid value: \"\(options.resourceVersion)\": it is not a resource version of this server"
            )
        }
        guard asked <= snapshot.revision else { throw Self.tooLarge(asked, snapshot.revision) }
        if options.resourceVersionMatch == "Exact", asked != snapshot.revision {
            if let exact = pages.snapshot(asked) { return (exact, nil) }
            guard let exact = try? store.snapshot(at: asked) else {
                throw .expired("The resourceVersion for the provided list is too old.")
            }
            return (exact, nil)
        }
        return (snapshot, nil)
    }

    static func tooLarge(_ asked: Int64, _ latest: Int64) -> APIFailure {
        APIFailure(
            code: 504, reason: "Timeout", message: "Too large resource version: \(asked), current: \(latest)",
            details: [
                "causes": [["reason": "ResourceVersionTooLarge", "message": "Too large resource version"]],
                "retryAfterSeconds": 1,
            ])
    }
}
