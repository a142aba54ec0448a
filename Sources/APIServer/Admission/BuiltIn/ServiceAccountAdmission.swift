import KubeTypes
import Wire

/// Gives pods an account, its token and its secrets for pulling images; refuses those whose account does not exist.
struct ServiceAccountAdmission: MutatingAdmission {
    static let mountPath = "/var/run/secrets/kubernetes.io/serviceaccount"
    private static let volumePrefix = "kube-api-access-"
    /// Seconds. The odd seven tells these tokens from those somebody asked for by hand.
    private static let tokenLifetime: Int64 = 3607

    let objects: AdmissionObjects
    var keepsForm: Bool { true }

    func admit(_ request: inout AdmissionRequest) async throws(APIFailure) -> Bool {
        guard request.isWrite(of: .pods, .create) else { return false }
        // A mirror of a pod its node started by itself has no account.
        if request.object.metadata["annotations"]?["kubernetes.io/config.mirror"] != nil {
            try checkMirror(request.object, request)
            return false
        }
        let named = request.object[Pod.serviceAccountName] ?? ""
        let name = named.isEmpty ? "default" : named
        let found = try await objects.accounts.find(ObjectKey(namespace: request.namespace, name: name))
        guard let account = found else {
            throw .forbidden(
                request,
                "error looking up service account \(request.namespace)/\(name): serviceaccount \"\(name)\" not found")
        }
        request.object[Pod.serviceAccountName] = name
        request.object.json[path: ["spec", "serviceAccount"]] = .string(name)
        Self.complete(&request.object, account)
        return true
    }

    private func checkMirror(_ pod: KubeObject, _ request: AdmissionRequest) throws(APIFailure) {
        if pod[Pod.serviceAccountName]?.isEmpty == false {
            throw .forbidden(request, "a mirror pod may not reference service accounts")
        }
        for volume in pod[Pod.volumes] ?? [] {
            if volume["secret"] != nil { throw .forbidden(request, "a mirror pod may not reference secrets") }
            for source in volume["projected"]?["sources"]?.array ?? [] where source["serviceAccountToken"] != nil {
                throw .forbidden(request, "a mirror pod may not use ServiceAccountToken volume projections")
            }
        }
    }

    /// The account's part of a pod: secrets for images, and the volume by which containers reach the API.
    static func complete(
        _ pod: inout KubeObject, _ account: KubeObject,
        volumeName: () -> String = { ObjectIdentity.generatedName(volumePrefix) }
    ) {
        if pod[Pod.imagePullSecrets]?.isEmpty ?? true,
            let secrets = account.json["imagePullSecrets"]?.array, !secrets.isEmpty
        {
            pod[Pod.imagePullSecrets] = secrets
        }
        let isMounted =
            pod[Pod.automountServiceAccountToken] ?? account.json["automountServiceAccountToken"]?.bool ?? true
        if isMounted { mountToken(&pod, volumeName) }
    }

    private static func mountToken(_ pod: inout KubeObject, _ volumeName: () -> String) {
        var volumes = pod[Pod.volumes] ?? []
        let known = volumes.first { $0["name"]?.string?.hasPrefix(volumePrefix) == true }
        let name = known?["name"]?.string ?? volumeName()
        let mount: JSON = ["name": .string(name), "readOnly": true, "mountPath": .string(mountPath)]
        var isNeeded = false
        for list in ["initContainers", "containers"] {
            pod.json["spec"]?[list]?.changeElements { container in
                let mounts = container["volumeMounts"]?.array ?? []
                if mounts.contains(where: { $0["mountPath"]?.string == mountPath }) { return }
                container["volumeMounts"] = .array(mounts + [mount])
                isNeeded = true
            }
        }
        guard isNeeded, known == nil else { return }
        volumes.append(tokenVolume(name))
        pod[Pod.volumes] = volumes
    }

    private static func tokenVolume(_ name: String) -> JSON { ["name": .string(name), "projected": tokenSources] }

    /// The same for all pods.
    private static let tokenSources: JSON = [
        "sources": [
            ["serviceAccountToken": ["expirationSeconds": .int(tokenLifetime), "path": "token"]],
            ["configMap": ["name": "kube-root-ca.crt", "items": [["key": "ca.crt", "path": "ca.crt"]]]],
            [
                "downwardAPI": [
                    "items": [
                        ["path": "namespace", "fieldRef": ["apiVersion": "v1", "fieldPath": "metadata.namespace"]]
                    ]
                ]
            ],
        ],
        "defaultMode": 420,
    ]
}
