import KubeTypes
import Testing
import Wire

@Suite("Tables")
struct TableTests {
    let now = Timestamp("2026-01-01T00:10:00Z") ?? Timestamp(seconds: 0)

    private func cells(_ yaml: String) throws -> [String: JSON] {
        let json = try Manifest.json(yaml)
        let definition = try Manifest.definition(json)
        let values = definition.cells(KubeObject(json), now)
        return Dictionary(zip(definition.columns.map(\.name), values)) { first, _ in first }
    }

    private func pod(spec: String = "containers: [{name: a}]", status: String, metadata: String = "") throws -> [String:
        JSON]
    {
        try cells(
            "{apiVersion: v1, kind: Pod, metadata: {name: p, creationTimestamp: '2026-01-01T00:04:57Z'\(metadata)}, spec: {\(spec)}, status: {\(status)}}"
        )
    }

    @Test("a running pod")
    func running() throws {
        let cells = try pod(
            spec: "nodeName: node-1, containers: [{name: a}, {name: b}]",
            status: """
                phase: Running, podIP: 10.244.1.2, containerStatuses: [
                {name: a, ready: true, restartCount: 2, state: {running: {}}, lastState: {terminated: {finishedAt: '2026-01-01T00:05:00Z'}}},
                {name: b, ready: false, restartCount: 0, state: {running: {}}}]
                """)
        #expect(
            cells["Ready"] == "1/2" && cells["Status"] == "Running" && cells["Restarts"] == "2 (5m ago)"
                && cells["Age"] == "5m3s")
        #expect(cells["IP"] == "10.244.1.2" && cells["Node"] == "node-1" && cells["Nominated Node"] == "<none>")
    }

    @Test(
        "a pod's state in a word",
        arguments: [
            ("phase: Pending", "Pending", "0/1"),
            (
                "phase: Running, containerStatuses: [{name: a, state: {waiting: {reason: CrashLoopBackOff}}}]",
                "CrashLoopBackOff", "0/1"
            ),
            (
                "phase: Succeeded, containerStatuses: [{name: a, state: {terminated: {exitCode: 0, reason: Completed}}}]",
                "Completed", "0/1"
            ),
            ("phase: Failed, containerStatuses: [{name: a, state: {terminated: {exitCode: 3}}}]", "ExitCode:3", "0/1"),
            (
                "phase: Failed, containerStatuses: [{name: a, state: {terminated: {exitCode: 137, signal: 9}}}]",
                "Signal:9", "0/1"
            ),
            ("phase: Failed, reason: Evicted", "Evicted", "0/1"),
            ("phase: Pending, conditions: [{type: PodScheduled, reason: SchedulingGated}]", "SchedulingGated", "0/1"),
        ])
    func words(status: String, word: String, ready: String) throws {
        let cells = try pod(status: status)
        #expect(cells["Status"] == .string(word) && cells["Ready"] == .string(ready))
    }

    @Test("init containers and native sidecars")
    func initial() throws {
        let spec = "initContainers: [{name: side, restartPolicy: Always}, {name: init}], containers: [{name: a}]"
        let side = "{name: side, started: true, ready: true, restartCount: 1, state: {running: {}}}"
        let waiting = try pod(
            spec: spec,
            status:
                "phase: Pending, initContainerStatuses: [\(side), {name: init, state: {running: {}}}], containerStatuses: [{name: a, state: {waiting: {reason: PodInitializing}}}]"
        )
        #expect(waiting["Status"] == "Init:1/2" && waiting["Ready"] == "1/2")
        let failed = try pod(
            spec: spec,
            status:
                "phase: Pending, initContainerStatuses: [\(side), {name: init, state: {terminated: {exitCode: 1, reason: Error}}}]"
        )
        #expect(failed["Status"] == "Init:Error")
        let done = try pod(
            spec: spec,
            status:
                "phase: Running, initContainerStatuses: [\(side), {name: init, state: {terminated: {exitCode: 0}}}], containerStatuses: [{name: a, ready: true, restartCount: 2, state: {running: {}}}]"
        )
        #expect(done["Status"] == "Running" && done["Ready"] == "2/2" && done["Restarts"] == "3")
        let leaving = try pod(status: "phase: Running", metadata: ", deletionTimestamp: '2026-01-01T00:09:00Z'")
        #expect(leaving["Status"] == "Terminating")
    }

    @Test("services, endpoints, nodes, deployments, events and the rest")
    func kinds() throws {
        let service = try cells(
            "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {type: LoadBalancer, clusterIP: 10.96.0.5, ports: [{port: 80, nodePort: 30080, protocol: TCP}, {port: 53, protocol: UDP}], selector: {a: b}}}"
        )
        #expect(
            service["Port(s)"] == "80:30080/TCP,53/UDP" && service["External-IP"] == "<pending>"
                && service["Selector"] == "a=b" && service["Age"] == "<unknown>")
        let endpoints = try cells(
            "{apiVersion: v1, kind: Endpoints, metadata: {name: s}, subsets: [{addresses: [{ip: 1.1.1.1}, {ip: 1.1.1.2}, {ip: 1.1.1.3}, {ip: 1.1.1.4}], ports: [{port: 80}]}]}"
        )
        #expect(endpoints["Endpoints"] == "1.1.1.1:80,1.1.1.2:80,1.1.1.3:80 + 1 more...")
        let node = try cells(
            "{apiVersion: v1, kind: Node, metadata: {name: n, labels: {node-role.kubernetes.io/control-plane: ''}}, spec: {unschedulable: true}, status: {conditions: [{type: Ready, status: 'True'}], addresses: [{type: InternalIP, address: 10.245.0.11}], nodeInfo: {kubeletVersion: v1}}}"
        )
        #expect(
            node["Status"] == "Ready,SchedulingDisabled" && node["Roles"] == "control-plane"
                && node["Internal-IP"] == "10.245.0.11" && node["Version"] == "v1")
        let deployment = try cells(
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {replicas: 3, selector: {matchLabels: {a: b}}, template: {spec: {containers: [{name: x, image: i}]}}}, status: {readyReplicas: 2, updatedReplicas: 3}}"
        )
        #expect(
            deployment["Ready"] == "2/3" && deployment["Up-to-date"] == 3 && deployment["Available"] == 0
                && deployment["Images"] == "i" && deployment["Selector"] == "a=b")
        let event = try cells(
            "{apiVersion: v1, kind: Event, metadata: {name: e}, involvedObject: {kind: Pod, name: p}, reason: Killing, type: Normal, lastTimestamp: '2026-01-01T00:09:00Z', message: ' bye ', source: {component: kubelet, host: n}}"
        )
        #expect(
            event["Last Seen"] == "60s" && event["Object"] == "pod/p" && event["Message"] == "bye"
                && event["Source"] == "kubelet, n" && event["Count"] == 1)
        let slice = try cells(
            "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: e}, addressType: IPv4, endpoints: [{addresses: [1.1.1.1]}], ports: [{port: 80}]}"
        )
        #expect(slice["Ports"] == "80" && slice["Endpoints"] == "1.1.1.1")
        let binding = try cells(
            "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: b}, roleRef: {kind: Role, name: r}, subjects: [{kind: ServiceAccount, namespace: d, name: s}]}"
        )
        #expect(binding["Role"] == "Role/r" && binding["ServiceAccounts"] == "d/s")
    }

    @Test("custom kinds print the columns of their CRD")
    func custom() throws {
        let route = try cells(
            "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r, creationTimestamp: '2026-01-01T00:00:00Z'}, spec: {hostnames: [a.example, b.example]}}"
        )
        #expect(route["Hostnames"] == #"["a.example","b.example"]"# && route["Age"] == "10m")
        let gateway = try cells(
            "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: g}, spec: {gatewayClassName: weft}, status: {addresses: [{value: 1.2.3.4}], conditions: [{type: Accepted, status: 'False'}, {type: Programmed, status: 'True'}]}}"
        )
        #expect(gateway["Class"] == "weft" && gateway["Address"] == "1.2.3.4" && gateway["Programmed"] == "True")
        let rule = try cells(
            "{apiVersion: networking.istio.io/v1alpha3, kind: DestinationRule, metadata: {name: g}, spec: {}}")
        #expect(rule["Host"] == .null)
    }

    @Test("a table has its columns, rows of partial objects, and the list's version")
    func shape() throws {
        let definition = try #require(SchemaCatalog.builtIn.definition(of: .configMaps))
        let object = KubeObject([
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "a", "resourceVersion": "7"],
            "data": ["x": "y"],
        ])
        let table = definition.table(for: [object], now: now, list: ["resourceVersion": "9"])
        #expect(
            table["kind"] == "Table" && table["apiVersion"] == "meta.k8s.io/v1"
                && table["metadata"]?["resourceVersion"] == "9")
        #expect(table["columnDefinitions"]?.array?.map { $0["name"] } == ["Name", "Data", "Age"])
        let row = try #require(table["rows"]?[0])
        #expect(row["cells"] == ["a", 1, "<unknown>"])
        #expect(row["object"]?["kind"] == "PartialObjectMetadata" && row["object"]?["data"] == nil)
        #expect(definition.table(for: [object], include: .object, now: now)["rows"]?[0]?["object"] == object.json)
        #expect(
            definition.tableRow(of: object, include: .none, now: now, withColumns: false)["columnDefinitions"] == [])
    }

    @Test("every kind can be printed, even when empty")
    func all() {
        for definition in SchemaCatalog.builtIn.definitions {
            let object = KubeObject(apiVersion: definition.type.apiVersion, kind: definition.type.kind, name: "x")
            #expect(definition.cells(object, now).count == definition.columns.count)
        }
    }

    @Test(
        "paths of printer columns",
        arguments: [
            (".a.b", [1]), (".c[*].v", [1, 2]), (".c[?(@.k==\"y\")].v", [2]), (".c[?(@.k != 'y')].v", [1]),
            (".c[1].v", [2]), (".c[-1].v", [2]), ("{.a.b}", [1]), (".x.y", []), ("$.a['b']", [1]), (".d\\.e", [3]),
        ] as [(String, [JSON])])
    func paths(path: String, expected: [JSON]) throws {
        let document: JSON = ["a": ["b": 1], "c": [["k": "x", "v": 1], ["k": "y", "v": 2]], "d.e": 3]
        #expect(try #require(JSONPath(path)).values(in: document) == expected)
    }

    @Test("quotas show what is used, requests and limits apart")
    func quota() throws {
        let cells = try cells(
            "{apiVersion: v1, kind: ResourceQuota, metadata: {name: q}, spec: {hard: {pods: '4', limits.cpu: '2'}},"
                + " status: {hard: {pods: '4', limits.cpu: '2', configmaps: '9'}, used: {pods: '1', limits.cpu: 500m}}}"
        )
        #expect(cells["Request"] == "configmaps: 0/9, pods: 1/4" && cells["Limit"] == "limits.cpu: 500m/2")
    }

    @Test("fairness: the level a schema leads to, and the queues of a level")
    func fairness() throws {
        let schema = try cells(
            "{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: FlowSchema, metadata: {name: f}, spec: {matchingPrecedence: 500,"
                + " priorityLevelConfiguration: {name: low}, distinguisherMethod: {type: ByUser}},"
                + " status: {conditions: [{type: Dangling, status: 'False'}]}}")
        #expect(schema["PriorityLevel"] == "low" && schema["MatchingPrecedence"] == 500)
        #expect(schema["DistinguisherMethod"] == "ByUser" && schema["MissingPL"] == "False")
        let level = try cells(
            "{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: PriorityLevelConfiguration, metadata: {name: l},"
                + " spec: {type: Limited, limited: {nominalConcurrencyShares: 30, limitResponse: {type: Queue,"
                + " queuing: {queues: 64, handSize: 8, queueLengthLimit: 50}}}}}")
        #expect(level["Type"] == "Limited" && level["NominalConcurrencyShares"] == 30 && level["Queues"] == 64)
    }

    @Test("a budget in a table and policies with their parameters")
    func policies() throws {
        let policy = try cells(
            "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: p},"
                + " spec: {validations: [{expression: 'true'}]}}")
        #expect(policy["Validations"] == 1 && policy["ParamKind"] == "<unset>")
        let binding = try cells(
            "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: {name: b},"
                + " spec: {policyName: p, paramRef: {name: limits}}}")
        #expect(binding["PolicyName"] == "p" && binding["ParamRef"] == "*/limits")
    }
}
