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

extension ListOptions {
    /// Whether what is asked can be meant together.
    func check() throws(APIFailure) {
        func refuse(_ field: String, _ why: String) -> APIFailure {
            APIFailure(
                code: 422, reason: "Invalid", message: "ListOptions.meta.k8s.io \"\" is invalid: \(field): \(why)",
                details: [
                    "group": "meta.k8s.io", "kind": "ListOptions",
                    "causes": [["reason": "FieldValueForbidden", "message": .string(why), "field": .string(field)]],
                ])
        }
        switch resourceVersionMatch {
        case "": break
        case "Exact", "NotOlderThan":
            if resourceVersion.isEmpty {
                throw refuse(
                    "resourceVersionMatch",
                    "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided")
            }
            if !continuation.isEmpty {
                throw refuse(
                    "resourceVersionMatch", "Forbidden: resourceVersionMatch is forbidden when continue is provided")
            }
            if resourceVersionMatch == "Exact", resourceVersion == "0" {
                throw refuse(
                    "resourceVersionMatch",
                    "Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")
            }
        default:
            throw refuse(
                "resourceVersionMatch",
                "Unsupported value: \"\(resourceVersionMatch)\": supported values: \"Exact\", \"NotOlderThan\"")
        }
        if !continuation.isEmpty, !resourceVersion.isEmpty, resourceVersion != "0" {
            throw .badRequest("specifying resource version is not allowed when using continue")
        }
    }
}

struct ListResult: Sendable {
    var items: [KubeObject]
    var resourceVersion: String
    var continuation: String?
    var remaining: Int?
}

/// A list as the store has it.
struct RecordList: Sendable {
    var records: [Record]
    let revision: Int64
    var continuation: String?
    var remaining: Int?
}

extension Registry {
    func record(_ definition: ResourceDefinition, _ key: ObjectKey) throws(APIFailure) -> Record {
        let type = definition.type
        if type.isNamespaced, key.namespace.isEmpty {
            throw .badRequest("\(type.resource) \"\(key.name)\": a namespace is required")
        }
        guard let record = store.get(StorageKey.key(definition.storageType, key)) else {
            throw .notFound(type, key.name)
        }
        if encryption != nil { try requireReadable(record) }
        return record
    }

    func get(_ definition: ResourceDefinition, _ key: ObjectKey) throws(APIFailure) -> KubeObject {
        object(try record(definition, key), as: definition)
    }

    func list(
        _ definition: ResourceDefinition, namespace: String, _ selection: Selection,
        _ options: ListOptions = ListOptions()
    ) throws(APIFailure) -> ListResult {
        let found = try records(definition, namespace: namespace, selection, options)
        return ListResult(
            items: found.records.map { object($0, as: definition) }, resourceVersion: String(found.revision),
            continuation: found.continuation, remaining: found.remaining)
    }

    /// A list's records, read only as far as the selection asks.
    func records(
        _ definition: ResourceDefinition, namespace: String, _ selection: Selection,
        _ options: ListOptions = ListOptions()
    ) throws(APIFailure) -> RecordList {
        let filter = try ObjectFilter(selection, definition)
        let (snapshot, after) = try start(options)
        let scope = StorageKey.scope(definition.storageType, namespace: namespace)
        var result = RecordList(records: [], revision: snapshot.revision)
        func matches(_ record: Record) -> Bool {
            if filter.matchesAll { return true }
            return filter.matches(plainValue(record)) ?? filter.matches(object(record, as: definition))
        }
        if let name = filter.exactName, !namespace.isEmpty || !definition.type.isNamespaced {
            if let record = snapshot.index[scope + name], matches(record) { result.records.append(record) }
            return result
        }
        let isSelective = !filter.matchesAll
        var more = 0
        snapshot.index.visit(under: scope, after: after) { record in
            if options.limit > 0, result.records.count >= options.limit {
                more += 1
                // Counting what is left is only meaningful, and cheap, without selectors.
                return !isSelective
            }
            if matches(record) { result.records.append(record) }
            return true
        }
        if more > 0, let last = result.records.last {
            pages.keep(snapshot, since: store.compacted)
            result.continuation = Continuation(revision: snapshot.revision, after: last.key).token
            if !isSelective { result.remaining = more }
        }
        return result
    }

    /// The state of the store a list shows, and the key after which it goes on.
    private func start(_ options: ListOptions) throws(APIFailure) -> (StoreSnapshot, String?) {
        try options.check()
        if !options.continuation.isEmpty {
            guard let from = Continuation(token: options.continuation) else {
                throw .badRequest("continue key is not valid: \(options.continuation)")
            }
            // A token without a revision goes on in the present, as the one in a 410 answer does.
            if from.revision <= 0 { return (store.snapshot(), from.after) }
            guard let snapshot = past(from.revision) else {
                var failure = APIFailure.expired(
                    "The provided continue parameter is too old to display a consistent list result. You can start a new list"
                        + " without the continue parameter, or use the continue token in this response to retrieve the"
                        + " remainder of the results. Continuing with the provided token results in an inconsistent list."
                )
                // In the Status' own list metadata, where clients look for it.
                failure.continuation = Continuation(revision: -1, after: from.after).token
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
            guard let exact = past(asked) else {
                throw .expired("The resourceVersion for the provided list is too old.")
            }
            return (exact, nil)
        }
        return (snapshot, nil)
    }

    /// The store as it was; `nil` when nobody knows any more, or is to know.
    private func past(_ revision: Int64) -> StoreSnapshot? {
        pages.snapshot(revision, since: store.compacted) ?? (try? store.snapshot(at: revision))
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
