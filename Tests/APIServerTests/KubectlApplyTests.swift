import APIServer
import KubeClient
import KubeTypes
import Testing
import Wire

private let web = """
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web, labels: {app: web}}
    spec:
      replicas: 2
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec:
          containers:
          - {name: app, image: "example.test/app:1"}

    """

@Suite("kubectl writes in every way")
struct KubectlApplyTests {
    @Test("from applying in the client to applying in the server, and back, without a conflict")
    func upgrade() async throws {
        try await withKubectl { kubectl, api in
            _ = try await kubectl.ok("apply", "-f", "-", input: web)
            let next = web.replacing("app:1", with: "app:2")
            #expect(
                try await kubectl.ok("apply", "--server-side", "-f", "-", input: next).contains("serverside-applied"))
            let object = try await api.get(.deployments, ObjectKey(namespace: "default", name: "web"))
            let managers = object.metadata["managedFields"]?.array?.compactMap { entry in
                "\(entry["manager"]?.string ?? "") \(entry["operation"]?.string ?? "")"
            }
            #expect(managers?.contains("kubectl Apply") == true, "\(managers ?? [])")
            let note = object.annotations["kubectl.kubernetes.io/last-applied-configuration"] ?? ""
            #expect(note.contains("app:2"), "the client's note is kept true")
            #expect(try await kubectl.ok("apply", "-f", "-", input: web).contains("configured"))
            let other = try await kubectl(
                "apply", "--server-side", "--field-manager=other", "-f", "-",
                input: web.replacing("replicas: 2", with: "replicas: 7"))
            #expect(other.code == 1)
            #expect(other.errors.contains("Apply failed with 1 conflict: conflict with"), "\(other.errors)")
            #expect(other.errors.contains(".spec.replicas"))
        }
    }

    @Test("every kind of patch, on the object and its parts")
    func patches() async throws {
        try await withKubectl { kubectl, api in
            _ = try await kubectl.ok("apply", "-f", "-", input: web)
            let key = ObjectKey(namespace: "default", name: "web")
            _ = try await kubectl.ok(
                "patch", "deploy", "web", "--type=json", "-p", #"[{"op":"replace","path":"/spec/replicas","value":3}]"#)
            _ = try await kubectl.ok(
                "patch", "deploy", "web", "--type=merge", "-p", #"{"metadata":{"labels":{"x":"y"}}}"#)
            _ = try await kubectl.ok(
                "patch", "deploy", "web", "-p",
                #"{"spec":{"template":{"spec":{"containers":[{"name":"log","image":"log:1"},{"name":"app","$patch":"delete"}]}}}}"#
            )
            var object = try await api.get(.deployments, key)
            #expect(object.spec["replicas"] == 3 && object.labels["x"] == "y")
            #expect(object.spec["template"]?["spec"]?["containers"]?.array?.map { $0["name"] } == ["log"])
            #expect(object.generation == 3, "labels are no part of what is asked for")
            _ = try await kubectl.ok(
                "patch", "deploy", "web", "--subresource=scale", "--type=merge", "-p", #"{"spec":{"replicas":1}}"#)
            _ = try await kubectl.ok(
                "patch", "deploy", "web", "--subresource=status", "--type=merge", "-p",
                #"{"status":{"replicas":1},"spec":{"replicas":9}}"#)
            object = try await api.get(.deployments, key)
            #expect(object.spec["replicas"] == 1 && object.status["replicas"] == 1)
            let parts = object.metadata["managedFields"]?.array?.compactMap { $0["subresource"]?.string } ?? []
            #expect(Set(parts) == ["scale", "status"])
            let twice = try await kubectl(
                "patch", "deploy", "web", "--type=merge", "--field-validation", "Strict", "-p",
                #"{"spec":{"nothing":1}}"#)
            #expect(twice.code != 0)
            _ = try await kubectl.ok(
                "run", "p", "--image=example.test/app:1",
                #"--overrides={"spec":{"containers":[{"name":"p","image":"example.test/app:1","resources":{"limits":{"cpu":"1"}}}]}}"#
            )
            _ = try await kubectl.ok(
                "patch", "pod", "p", "--subresource=resize", "-p",
                #"{"spec":{"containers":[{"name":"p","resources":{"limits":{"cpu":"2"}}}]}}"#)
            let pod = try await api.get(.pods, ObjectKey(namespace: "default", name: "p"))
            #expect(pod.spec["containers"]?[0]?["resources"]?["limits"] == ["cpu": "2"])
            let refused = try await kubectl(
                "patch", "pod", "p", "-p", #"{"spec":{"containers":[{"name":"p","resources":{"limits":{"cpu":"3"}}}]}}"#
            )
            #expect(refused.errors.contains("pod updates may not change fields other than"), "\(refused.errors)")
        }
    }

    @Test("component statuses and endpoints come with a warning; explain and quota, limits, budgets are there")
    func others() async throws {
        try await withKubectl { kubectl, _ in
            let old = try await kubectl("get", "componentstatuses")
            #expect(
                old.code == 0 && old.output.contains("etcd-0")
                    && old.errors.contains("v1 ComponentStatus is deprecated in v1.19+"))
            #expect(try await kubectl("get", "endpoints").errors.contains("v1 Endpoints is deprecated in v1.33+"))
            #expect(try await kubectl.ok("explain", "deployment.spec.strategy").contains("rollingUpdate"))
            _ = try await kubectl.ok("create", "quota", "q", "--hard=pods=5,requests.cpu=1")
            _ = try await kubectl.ok("create", "pdb", "b", "--selector=app=web", "--min-available=1")
            _ = try await kubectl.ok("create", "priorityclass", "high", "--value=1000")
            _ = try await kubectl.ok("create", "cronjob", "tick", "--image=a", "--schedule=*/1 * * * *")
            _ = try await kubectl.ok("create", "ingress", "i", "--rule=a.example/*=web:80")
            let wrong = try await kubectl("create", "cronjob", "tock", "--image=a", "--schedule=99 * * * *")
            #expect(wrong.errors.contains("spec.schedule: Invalid value: \"99 * * * *\""), "\(wrong.errors)")
            #expect(try await kubectl.ok("get", "quota,pdb,pc,cj,ing").contains("priorityclass.scheduling.k8s.io/high"))
        }
    }
}

extension String {
    fileprivate func replacing(_ part: String, with other: String) -> String {
        guard let range = firstRange(of: part) else { return self }
        return self[..<range.lowerBound] + other + self[range.upperBound...]
    }
}
