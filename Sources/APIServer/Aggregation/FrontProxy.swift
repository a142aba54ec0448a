import KubeTypes
import TLS
import Wire

/// What servers behind this one need to know to believe its word for who asks: the ConfigMap they read at their start.
enum FrontProxy {
    static let commonName = "front-proxy-client"

    static func configMap(clientRoot: String, proxyRoot: String) -> KubeObject {
        var map = KubeObject(
            apiVersion: "v1", kind: "ConfigMap", namespace: "kube-system", name: "extension-apiserver-authentication")
        map.json["data"] = [
            "client-ca-file": .string(clientRoot), "requestheader-client-ca-file": .string(proxyRoot),
            "requestheader-allowed-names": .string("[\"\(commonName)\"]"),
            "requestheader-username-headers": "[\"X-Remote-User\"]",
            "requestheader-uid-headers": "[\"X-Remote-Uid\"]",
            "requestheader-group-headers": "[\"X-Remote-Group\"]",
            "requestheader-extra-headers-prefix": "[\"X-Remote-Extra-\"]",
        ]
        return map
    }

    /// Makes the ConfigMap, or brings it to what it should say.
    static func write(_ registry: Registry, _ pki: ClusterPKI) async throws(APIFailure) {
        let wanted: KubeObject
        do {
            wanted = configMap(
                clientRoot: String(decoding: try pki.authority.certificate.pem(), as: UTF8.self),
                proxyRoot: String(decoding: try pki.proxyAuthority.certificate.pem(), as: UTF8.self))
        } catch {
            throw .internalError("the cluster's certificates cannot be written: \(error)")
        }
        let definition = try registry.definition(of: .configMaps)
        let context = WriteContext(user: .component("apiserver"))
        do throws(APIFailure) {
            _ = try await registry.create(definition, namespace: wanted.namespace, wanted, context)
            return
        } catch {
            guard error.alreadyExists else { throw error }
        }
        _ = try await registry.change(definition, wanted.key, context) { old throws(APIFailure) in
            var fresh = old
            fresh.json["data"] = wanted.json["data"]
            return fresh
        }
    }
}
