package import KubeClient
package import KubeTypes
package import Wire

/// The API for parts of our own that live in the server's process: the same rules and checks, without the socket.
package struct InProcessAPI: KubeAPI {
    private let registry: Registry
    private let access: AccessControl
    private let extensions: ExtensionList
    private let user: User

    init(_ registry: Registry, _ access: AccessControl, _ extensions: ExtensionList, user: User) {
        self.registry = registry
        self.access = access
        self.extensions = extensions
        self.user = user
    }

    private var context: WriteContext {
        var context = WriteContext(user: user)
        context.fieldManager = user.name
        context.fieldValidation = .strict
        return context
    }

    private func begin(
        _ verb: String, _ type: ResourceType, namespace: String = "", name: String = "", subresource: String? = nil,
        fields: String = "", from resourceVersion: String = ""
    ) async throws(APIFailure) -> ResourceDefinition {
        let one = FieldSelector.value(of: "metadata.name", in: fields) ?? name
        try access.authorizer.check(
            Attempt(user, verb, type, namespace: namespace, name: one, subresource: subresource, fields: fields))
        if registry.isShared { try await registry.catchUp(verb, from: resourceVersion) }
        return try registry.definition(of: type)
    }

    package func served(_ kind: String, apiVersion: String) async throws(APIFailure) -> ResourceType {
        try registry.catalog.type(served: kind, apiVersion: apiVersion)
    }

    package func get(
        _ type: ResourceType, _ key: ObjectKey, subresource: String?
    ) async throws(APIFailure) -> KubeObject {
        let definition = try await begin(
            "get", type, namespace: key.namespace, name: key.name, subresource: subresource)
        switch subresource {
        case nil: return try await registry.read(definition, key)
        case "scale": return try await registry.scale(definition, key)
        case "status" where definition.hasStatus: return try await registry.read(definition, key)
        default: throw RequestHandler.noSuchPath
        }
    }

    package func list(_ type: ResourceType, namespace: String, _ selection: Selection) async throws(APIFailure)
        -> KubeList
    {
        let definition = try await begin("list", type, namespace: namespace, fields: selection.fields)
        let path = type.path(namespace: namespace)
        if type.group == ResourceType.podMetrics.group, let part = extensions.first(for: path) {
            let query = [("labelSelector", selection.labels)]
            let answer = try await part.answer(method: "GET", path: path, query: query, body: [])
            return KubeList(items: (answer["items"]?.array ?? []).map { KubeObject($0) }, resourceVersion: "")
        }
        let found = try registry.list(definition, namespace: namespace, selection)
        let items = try await registry.shown(found.items, as: definition)
        return KubeList(items: items, resourceVersion: found.resourceVersion)
    }

    package func create(_ type: ResourceType, _ object: KubeObject) async throws(APIFailure) -> KubeObject {
        let definition = try await begin("create", type, namespace: object.namespace)
        let (fitted, _) = try definition.decode(object.json, fieldValidation: .strict)
        if !definition.isStored, Reviews.isAnswered(type) {
            let asked = try await registry.admitReview(definition, namespace: object.namespace, fitted, context)
            return try await access.reviews.answer(asked, type, namespace: object.namespace, user)
        }
        return try await registry.create(definition, namespace: object.namespace, fitted, context)
    }

    package func update(
        _ type: ResourceType, _ object: KubeObject, subresource: String?
    ) async throws(APIFailure) -> KubeObject {
        let definition = try await begin(
            "update", type, namespace: object.namespace, name: object.name, subresource: subresource)
        if subresource == "scale" {
            return try await registry.changeScale(definition, object.key, context) { _ throws(APIFailure) in object }
        }
        let (fitted, _) = try definition.decode(object.json, fieldValidation: .strict)
        return try await registry.update(definition, object.key, fitted, subresource: subresource, context)
    }

    package func patch(
        _ type: ResourceType, _ key: ObjectKey, _ kind: PatchKind, _ body: JSON, subresource: String?
    ) async throws(APIFailure) -> KubeObject {
        let definition = try await begin(
            "patch", type, namespace: key.namespace, name: key.name, subresource: subresource)
        if subresource == "scale" { return try await registry.patchScale(definition, key, kind, body, context) }
        var context = context
        context.force = true
        return try await registry.patch(definition, key, kind, body, subresource: subresource, context)
    }

    package func delete(_ type: ResourceType, _ key: ObjectKey, _ options: DeleteOptions) async throws(APIFailure) {
        let definition = try await begin("delete", type, namespace: key.namespace, name: key.name)
        _ = try await registry.delete(definition, key, options, context)
    }

    package func bind(_ pod: ObjectKey, uid: String, node: String) async throws(APIFailure) {
        _ = try await begin("create", .pods, namespace: pod.namespace, name: pod.name, subresource: "binding")
        try await registry.bind(pod, uid: uid, node: node, context)
    }

    /// A token of a service account, by a TokenRequest's spec.
    package func token(_ account: ObjectKey, _ spec: JSON) async throws(APIFailure) -> String {
        _ = try await begin(
            "create", .serviceAccounts, namespace: account.namespace, name: account.name, subresource: "token")
        let asked = try await registry.admitToken(account, ["spec": spec], context)
        let answer = try access.tokenRequest.answer(account, asked)
        return answer.status["token"]?.string ?? ""
    }

    package func watch(
        _ type: ResourceType, namespace: String, _ selection: Selection, from resourceVersion: String
    ) async throws(APIFailure) -> AsyncThrowingStream<WatchEvent, any Error> {
        let definition = try await begin(
            "watch", type, namespace: namespace, fields: selection.fields, from: resourceVersion)
        let (initial, watch) = try registry.watch(definition, namespace: namespace, selection, from: resourceVersion)
        let shown = try await registry.shown(initial, as: definition)
        let reader = WatchReader(shown.map { WatchEvent(.added, $0) }, watch)
        return AsyncThrowingStream { try await reader.next() }
    }
}

/// Hands out a watch's events one by one.
private actor WatchReader {
    private var ready: [WatchEvent]
    private var place = 0
    private var watch: RegistryWatch

    init(_ initial: [WatchEvent], _ watch: RegistryWatch) {
        ready = initial
        self.watch = watch
    }

    /// `nil` when the server ends or the reader was cancelled.
    func next() async throws -> WatchEvent? {
        while place >= ready.count {
            var watch = watch
            do {
                let step = try await watch.next()
                self.watch = watch
                if case .events(let events) = step {
                    ready = events
                    place = 0
                }
            } catch is CancellationError {
                return nil
            } catch let failure as APIFailure where failure.isServerClosing {
                return nil
            }
        }
        place += 1
        return ready[place - 1]
    }
}
