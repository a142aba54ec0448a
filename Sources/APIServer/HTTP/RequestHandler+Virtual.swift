import KubeTypes
import NIOHTTP1
import Store
import Transport
import Wire

extension RequestHandler {
    /// Resources of the core group that nobody stores: bindings, which are requests, and the component statuses of old.
    ///
    /// - Returns: whether the request was for one of them.
    func serveVirtual(
        _ request: APIRequest, _ route: ResourceRoute, _ definition: ResourceDefinition, _ answers: Answers,
        _ warnings: WarningSink
    ) async throws(APIFailure) -> Bool {
        switch (route.resource, request.http.method) {
        case ("bindings", .POST) where route.name.isEmpty:
            let context = try request.context(warnings)
            let (body, _) = try request.tree(try await request.body())
            guard let pod = body["metadata"]?["name"]?.string, !pod.isEmpty else {
                throw .invalid(definition.type, "", [FieldFault(.required, "metadata.name", "name is required")])
            }
            try await bind(ObjectKey(namespace: route.namespace, name: pod), body, context)
            await answers.sendStatus([:], .created)
        case ("componentstatuses", .GET) where request.query.flag("watch"): throw Self.notAllowed(request)
        case ("componentstatuses", .GET) where route.name.isEmpty:
            let items = Self.components.map(componentStatus)
            let version = String(registry.store.revision)
            try await answers.sendList(ListResult(items: items, resourceVersion: version))
        case ("componentstatuses", .GET):
            guard Self.components.contains(route.name) else { throw .notFound(definition.type, route.name) }
            try await answers.send(.ok, componentStatus(route.name))
        default: return false
        }
        return true
    }

    func bind(_ pod: ObjectKey, _ body: JSON, _ context: WriteContext) async throws(APIFailure) {
        try await registry.bind(
            pod, uid: body["metadata"]?["uid"]?.string ?? "", node: body["target"]?["name"]?.string ?? "",
            annotations: body["metadata"]?["annotations"]?.stringMap ?? [:], context)
    }

    /// One process holds them all: that it answers says that they run.
    private static let components = ["controller-manager", "etcd-0", "scheduler"]

    private func componentStatus(_ name: String) -> KubeObject {
        KubeObject([
            "kind": "ComponentStatus", "apiVersion": "v1", "metadata": ["name": .string(name)],
            "conditions": [["type": "Healthy", "status": "True", "message": "ok"]],
        ])
    }
}
