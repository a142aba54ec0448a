import KubeClient
import KubeTypes
import Testing
import Wire

@testable import APIServer

/// `/metrics` as Prometheus' own client reads it.
private struct Metrics {
    struct Sample {
        let family: String
        let kind: String
        let name: String
        let labels: [String: String]
        let value: Double
    }
    let samples: [Sample]

    init(_ text: String) async throws {
        let file = try temporaryFile(text)
        defer { removeTree(parent(file)) }
        let (code, output) = await runPython("metrics_reader.py", [file])
        try #require(code == 0, "\(output)")
        samples = try output.split(separator: "\n").map { line in
            let json = try JSON(parsing: String(line))
            return Sample(
                family: json[0]?.string ?? "", kind: json[1]?.string ?? "", name: json[2]?.string ?? "",
                labels: json[3]?.stringMap ?? [:], value: json[4]?.double ?? 0)
        }
    }

    /// The sum of the samples with these labels, whatever others they have; `nil` when there is none.
    func value(_ name: String, _ labels: [String: String] = [:]) -> Double? {
        let found = samples.filter { sample in
            sample.name == name && labels.allSatisfy { sample.labels[$0.key] == $0.value }
        }
        return found.isEmpty ? nil : found.reduce(0) { $0 + $1.value }
    }

    func labels(_ name: String) -> Set<String> {
        Set(samples.first { $0.name == name }?.labels.keys.map { $0 } ?? [])
    }
}

@Suite("Metrics")
struct MetricsTests {
    /// Kubernetes' stable metrics of its API server with their labels, and those of fairness.
    static let stable: [(String, [String])] = [
        (
            "apiserver_request_total",
            ["code", "component", "dry_run", "group", "resource", "scope", "subresource", "verb", "version"]
        ),
        (
            "apiserver_request_duration_seconds_bucket",
            ["component", "dry_run", "group", "le", "resource", "scope", "subresource", "verb", "version"]
        ),
        (
            "apiserver_longrunning_requests",
            ["component", "group", "resource", "scope", "subresource", "verb", "version"]
        ),
        (
            "apiserver_response_sizes_bucket",
            ["component", "group", "le", "resource", "scope", "subresource", "verb", "version"]
        ),
        (
            "apiserver_validating_admission_policy_check_total",
            ["enforcement_action", "error_type", "policy", "policy_binding"]
        ),
        (
            "apiserver_validating_admission_policy_check_duration_seconds_bucket",
            ["enforcement_action", "error_type", "le", "policy", "policy_binding"]
        ),
        ("apiserver_current_inflight_requests", ["request_kind"]), ("apiserver_storage_objects", ["resource"]),
        ("apiserver_admission_step_admission_duration_seconds_count", ["operation", "rejected", "type"]),
        ("apiserver_admission_controller_admission_duration_seconds_count", ["name", "operation", "rejected", "type"]),
        ("apiserver_admission_webhook_admission_duration_seconds_count", ["name", "operation", "rejected", "type"]),
        (
            "apiserver_admission_webhook_rejection_count",
            ["error_type", "name", "operation", "rejection_code", "type"]
        ),
        ("apiserver_admission_webhook_fail_open_count", ["name", "type"]),
        ("apiserver_admission_match_condition_exclusions_total", ["kind", "name", "operation", "type"]),
        ("apiserver_flowcontrol_dispatched_requests_total", ["flow_schema", "priority_level"]),
        ("apiserver_flowcontrol_current_executing_requests", ["flow_schema", "priority_level"]),
        ("apiserver_flowcontrol_current_executing_seats", ["flow_schema", "priority_level"]),
        ("apiserver_flowcontrol_current_inqueue_requests", ["flow_schema", "priority_level"]),
        (
            "apiserver_flowcontrol_request_wait_duration_seconds_count",
            ["execute", "flow_schema", "priority_level"]
        ),
        ("apiserver_flowcontrol_nominal_limit_seats", ["priority_level"]),
    ]

    @Test("requests, admission and fairness are told in Kubernetes' names, as Prometheus' client reads them")
    func names() async throws {
        let directory = try temporaryDirectory("weft-metrics")
        defer { removeTree(directory) }
        let hooks = try await WebhookServer.start(in: directory)
        defer { hooks.stop() }
        try await withKubectl { kubectl, api in
            func hook(_ name: String, _ path: String, _ change: (inout JSON) -> Void = { _ in }) async throws {
                let json = hooks.configuration(name, paths: [path], change)
                _ = try await api.create(AdmissionKind.validatingWebhooks, KubeObject(json))
            }
            func named(_ name: String, _ webhook: inout JSON) {
                let text = "object.metadata.name == '\(name)'"
                webhook["matchConditions"] = [["name": "named", "expression": .string(text)]]
            }
            try await hook("deny", "/deny") { named("denied", &$0) }
            try await hook("open", "/status-500") {
                named("opened", &$0)
                $0["failurePolicy"] = "Ignore"
            }
            try await forbid("forbidden", by: "object.metadata.name.size() < 0", ["Deny", "Audit"], api)
            try await forbid("warned", by: "object.data.none == 'a'", ["Warn"], api)
            try await forbid("passed", by: "object.data.none == 'a'", ["Deny"], ignoring: true, api)
            #expect(try await kubectl("create", "configmap", "forbidden").code == 1)
            _ = try await kubectl.ok("create", "configmap", "warned")
            _ = try await kubectl.ok("create", "configmap", "passed")
            #expect(try await kubectl("create", "configmap", "denied").code == 1)
            _ = try await kubectl.ok("create", "configmap", "opened")
            _ = try await kubectl.ok("create", "configmap", "dry", "--dry-run=server")
            let long = Task { try await kubectl("get", "pods", "--watch", "--request-timeout=60s") }
            defer { long.cancel() }
            let read = try await soon { () async throws -> Metrics? in
                let metrics = try await Metrics(try await kubectl.ok("get", "--raw", "/metrics"))
                return metrics.value("apiserver_longrunning_requests", ["verb": "WATCH"]) == nil ? nil : metrics
            }
            let metrics = try #require(read, "no watch is seen")
            for (name, labels) in Self.stable { #expect(metrics.labels(name) == Set(labels), "\(name)") }
            let created = ["verb": "POST", "resource": "configmaps"]
            #expect(metrics.value("apiserver_request_total", created.merging(["code": "201"]) { $1 }) == 4)
            #expect(metrics.value("apiserver_request_total", created.merging(["dry_run": "All"]) { $1 }) == 1)
            #expect(metrics.value("apiserver_request_duration_seconds_count", created) == 6)
            let policies = "apiserver_validating_admission_policy_check_total"
            func checked(_ policy: String, _ action: String, _ failure: String) -> Double? {
                metrics.value(
                    policies,
                    [
                        "policy": policy, "policy_binding": policy, "enforcement_action": action,
                        "error_type": failure,
                    ])
            }
            #expect(checked("forbidden", "deny", "no_error") == 1 && checked("forbidden", "audit", "no_error") == 1)
            #expect(checked("warned", "warn", "invalid_error") == 1)
            #expect(checked("passed", "allow", "invalid_error") == 1 && metrics.value(policies) == 4)
            let sizes = ["verb": "LIST", "resource": "pods"]
            #expect((metrics.value("apiserver_response_sizes_sum", sizes) ?? 0) > 50)
            #expect(metrics.value("apiserver_response_sizes_count", ["verb": "POST"]) == nil)
            let denied = ["name": "hook0.deny.test", "operation": "CREATE", "type": "validating"]
            let refusals = "apiserver_admission_webhook_rejection_count"
            let why = ["error_type": "no_error"]
            #expect(metrics.value(refusals, denied.merging(why) { $1 }) == 1)
            let time = "apiserver_admission_webhook_admission_duration_seconds_count"
            #expect(metrics.value(time, denied.merging(["rejected": "true"]) { $1 }) == 1)
            let open = ["name": "hook0.open.test", "type": "validating"]
            #expect(metrics.value("apiserver_admission_webhook_fail_open_count", open) == 1)
            let excluded = "apiserver_admission_match_condition_exclusions_total"
            #expect(metrics.value(excluded, denied.merging(["kind": "webhook"]) { $1 }) == 4)
            let step = "apiserver_admission_controller_admission_duration_seconds_count"
            for name in ["NamespaceLifecycle", "LimitRanger", "ServiceAccount", "ResourceQuota", "PodSecurity"] {
                #expect((metrics.value(step, ["name": name, "operation": "CREATE"]) ?? 0) >= 2, "\(name)")
            }
            let whole = "apiserver_admission_step_admission_duration_seconds_count"
            #expect((metrics.value(whole, ["type": "validate", "rejected": "true"]) ?? 0) >= 1)
            let exempt = ["flow_schema": "exempt", "priority_level": "exempt"]
            #expect((metrics.value("apiserver_flowcontrol_dispatched_requests_total", exempt) ?? 0) > 3)
            #expect((metrics.value("apiserver_flowcontrol_nominal_limit_seats") ?? 0) > 10)
        }
    }

    /// A policy of its own name about the ConfigMap of that name, bound.
    private func forbid(
        _ name: String, by expression: String, _ actions: [JSON], ignoring: Bool = false, _ api: InProcessAPI
    ) async throws {
        func object(_ kind: String, _ spec: JSON) -> KubeObject {
            var object = KubeObject(apiVersion: "admissionregistration.k8s.io/v1", kind: kind, name: name)
            object.spec = spec
            return object
        }
        let policy = object(
            "ValidatingAdmissionPolicy",
            [
                "failurePolicy": ignoring ? "Ignore" : "Fail",
                "matchConstraints": [
                    "resourceRules": [
                        [
                            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                            "resources": ["configmaps"],
                        ]
                    ]
                ],
                "matchConditions": [
                    ["name": "named", "expression": .string("object.metadata.name == '\(name)'")]
                ],
                "validations": [["expression": .string(expression)]],
            ])
        _ = try await api.create(AdmissionKind.validatingPolicies, policy)
        let binding: JSON = ["policyName": .string(name), "validationActions": .array(actions)]
        _ = try await api.create(
            AdmissionKind.validatingBindings, object("ValidatingAdmissionPolicyBinding", binding))
    }

    @Test("labels are written so that they are read as they were, and a flow that goes makes room")
    func text() async throws {
        var text = MetricText()
        text.family("a_total", .counter, "A.")
        text.sample(1, [("name", "a\"b\\c\nd")])
        var flows = FlowMetrics()
        let first = flows.place(of: .init(schema: "one", level: "x"))
        let second = flows.place(of: .init(schema: "two", level: "x"))
        flows.waits(second)
        flows.keep([])
        #expect(flows.place(of: .init(schema: "three", level: "x")) == first)
        flows.refused(second, .timeOut, waited: 20)
        flows.refused(first, .queueFull, waited: nil)
        flows.write(to: &text, limits: [("x", 4)])
        let metrics = try await Metrics(String(decoding: text.bytes, as: UTF8.self))
        #expect(metrics.value("a_total", ["name": "a\"b\\c\nd"]) == 1)
        let refused = "apiserver_flowcontrol_rejected_requests_total"
        #expect(metrics.value(refused, ["flow_schema": "two", "reason": "time-out"]) == 1)
        #expect(metrics.value(refused, ["flow_schema": "three", "reason": "queue-full"]) == 1)
        #expect(metrics.value("apiserver_flowcontrol_current_inqueue_requests") == 0)
    }
}
