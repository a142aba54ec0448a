import ArgumentParser
import ClusterLayout
import Glibc
import KubeClient
import KubeTypes
import Wire

/// Which cluster a command is about.
struct ServerOptions: ParsableArguments {
    @OptionGroup var cluster: ClusterOption
    @Option(help: "A kubeconfig to use instead of the one of the cluster on this machine.")
    var kubeconfig: String?

    func connect() throws -> APIConnection {
        if let kubeconfig { return try APIConnection(kubeconfig: kubeconfig) }
        return try APIConnection(layout: cluster.layout())
    }
}

/// The same, and which namespace.
struct TargetOptions: ParsableArguments {
    @OptionGroup var server: ServerOptions
    @Option(name: .shortAndLong, help: "The namespace (default: default; all, where traffic is shown).")
    var namespace: String?
    @Flag(name: [.customShort("A"), .long], help: "All namespaces, whatever --namespace says.")
    var allNamespaces = false

    var namespaceOrDefault: String { namespace ?? "default" }
    /// For commands that look at traffic: all namespaces unless one is named.
    var namespaceOrAll: String { allNamespaces ? "" : namespace ?? "" }

    func connect() throws -> APIConnection { try server.connect() }
}

/// The API server, asked as a user's tool asks it.
struct APIConnection: Sendable {
    private let api: HTTPAPI

    init(layout: ClusterLayout) throws {
        try self.init(kubeconfig: Self.kubeconfig(of: layout))
    }

    /// Where the cluster's kubeconfig is; an error says whether it is missing or only closed to this user.
    static func kubeconfig(of layout: ClusterLayout) throws -> String {
        if access(layout.kubeconfig, R_OK) == 0 { return layout.kubeconfig }
        if errno == EACCES {
            throw CommandFailure(
                "\(layout.kubeconfig) is for root only: run meshctl with sudo, or give --kubeconfig a copy you may read"
            )
        }
        throw CommandFailure(
            "cluster \(layout.name) has no kubeconfig at \(layout.kubeconfig): start it with '\(layout.command("up"))', or give --kubeconfig"
        )
    }

    init(kubeconfig: String) throws {
        api = try HTTPAPI(KubeconfigFile.load(kubeconfig))
    }

    func resources() async throws(APIFailure) -> ResourceIndex { try await api.resourceIndex() }

    func get(_ type: ResourceType, _ key: ObjectKey) async throws(APIFailure) -> KubeObject {
        try await api.get(type, key)
    }

    func find(_ type: ResourceType, _ key: ObjectKey) async throws(APIFailure) -> KubeObject? {
        do throws(APIFailure) { return try await api.get(type, key) } catch {
            if error.isNotFound { return nil }
            throw error
        }
    }

    func exists(_ type: ResourceType, _ key: ObjectKey) async throws(APIFailure) -> Bool {
        try await find(type, key) != nil
    }

    func list(_ type: ResourceType, namespace: String = "", selector: String = "") async throws(APIFailure)
        -> [KubeObject]
    {
        try await api.list(type, namespace: namespace, Selection(labels: selector)).items
    }

    /// Server-side apply as the field manager `meshctl`. Every field must be known; conflicts with other managers are taken over.
    func apply(_ type: ResourceType, _ object: KubeObject, dryRun: Bool) async throws(APIFailure) -> KubeObject {
        let path =
            type.path(namespace: object.namespace, name: object.name)
            + "?fieldManager=meshctl&fieldValidation=Strict&force=true" + (dryRun ? "&dryRun=All" : "")
        return KubeObject(try await json("PATCH", path, body: object.json, contentType: PatchKind.apply.rawValue))
    }

    /// Runs a command in a container of a pod.
    func exec(
        _ pod: ObjectKey, container: String, _ command: [String], input: [UInt8]?, patience: Int
    ) async throws(APIFailure) -> ExecResult {
        try await api.exec(pod, container: container, command, input: input, patience: patience)
    }

    /// A list as the server's Table, or the one-row Table of a name.
    func table(_ type: ResourceType, namespace: String, name: String?, selector: String) async throws(APIFailure)
        -> JSON
    {
        var path = type.path(namespace: namespace, name: name)
        if !selector.isEmpty { path += "?labelSelector=\(percentEncoded(selector))" }
        return try await json("GET", path, accept: "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
    }

    func json(
        _ method: String, _ path: String, body: JSON? = nil, contentType: String = "application/json",
        accept: String = "application/json"
    ) async throws(APIFailure) -> JSON {
        var headers = [("accept", accept)]
        if body != nil { headers.append(("content-type", contentType)) }
        let answer = try await api.raw(method, path, headers: headers, body: body?.bytes ?? [])
        let json: JSON
        do { json = try JSON(parsing: answer.body) } catch {
            throw APIFailure(
                code: answer.status, reason: "Unknown",
                message:
                    "\(method) \(path) answered \(answer.status): \(String(decoding: answer.body.prefix(300), as: UTF8.self))"
            )
        }
        guard (200..<300).contains(answer.status) else { throw APIFailure(status: json) }
        return json
    }
}
