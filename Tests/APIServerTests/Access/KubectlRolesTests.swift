import APIServer
import KubeClient
import KubeTypes
import Testing
import Wire

@Suite("kubectl: roles, as others")
struct KubectlRolesTests {
    @Test("a role lets its subject do just that, at once follows changes, and the refusal says who, what and where")
    func roles() async throws {
        try await withKubectl { kubectl, _ in
            let refused = try await kubectl("get", "pods", "--as=ann")
            #expect(
                refused.errors
                    == "Error from server (Forbidden): pods is forbidden: User \"ann\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"\n"
            )
            _ = try await kubectl.ok("create", "role", "reader", "--verb=get,list,watch", "--resource=pods")
            _ = try await kubectl.ok("create", "rolebinding", "ann", "--role=reader", "--user=ann")
            try await poll { try await kubectl("get", "pods", "--as=ann").code == 0 }
            #expect(try await kubectl("get", "pods", "-n", "kube-system", "--as=ann").code == 1)
            #expect(try await kubectl("auth", "can-i", "list", "pods", "--as=ann").output == "yes\n")
            #expect(try await kubectl("auth", "can-i", "delete", "pods", "--as=ann").output == "no\n")
            #expect(try await kubectl("auth", "can-i", "get", "pods", "--subresource=log", "--as=ann").output == "no\n")
            let list = try await kubectl.ok("auth", "can-i", "--list", "--as=ann", "--as-group=system:authenticated")
            #expect(list.contains("pods") && list.contains("[get list watch]"))
            #expect(list.contains("selfsubjectaccessreviews.authorization.k8s.io") && list.contains("[/readyz]"))
            _ = try await kubectl.ok("delete", "rolebinding", "ann")
            try await poll { try await kubectl("get", "pods", "--as=ann").code == 1 }

            // A binding to a role that is not there says so.
            _ = try await kubectl.ok("create", "rolebinding", "lost", "--role=nowhere", "--user=ann")
            try await poll {
                try await kubectl("get", "pods", "--as=ann").errors
                    .contains("RBAC: role.rbac.authorization.k8s.io \"nowhere\" not found")
            }
        }
    }

    @Test("view, edit and admin in a namespace; custom kinds join them by aggregation")
    func defaults() async throws {
        try await withKubectl { kubectl, _ in
            for role in ["view", "edit", "admin"] {
                _ = try await kubectl.ok("create", "rolebinding", role, "--clusterrole=\(role)", "--user=\(role)")
            }
            try await poll {
                try await kubectl("auth", "can-i", "create", "rolebindings", "--as=admin").output == "yes\n"
            }
            for (user, verb, resource, expected) in [
                ("view", "get", "pods", "yes\n"), ("view", "get", "secrets", "no\n"),
                ("view", "create", "pods", "no\n"),
                ("edit", "create", "deployments", "yes\n"), ("edit", "get", "secrets", "yes\n"),
                ("edit", "create", "rolebindings", "no\n"), ("admin", "create", "roles", "yes\n"),
                ("admin", "get", "nodes", "no\n"), ("view", "get", "csistoragecapacities.storage.k8s.io", "no\n"),
            ] {
                let answer = try await kubectl("auth", "can-i", verb, resource, "--as=\(user)")
                #expect(answer.output == expected, "\(user) \(verb) \(resource)")
            }
            let widgets = """
                apiVersion: rbac.authorization.k8s.io/v1
                kind: ClusterRole
                metadata: {name: widgets, labels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}}
                rules:
                - {apiGroups: [storage.k8s.io], resources: [csistoragecapacities], verbs: [get]}

                """
            _ = try await kubectl.ok("apply", "-f", "-", input: widgets)
            // view is part of edit, edit of admin.
            try await poll {
                try await kubectl("auth", "can-i", "get", "csistoragecapacities.storage.k8s.io", "--as=admin").output
                    == "yes\n"
            }
            _ = try await kubectl.ok("delete", "clusterrole", "widgets")
            try await poll {
                try await kubectl("auth", "can-i", "get", "csistoragecapacities.storage.k8s.io", "--as=admin").output
                    == "no\n"
            }
        }
    }

    @Test("nobody grants more than they hold, but with escalate or bind; a binding's role cannot be changed")
    func escalation() async throws {
        try await withKubectl { kubectl, _ in
            _ = try await kubectl.ok(
                "create", "role", "rolemaker", "--verb=create,update,patch,get", "--resource=roles,rolebindings")
            _ = try await kubectl.ok("create", "rolebinding", "ann", "--role=rolemaker", "--user=ann")
            _ = try await kubectl.ok("create", "role", "pods", "--verb=get,list", "--resource=pods")
            try await poll { try await kubectl("auth", "can-i", "create", "roles", "--as=ann").output == "yes\n" }
            let more = try await kubectl(
                "create", "role", "more", "--verb=get,delete", "--resource=pods", "--as=ann", "--as-group=team")
            #expect(
                more.errors.contains(
                    "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"ann\" (groups=[\"team\" \"system:authenticated\"])"
                        + " is attempting to grant RBAC permissions not currently held:\n"
                        + "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\" \"delete\"]}"), "\(more.errors)")
            #expect(
                try await kubectl("create", "role", "same", "--verb=get", "--resource=roles", "--as=ann").code == 0)
            let bound = try await kubectl("create", "rolebinding", "b", "--role=pods", "--user=ann", "--as=ann")
            #expect(bound.code == 1 && bound.errors.contains("not currently held"))
            let unknown = try await kubectl("create", "rolebinding", "b", "--role=nobody", "--user=ann", "--as=ann")
            #expect(unknown.errors.contains("roles.rbac.authorization.k8s.io \"nobody\" not found"))
            _ = try await kubectl.ok(
                "create", "role", "binder", "--verb=bind", "--resource=roles", "--resource-name=pods")
            _ = try await kubectl.ok("create", "rolebinding", "binder", "--role=binder", "--user=ann")
            try await poll {
                try await kubectl("create", "rolebinding", "b", "--role=pods", "--user=ann", "--as=ann").code == 0
            }
            _ = try await kubectl.ok("create", "role", "free", "--verb=escalate", "--resource=roles")
            _ = try await kubectl.ok("create", "rolebinding", "free", "--role=free", "--user=ann")
            try await poll {
                try await kubectl("create", "role", "more", "--verb=delete", "--resource=pods", "--as=ann").code == 0
            }
            let change = #"{"roleRef":{"name":"free"}}"#
            let changed = try await kubectl("patch", "rolebinding", "b", "--type=merge", "-p", change)
            #expect(changed.code == 1 && changed.errors.contains("roleRef"))
        }
    }

    @Test("impersonation needs the right to each part of it, and namespaces are read by who may in them")
    func impersonation() async throws {
        try await withKubectl { kubectl, api in
            let me = try await kubectl.ok(
                "auth", "whoami", "-o", "json", "--as=ann", "--as-group=team", "--as-uid=7",
                "--as-user-extra=Reason=test")
            let info = try JSON(parsing: me)["status"]?["userInfo"]
            #expect(info?["username"] == "ann" && info?["uid"] == "7")
            #expect(info?["groups"] == ["team", "system:authenticated"])
            #expect(info?["extra"]?["reason"] == ["test"])
            let robot = try await kubectl.ok(
                "auth", "whoami", "-o", "json", "--as=system:serviceaccount:default:default")
            #expect(
                try JSON(parsing: robot)["status"]?["userInfo"]?["groups"]
                    == ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
            let without = try await kubectl("get", "pods", "--as-group=team")
            #expect(without.code == 1)

            let key = ObjectKey(namespace: "default", name: "default")
            let token = try await api.token(key, [:])
            let other = try otherKubeconfig(kubectl.home, user: "    token: \(token)\n")
            let account = try Kubectl(home: kubectl.home, kubeconfig: other)
            let refused = try await account("get", "--raw", "/api", "--as=bob")
            #expect(
                refused.errors.contains(
                    "users \"bob\" is forbidden: User \"system:serviceaccount:default:default\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope"
                ), "\(refused.errors)")
            _ = try await kubectl.ok(
                "create", "clusterrole", "as-bob", "--verb=impersonate", "--resource=users", "--resource-name=bob")
            _ = try await kubectl.ok(
                "create", "clusterrolebinding", "as-bob", "--clusterrole=as-bob", "--serviceaccount=default:default")
            try await poll { try await account("auth", "whoami", "--as=bob").output.contains("bob") }
            #expect(try await account("auth", "whoami", "--as=bob", "--as-group=system:masters").code == 1)
            #expect(try await account("auth", "whoami", "--as=eve").code == 1)

            _ = try await kubectl.ok("create", "rolebinding", "cat", "--clusterrole=view", "--user=cat")
            try await poll { try await kubectl("get", "namespace", "default", "--as=cat").code == 0 }
            #expect(try await kubectl("get", "namespaces", "--as=cat").code == 1)
            #expect(try await kubectl("get", "namespace", "kube-system", "--as=cat").code == 1)
        }
    }

    @Test("reviews answer for others; the cluster's own parts have the roles of their names and no more")
    func reviews() async throws {
        try await withServer { server, api in
            func review(_ user: String, _ verb: String, _ resource: String, group: String = "") async throws -> JSON {
                let type = ResourceType(
                    group: "authorization.k8s.io", version: "v1", resource: "subjectaccessreviews",
                    kind: "SubjectAccessReview", isNamespaced: false)
                var object = KubeObject(apiVersion: type.apiVersion, kind: type.kind, name: "")
                object.json["metadata"] = [:]
                object.json["spec"] = [
                    "user": .string(user),
                    "resourceAttributes": [
                        "verb": .string(verb), "resource": .string(resource), "group": .string(group),
                        "namespace": "default",
                    ],
                ]
                return try await api.create(type, object).status
            }
            #expect(
                try await review("system:weft:controllers", "create", "replicasets", group: "apps")["allowed"] == true)
            #expect(try await review("system:weft:controllers", "get", "secrets")["allowed"] == true)
            #expect(try await review("system:weft:scheduler", "list", "nodes")["allowed"] == true)
            #expect(try await review("system:weft:scheduler", "get", "secrets")["allowed"] == false)
            #expect(try await review("system:weft:mesh", "delete", "pods")["allowed"] == false)
            #expect(try await review("system:weft:anything", "get", "pods")["allowed"] == false)
            let reason = try await review("system:kube-scheduler", "list", "nodes")["reason"]?.string ?? ""
            #expect(reason.hasPrefix("RBAC: allowed by ClusterRoleBinding \"system:kube-scheduler\" of ClusterRole"))
            let stranger = server.api(as: User(name: "ann", groups: [User.authenticated]))
            let refused = await failure { () throws(APIFailure) in
                _ = try await stranger.list(.pods, namespace: "default", .all)
            }
            #expect(refused?.code == 403)
        }
    }
}
