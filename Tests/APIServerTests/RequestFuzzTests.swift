import APIServer
import Glibc
import KubeClient
import KubeTypes
import Testing
import Wire

/// Chance that is the same every time.
private struct Dice {
    var state: UInt64
    mutating func roll(_ sides: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) % sides
    }
    mutating func pick<Element>(_ list: [Element]) -> Element { list[roll(list.count)] }
}

@Suite("Damaged requests")
struct RequestFuzzTests {
    private static let kinds: [(path: String, json: JSON)] = [
        ("/api/v1/namespaces/default/configmaps", configMap("fuzz", ["a": "1"]).json),
        ("/api/v1/namespaces/default/pods", pod("fuzz").json),
        (
            "/api/v1/namespaces/default/services",
            [
                "apiVersion": "v1", "kind": "Service", "metadata": ["name": "fuzz"],
                "spec": ["ports": [["port": 80, "targetPort": "http"]], "selector": ["a": "b"]],
            ]
        ),
        (
            "/apis/apps/v1/namespaces/default/deployments",
            [
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": ["name": "fuzz", "labels": ["a": "b"]],
                "spec": [
                    "replicas": 2, "selector": ["matchLabels": ["a": "b"]],
                    "template": [
                        "metadata": ["labels": ["a": "b"]],
                        "spec": ["containers": [["name": "a", "image": "a", "env": [["name": "A", "value": "1"]]]]],
                    ],
                ],
            ]
        ),
        (
            "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers",
            [
                "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": ["name": "fuzz"],
                "spec": [
                    "maxReplicas": 3, "targetCPUUtilizationPercentage": 5,
                    "scaleTargetRef": ["kind": "Deployment", "name": "a", "apiVersion": "apps/v1"],
                ],
            ]
        ),
        (
            "/apis/events.k8s.io/v1/namespaces/default/events",
            [
                "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": ["name": "fuzz"], "note": "n",
                "regarding": ["kind": "Pod", "name": "a", "namespace": "default"],
            ]
        ),
    ]
    private static let strange: [JSON] = [
        .null, true, 0, -1, .int(.max), 1.5, .double(1e300), "", "\u{0}", "😀", [], [:], [.null], ["": .null], [[:]],
        ["$patch": "delete"], ["$patch": "replace"], [["$patch": "what"]], ["$retainKeys": 5],
        .string(String(repeating: "a", count: 3000)),
    ]
    private static let queries = [
        "", "?dryRun=All", "?dryRun=Some", "?fieldValidation=Strict", "?fieldValidation=x",
        "?fieldManager=f&force=true",
        "?fieldManager=f", "?labelSelector=a%20in%20(b", "?labelSelector=a%3Db", "?fieldSelector=metadata.name%3Dx",
        "?fieldSelector=spec.nothing%3Dx", "?limit=1", "?limit=-5", "?continue=AAAA", "?resourceVersion=x", "?%%%=%",
        "?propagationPolicy=Foreground", "?propagationPolicy=Down", "?gracePeriodSeconds=-1", "?includeObject=All",
        "?resourceVersion=1&resourceVersionMatch=Exact", "?watch=true&timeoutSeconds=0",
    ]
    private static let types = [
        "application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "application/json-patch+json",
        "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml",
        "text/plain", "",
    ]
    private static let accepts = [
        "application/json", "application/json;as=Table;v=v1;g=meta.k8s.io", "application/vnd.kubernetes.protobuf",
        "*/*",
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", "image/png", ";;,=",
    ]

    private func damaged(_ value: JSON, _ dice: inout Dice) -> JSON {
        if dice.roll(16) == 0 { return dice.pick(Self.strange) }
        switch value {
        case .object(let members):
            var result: [JSONObject.Member] = []
            for member in members where dice.roll(24) != 0 {
                let key =
                    dice.roll(40) == 0 ? dice.pick(["$patch", "$setElementOrder/containers", "x", ""]) : member.key
                result.append(.init(key, damaged(member.value, &dice)))
            }
            return .object(JSONObject(result))
        case .array(let elements):
            var result: [JSON] = []
            for element in elements { result.append(damaged(element, &dice)) }
            if dice.roll(10) == 0, let first = result.first { result.append(first) }
            return .array(result)
        default: return value
        }
    }

    private func body(_ json: JSON, _ type: String, _ dice: inout Dice) -> [UInt8] {
        var bytes: [UInt8]
        switch type {
        case "application/json-patch+json":
            let operations = ["add", "remove", "replace", "move", "copy", "test", "what"]
            let paths = [
                "", "/", "/metadata/labels", "/spec/template/spec/containers/-", "/data/a", "/metadata/name", "~2",
            ]
            var list: [JSON] = []
            for _ in 0..<dice.roll(4) {
                list.append([
                    "op": .string(dice.pick(operations)), "path": .string(dice.pick(paths)),
                    "from": .string(dice.pick(paths)), "value": dice.pick(Self.strange),
                ])
            }
            bytes = JSON.array(list).bytes
        case "application/vnd.kubernetes.protobuf": bytes = KubeProtobuf.builtIn.encode(json) ?? json.bytes
        default: bytes = json.bytes
        }
        // Now and then the bytes themselves.
        if dice.roll(4) == 0, !bytes.isEmpty {
            for _ in 0...dice.roll(4) { bytes[dice.roll(bytes.count)] = UInt8(dice.roll(256)) }
        }
        if dice.roll(20) == 0 { bytes = Array(bytes.prefix(dice.roll(bytes.count + 1))) }
        return bytes
    }

    @Test("every answer is an object, or a Status with a reason; the server goes on")
    func requests() async throws {
        let count = getenv("WEFT_FUZZ_REQUESTS").flatMap { Int(String(cString: $0)) } ?? 1500
        try await withLiveServer { _, api, _ in
            var dice = Dice(state: 42)
            var codes: [Int: Int] = [:]
            for number in 0..<count {
                let kind = dice.pick(Self.kinds)
                let method = dice.pick(["POST", "POST", "PUT", "PATCH", "PATCH", "GET", "DELETE", "OPTIONS"])
                var path = kind.path
                if method != "POST", dice.roll(4) != 0 {
                    path += "/" + dice.pick(["fuzz", "nobody", "..", "%2e", "a%2Fb"])
                }
                if dice.roll(12) == 0 {
                    path += "/" + dice.pick(["status", "scale", "eviction", "nothing", "log", "x/y/z"])
                }
                let type = dice.pick(Self.types)
                let bytes =
                    ["POST", "PUT", "PATCH", "DELETE"].contains(method)
                    ? body(damaged(kind.json, &dice), type, &dice) : []
                let headers = [("content-type", type), ("accept", dice.pick(Self.accepts))]
                let target = path + dice.pick(Self.queries)
                let answer = try await api.raw(method, target, headers: headers, body: bytes)
                codes[answer.status, default: 0] += 1
                #expect(
                    answer.status < 500 || answer.status == 504 || answer.status == 501,
                    "\(number): \(method) \(target): \(String(decoding: answer.body.prefix(400), as: UTF8.self))")
                guard answer.status >= 400 else { continue }
                let status = try? JSON(parsing: answer.body)
                #expect(
                    status?["kind"] == "Status" && status?["reason"]?.string?.isEmpty == false,
                    "\(number): \(method) \(target) answered \(answer.status) with no Status")
            }
            #expect(codes[201, default: 0] > 0 && codes[200, default: 0] > 0 && codes[400, default: 0] > 0)
            #expect(try await api.raw("GET", "/readyz").status == 200)
        }
    }
}
