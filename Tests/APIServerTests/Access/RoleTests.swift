import KubeTypes
import Testing
import Wire

@testable import APIServer

private func attempt(
    _ verb: String, _ resource: String, group: String = "", subresource: String = "", namespace: String = "",
    name: String = "", user: User = User(name: "ann", groups: ["team", User.authenticated])
) -> Attempt {
    Attempt(
        user: user, verb: verb,
        target: .resource(
            group: group, version: "v1", resource: resource, subresource: subresource, namespace: namespace, name: name)
    )
}

private func role(_ name: String, namespace: String = "", _ rules: JSON, labels: [String: String] = [:]) -> KubeObject {
    var role = KubeObject(
        apiVersion: "rbac.authorization.k8s.io/v1", kind: namespace.isEmpty ? "ClusterRole" : "Role",
        namespace: namespace, name: name)
    role.json["rules"] = rules
    role.labels = labels
    return role
}

private func binding(_ name: String, namespace: String = "", role: String, kind: String, _ subjects: JSON) -> KubeObject
{
    var binding = KubeObject(
        apiVersion: "rbac.authorization.k8s.io/v1", kind: namespace.isEmpty ? "ClusterRoleBinding" : "RoleBinding",
        namespace: namespace, name: name)
    binding.json["roleRef"] = [
        "apiGroup": "rbac.authorization.k8s.io", "kind": .string(kind), "name": .string(role),
    ]
    binding.json["subjects"] = subjects
    return binding
}

@Suite("Roles, as values")
struct RoleTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let rule: JSON
        let attempt: Attempt
        let isAllowed: Bool
        var testDescription: String { "\(rule.text) \(attempt.verb) \(attempt.target)" }
    }

    @Test(
        "a rule allows what its verbs, groups, resources and names cover",
        arguments: [
            Case(
                rule: ["verbs": ["get"], "apiGroups": [""], "resources": ["pods"]], attempt: attempt("get", "pods"),
                isAllowed: true),
            Case(
                rule: ["verbs": ["get"], "apiGroups": [""], "resources": ["pods"]], attempt: attempt("list", "pods"),
                isAllowed: false),
            Case(
                rule: ["verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]],
                attempt: attempt("bind", "roles", group: "x"), isAllowed: true),
            Case(
                rule: ["verbs": ["get"], "apiGroups": [""], "resources": ["pods"]],
                attempt: attempt("get", "pods", subresource: "log"), isAllowed: false),
            Case(
                rule: ["verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"]],
                attempt: attempt("get", "pods", subresource: "log"), isAllowed: true),
            Case(
                rule: ["verbs": ["update"], "apiGroups": ["*"], "resources": ["*/scale"]],
                attempt: attempt("update", "deployments", group: "apps", subresource: "scale"), isAllowed: true),
            Case(
                rule: ["verbs": ["update"], "apiGroups": ["*"], "resources": ["*/scale"]],
                attempt: attempt("update", "deployments", group: "apps"), isAllowed: false),
            Case(
                rule: ["verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]],
                attempt: attempt("get", "secrets", name: "a"), isAllowed: true),
            Case(
                rule: ["verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]],
                attempt: attempt("get", "secrets", name: "b"), isAllowed: false),
            Case(
                rule: ["verbs": ["create"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]],
                attempt: attempt("create", "secrets"), isAllowed: false),
            Case(
                rule: ["verbs": ["get"], "nonResourceURLs": ["/healthz", "/metrics/*"]],
                attempt: Attempt(user: .anonymous, verb: "get", target: .path("/metrics/slis")), isAllowed: true),
            Case(
                rule: ["verbs": ["get"], "nonResourceURLs": ["/healthz", "/metrics/*"]],
                attempt: Attempt(user: .anonymous, verb: "get", target: .path("/metrics")), isAllowed: false),
            Case(
                rule: ["verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]],
                attempt: Attempt(user: .anonymous, verb: "get", target: .path("/metrics")), isAllowed: false),
        ])
    func allows(_ test: Case) {
        #expect(PolicyRule(test.rule).allows(PolicyRule.Question(test.attempt)) == test.isAllowed)
    }

    @Test("what is missing to a grant is named once for each resource, with its verbs together")
    func missing() {
        let held = PolicyRule.list([
            ["verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]],
            ["verbs": ["*"], "apiGroups": ["apps"], "resources": ["*"]],
            ["verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]],
            ["verbs": ["get"], "nonResourceURLs": ["/logs/*"]],
        ])
        func texts(_ wanted: JSON) -> [String] {
            PolicyRule.compacted(PolicyRule.missing(PolicyRule.list(wanted), from: held)).map(\.compactText)
        }
        #expect(
            texts([["verbs": ["get", "delete", "watch"], "apiGroups": [""], "resources": ["pods"]]])
                == [#"{APIGroups:[""], Resources:["pods"], Verbs:["delete" "watch"]}"#])
        #expect(texts([["verbs": ["*"], "apiGroups": ["apps"], "resources": ["deployments", "*/scale"]]]).isEmpty)
        #expect(
            texts([["verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]]]).isEmpty)
        #expect(
            texts([["verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]]])
                == [#"{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}"#])
        #expect(texts([["verbs": ["get"], "nonResourceURLs": ["/logs/today"]]]).isEmpty)
        #expect(
            texts([["verbs": ["get"], "nonResourceURLs": ["/*"]]]) == [#"{NonResourceURLs:["/*"], Verbs:["get"]}"#])
    }

    @Test("the index answers for users, groups and accounts, in the cluster and in one namespace, and follows changes")
    func index() {
        let index = RoleIndex()
        let read: JSON = [["verbs": ["get"], "apiGroups": [""], "resources": ["pods"]]]
        index.takeRole(.all([role("reader", read)]), isCluster: true)
        index.takeRole(.all([role("local", namespace: "demo", read)]), isCluster: false)
        let ann = binding("b1", role: "reader", kind: "ClusterRole", [["kind": "User", "name": "ann"]])
        index.takeBinding(.all([ann]), isCluster: true)
        #expect(index.allows(attempt("get", "pods", namespace: "any")))
        let reason = index.decide(attempt("get", "pods")).reason.description
        #expect(reason == #"RBAC: allowed by ClusterRoleBinding "b1" of ClusterRole "reader" to User "ann""#)
        index.takeBinding(.deleted(ann), isCluster: true)
        #expect(!index.allows(attempt("get", "pods", namespace: "any")))

        let team = binding(
            "b2", namespace: "demo", role: "reader", kind: "ClusterRole", [["kind": "Group", "name": "team"]])
        index.takeBinding(.all([team]), isCluster: false)
        #expect(index.allows(attempt("get", "pods", namespace: "demo")))
        #expect(!index.allows(attempt("get", "pods", namespace: "other")))
        #expect(!index.allows(attempt("get", "pods")))

        let robot = binding(
            "b3", namespace: "demo", role: "local", kind: "Role", [["kind": "ServiceAccount", "name": "robot"]])
        index.takeBinding(.changed(robot), isCluster: false)
        let account = User.account("demo", "robot")
        #expect(index.allows(attempt("get", "pods", namespace: "demo", user: account)))
        #expect(!index.allows(attempt("get", "pods", namespace: "demo", user: .account("other", "robot"))))
        index.takeRole(.deleted(role("local", namespace: "demo", read)), isCluster: false)
        let gone = index.decide(attempt("get", "pods", namespace: "demo", user: account))
        #expect(!gone.isAllowed)
        #expect(gone.reason.description == #"RBAC: role.rbac.authorization.k8s.io "local" not found"#)
    }

    @Test("aggregated roles come to rest along a chain, and lose what is no longer selected")
    func aggregation() {
        var top = role("top", [])
        top.json["aggregationRule"] = ["clusterRoleSelectors": [["matchLabels": ["to-top": "yes"]]]]
        var middle = role("middle", [], labels: ["to-top": "yes"])
        middle.json["aggregationRule"] = ["clusterRoleSelectors": [["matchLabels": ["to-middle": "yes"]]]]
        let rules: JSON = [["verbs": ["get"], "apiGroups": [""], "resources": ["pods"]]]
        let leaf = role("leaf", rules, labels: ["to-middle": "yes"])
        let settled = RoleAggregation.settled([top, middle, leaf])
        #expect(settled.allSatisfy { $0.json["rules"] == rules })
        #expect(RoleAggregation.changes(settled).isEmpty)
        let without = settled.filter { $0.name != "leaf" }
        #expect(RoleAggregation.settled(without).allSatisfy { $0.json["rules"] == [] })
    }

    @Test("the default roles are those of Kubernetes, and hold together")
    func defaults() throws {
        let all = AccessDefaults.load()
        let roles = Set(all.filter { $0.kind == "ClusterRole" }.map(\.name))
        for name in ["cluster-admin", "admin", "edit", "view", "system:node", "system:controller:job-controller"] {
            #expect(roles.contains(name))
        }
        for binding in all where binding.kind == "ClusterRoleBinding" {
            #expect(roles.contains(binding.json["roleRef"]?["name"]?.string ?? ""), "\(binding.name)")
        }
        let settled = RoleAggregation.settled(all.filter { $0.kind == "ClusterRole" })
        func rules(_ name: String) throws -> [PolicyRule] {
            PolicyRule.list(try #require(settled.first { $0.name == name }).json["rules"])
        }
        let secrets = PolicyRule.Question(attempt("get", "secrets"))
        let deploy = PolicyRule.Question(attempt("create", "deployments", group: "apps"))
        let bind = PolicyRule.Question(attempt("create", "rolebindings", group: "rbac.authorization.k8s.io"))
        for (name, expected) in [
            ("view", [false, false, false]), ("edit", [true, true, false]), ("admin", [true, true, true]),
        ] {
            let rules = try rules(name)
            let found = [secrets, deploy, bind].map { question in rules.contains { $0.allows(question) } }
            #expect(found == expected, "\(name)")
        }
    }

    @Test("reconciling adds what is missing, keeps what was added, and leaves alone what asks for it")
    func reconciling() throws {
        let wanted = try #require(AccessDefaults.clusterRole("system:kube-dns"))
        #expect(AccessBootstrap.reconciled(wanted, with: wanted) == nil)
        var found = wanted
        let own: JSON = ["verbs": ["get"], "apiGroups": [""], "resources": ["pods"]]
        found.json["rules"] = [own]
        let fresh = try #require(AccessBootstrap.reconciled(found, with: wanted))
        let rules = PolicyRule.list(fresh.json["rules"])
        #expect(rules.first == PolicyRule(own))
        #expect(PolicyRule.missing(PolicyRule.list(wanted.json["rules"]), from: rules).isEmpty)
        found.annotations["rbac.authorization.kubernetes.io/autoupdate"] = "false"
        #expect(AccessBootstrap.reconciled(found, with: wanted) == nil)
    }
}
