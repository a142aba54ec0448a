import APIServer
import KubeClient
import KubeTypes
import Testing
import Wire

/// Adds a container without what defaulting would set.
private struct Companion: MutatingAdmission {
    func admit(_ request: inout AdmissionRequest) async throws(APIFailure) -> Bool {
        guard request.type == .pods, request.operation == .create else { return false }
        if request.object.labels["companion"] == "refuse" {
            throw APIFailure(
                code: 422, reason: "Invalid", message: "Pod \"\(request.name)\" is invalid: no companion for it")
        }
        var containers = request.object.spec["containers"]?.array ?? []
        containers.append([
            "name": "companion", "image": "example.test/companion:1", "ports": [["containerPort": 15001]],
        ])
        request.object.json[path: ["spec", "containers"]] = .array(containers)
        return true
    }
}

private struct NoSecrets: ValidatingAdmission {
    func check(_ request: AdmissionRequest) async throws(APIFailure) -> [String] {
        if request.type == .secrets {
            throw APIFailure(
                code: 403, reason: "Forbidden", message: "secrets \"\(request.name)\" is forbidden: keep none")
        }
        return request.type == .configMaps ? ["\(request.operation.rawValue) of \(request.name) was looked at"] : []
    }
}

@Suite("Admission")
struct AdmissionTests {
    @Test("what admission adds is defaulted and validated like the rest")
    func mutation() async throws {
        try await withServer({ $0.mutating = [Companion()] }) { _, api in
            _ = try await api.create(
                .serviceAccounts,
                KubeObject(apiVersion: "v1", kind: "ServiceAccount", namespace: "default", name: "default"))
            let made = try await api.create(.pods, pod("web"))
            let companion = made.spec["containers"]?[1]
            #expect(companion?["name"] == "companion")
            #expect(companion?["imagePullPolicy"] == "IfNotPresent")
            #expect(companion?["ports"]?[0]?["protocol"] == "TCP")
            var refused = pod("other")
            refused.labels = ["companion": "refuse"]
            let failed = await failure { () throws(APIFailure) in _ = try await api.create(.pods, refused) }
            #expect(failed?.message.contains("no companion for it") == true)
            #expect(await isMissing(api, .pods, refused.key))
        }
    }

    @Test("a refusal stores nothing; warnings reach kubectl")
    func validation() async throws {
        try await withKubectl({ $0.validating = [NoSecrets()] }) { kubectl, api in
            let refused = try await kubectl("create", "secret", "generic", "hidden")
            #expect(refused.code == 1 && refused.errors.contains("keep none"))
            #expect(await isMissing(api, .secrets, ObjectKey(namespace: "default", name: "hidden")))
            let warned = try await kubectl("create", "configmap", "seen")
            #expect(warned.code == 0 && warned.errors.contains("Warning: CREATE of seen was looked at"))
        }
    }
}
