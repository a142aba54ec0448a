import KubeClient
import KubeTypes
import Testing
import Wire

@testable import APIServer

@Suite("The scale of a workload")
struct ScaleTests {
    @Test("is read and written the same in the process and over the socket, guarded by its version and uid")
    func both() async throws {
        try await withLiveServer { server, remote, _ in
            for (number, api) in [server.api(as: .administrator) as any KubeAPI, remote].enumerated() {
                var set = KubeObject(
                    apiVersion: "apps/v1", kind: "ReplicaSet", namespace: "default", name: "web\(number)")
                set.json["spec"] = [
                    "replicas": 2, "selector": ["matchLabels": ["app": "web"]],
                    "template": [
                        "metadata": ["labels": ["app": "web"]],
                        "spec": ["containers": [["name": "app", "image": "app:1"]]],
                    ],
                ]
                let made = try await api.create(.replicaSets, set)
                let type = try await api.served("ReplicaSet", apiVersion: "apps/v1beta2")
                #expect(type == .replicaSets)
                let scale = try await api.get(type, made.key, subresource: "scale")
                #expect(scale.kind == "Scale" && scale.apiVersion == "autoscaling/v1" && scale.uid == made.uid)
                #expect(scale.spec == ["replicas": 2] && scale.status == ["replicas": 0, "selector": "app=web"])

                var wanted = scale
                wanted.json[path: ["spec", "replicas"]] = 5
                let changed = try await api.update(type, wanted, subresource: "scale")
                #expect(changed.kind == "Scale" && changed.spec == ["replicas": 5])
                #expect(try await api.get(type, made.key).spec["replicas"] == 5)
                let late = wanted
                #expect(
                    await failure { () throws(APIFailure) in
                        _ = try await api.update(type, late, subresource: "scale")
                    }?.isConflict == true)
                var other = changed
                other.json[path: ["metadata", "uid"]] = "00000000-0000-4000-8000-000000000000"
                let another = other
                #expect(
                    await failure { () throws(APIFailure) in
                        _ = try await api.update(type, another, subresource: "scale")
                    }?.isConflict == true)
                let patched = try await api.patch(
                    type, made.key, .merge, ["spec": ["replicas": 1]], subresource: "scale")
                #expect(patched.kind == "Scale" && patched.spec == ["replicas": 1])
                #expect(try await api.get(type, made.key).spec["replicas"] == 1)

                let nothing = await failure { () throws(APIFailure) in
                    _ = try await api.get(.configMaps, made.key, subresource: "scale")
                }
                #expect(nothing?.code == 404)
                let unknown = await failure { () throws(APIFailure) in
                    _ = try await api.served("ReplicaSet", apiVersion: "example.test/v1")
                }
                #expect(unknown?.message == "no matches for kind \"ReplicaSet\" in group \"example.test\"")
            }
        }
    }
}
